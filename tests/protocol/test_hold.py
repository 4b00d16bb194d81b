"""The hold queue: bounded, nothing vanishes uncounted, and TCP's last word is kept."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sacip_tun.protocol import hold as hold_module
from sacip_tun.protocol.errors import Drop
from sacip_tun.protocol.hold import STALE_AFTER, TCP_GIVES_UP, UNTAGGED, Hold, Tag

FLOW, OTHER = b"flow", b"other"


def taken(hold: Hold, at_most: float = float("inf")) -> list[bytes]:
    return [waiting.packet for waiting in hold.take(at_most)]


@pytest.fixture
def small(monkeypatch):
    """A queue of 1000 bytes and 10 packets."""
    monkeypatch.setattr(hold_module, "HOLD_PACKETS", 10)
    return Hold(1000)


def test_packets_leave_in_the_order_in_which_they_came() -> None:
    hold = Hold()
    for number in range(5):
        assert not hold.add(bytes([number]), now=0.0)
    assert taken(hold, 3) == [b"\0", b"\1", b"\2"]
    assert taken(hold) == [b"\3", b"\4"]
    assert not hold


def test_one_that_was_refused_goes_back_to_the_front() -> None:
    hold = Hold()
    hold.add(b"second", now=0.0)
    hold.add(b"first", first=True, now=0.0)
    assert taken(hold) == [b"first", b"second"]


def test_a_repeated_segment_takes_the_place_of_its_older_copy() -> None:
    hold = Hold()
    hold.add(b"old copy", Tag(FLOW, 100, 8), now=0.0)
    hold.add(b"next", Tag(FLOW, 108, 4), now=0.0)
    assert hold.add(b"new copy", Tag(FLOW, 100, 8), now=1.0) == Counter({Drop.HELD_AGAIN: 1})
    assert taken(hold) == [b"new copy", b"next"]


def test_a_longer_train_is_not_replaced_by_the_first_segment_of_it() -> None:
    hold = Hold()
    hold.add(b"long train", Tag(FLOW, 100, 3000), now=0.0)
    hold.add(b"short", Tag(FLOW, 100, 1000), now=5.0)
    assert taken(hold) == [b"long train"]


def test_of_pure_acknowledgements_the_newest_is_kept_in_its_own_place() -> None:
    hold = Hold()
    hold.add(b"ack 1", Tag(FLOW, 50), now=0.0)
    hold.add(b"datum", UNTAGGED, now=0.0)
    hold.add(b"ack 2", Tag(FLOW, 50), now=0.0)
    hold.add(b"ack of another", Tag(OTHER, 50), now=0.0)
    assert taken(hold) == [b"datum", b"ack 2", b"ack of another"]


def test_an_acknowledgement_replaces_no_data_at_the_same_place() -> None:
    hold = Hold()
    hold.add(b"data", Tag(FLOW, 50, 4), now=0.0)
    assert not hold.add(b"ack", Tag(FLOW, 50), now=0.0)
    assert len(hold) == 2


def test_the_fattest_flow_pays_with_its_oldest_and_keeps_its_newest(small: Hold) -> None:
    small.add(bytes(10), Tag(OTHER), now=0.0)
    for number in range(9):
        small.add(bytes([number]) * 100, Tag(FLOW, number * 100, 100), now=0.0)
    assert small.add(b"\x09" * 100, Tag(FLOW, 900, 100), now=0.0) == {Drop.HOLD_OVERFLOW: 1}
    assert [packet[:1] for packet in taken(small)] == [bytes([n]) for n in (0, *range(1, 10))]


def test_a_flows_newest_segment_is_spared_while_anything_else_is_there(small: Hold) -> None:
    """The flow with the most bytes is one segment: others must give way."""
    small.add(bytes(600), Tag(FLOW, 1, 600), now=0.0)
    for _ in range(5):
        small.add(bytes(100), now=0.0)
    assert 600 in {len(packet) for packet in taken(small)}


def test_what_is_no_tcp_is_stale_soon_and_tcp_when_its_connection_is() -> None:
    hold = Hold()
    hold.add(b"voice", Tag(OTHER), now=0.0)
    hold.add(b"segment", Tag(FLOW, 1, 7), now=0.0)
    assert hold.expire(now=STALE_AFTER) == 0
    assert hold.expire(now=STALE_AFTER + 0.1) == 1
    assert hold.expire(now=TCP_GIVES_UP) == 0
    assert hold.expire(now=TCP_GIVES_UP + 0.1) == 1
    assert not hold


def test_a_repetition_makes_a_segment_young_again() -> None:
    hold = Hold()
    hold.add(b"segment", Tag(FLOW, 1, 7), now=0.0)
    hold.add(b"segment", Tag(FLOW, 1, 7), now=900.0)
    assert hold.expire(now=1000.0) == 0


def test_giving_up_keeps_the_newest_segment_of_each_flow() -> None:
    hold = Hold()
    for sequence in (1, 2, 3):
        hold.add(bytes([sequence]), Tag(FLOW, sequence, 1), now=0.0)
        hold.add(bytes([10 + sequence]), Tag(OTHER, sequence, 1), now=0.0)
    hold.add(b"untagged", now=0.0)
    hold.add(b"ack", Tag(FLOW, 4), now=0.0)
    assert hold.give_up() == 6
    assert taken(hold) == [b"\3", b"\x0d"]


tags = st.one_of(
    st.builds(Tag, st.sampled_from([b"", b"u", b"v"])),
    st.builds(Tag, st.sampled_from([b"t", b"w"]), st.integers(0, 6), st.integers(0, 3)),
)
steps = st.one_of(
    st.tuples(st.just("add"), tags, st.integers(0, 400), st.booleans()),
    st.tuples(st.just("take"), st.integers(0, 700)),
    st.tuples(st.just("wait"), st.sampled_from([1.0, 7.0, 500.0])),
    st.tuples(st.just("give up")),
)


@given(st.lists(steps, max_size=60))
def test_everything_is_taken_or_still_there_or_dropped_under_one_reason(script) -> None:
    """And never more is held than the bounds say."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hold_module, "HOLD_PACKETS", 8)
        conserves(script)


def conserves(script) -> None:
    hold, now, added = Hold(1000), 0.0, 0
    gone = Counter[str]()
    for verb, *values in script:
        if verb == "add":
            tag, length, first = values
            added += 1
            gone.update(hold.add(bytes(length), tag, first=first, now=now))
        elif verb == "take":
            gone["taken"] += len(taken(hold, values[0]))
        elif verb == "wait":
            now += values[0]
            gone[Drop.HELD_STALE] += hold.expire(now=now)
        else:
            gone[Drop.GAVE_UP] += hold.give_up()
        assert len(hold) <= 8
        assert added == len(hold) + sum(gone.values())
    lengths = [len(packet) for packet in taken(hold)]
    assert sum(lengths) <= 1000
    assert (hold._bytes, +hold._flows, hold._newest) == (0, Counter(), {})
