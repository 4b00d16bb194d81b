"""The journal: events as records, the last moves, and slow listeners."""

import asyncio

import pytest
from simulation import endpoint

from sacip_tun.daemon.journal import MAX_BACKLOG, MAX_MOVES, Journal
from sacip_tun.protocol.events import FrameSent, Kind, Moved, Side
from sacip_tun.protocol.frames import Reason
from sacip_tun.protocol.keys import to_base64

PEER = bytes(range(32))


def moved(number: int) -> Moved:
    old, new = endpoint("192.0.2.1"), endpoint("192.0.2.2")
    return Moved(
        PEER, Side.LOCAL, number, old, new, None, Reason.ROUTE_CHANGED,
        Kind.MAKE_BEFORE_BREAK, 1.23456,
    )  # fmt: skip


def test_an_event_becomes_a_record_of_plain_values() -> None:
    journal = Journal("sacip0")
    records = []
    journal.log = records.append
    journal.publish(moved(7), 1.0)
    (record,) = records
    assert record.pop("time_unix") == 1.0
    assert record == {
        "event": "moved",
        "interface": "sacip0",
        "peer": to_base64(PEER),
        "side": "local",
        "number": 7,
        "old": "192.0.2.1:51820",
        "new": "192.0.2.2:51820",
        "observed": None,
        "reason": "route changed",
        "kind": "make before break",
        "milliseconds": 1.235,
    }


def test_the_last_moves_are_kept_and_other_events_are_not() -> None:
    journal = Journal("sacip0")
    journal.publish(FrameSent(PEER, "CHANGE", 1, None, endpoint("192.0.2.2")), 1.0)
    assert journal.moves(PEER) == []
    for number in range(MAX_MOVES + 3):
        journal.publish(moved(number), 1.0)
    assert [record["number"] for record in journal.moves(PEER)] == list(range(3, MAX_MOVES + 3))


@pytest.mark.asyncio
async def test_a_listener_that_falls_behind_is_told_how_much_it_lost() -> None:
    journal = Journal("sacip0")
    listener = journal.subscribe()
    for number in range(MAX_BACKLOG + 5):
        journal.note("tick", number=number)
    lost = await listener.get()
    assert (lost["event"], lost["records"]) == ("lost", 5)
    assert (await listener.get())["number"] == 5


@pytest.mark.asyncio
async def test_an_unsubscribed_listener_hears_nothing_more() -> None:
    journal = Journal("sacip0")
    listener = journal.subscribe()
    journal.unsubscribe(listener)
    journal.note("tick")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(listener.get(), 0.01)
