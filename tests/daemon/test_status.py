"""The state of a peer says what is so, in every situation that the simulation can bring about."""

from dataclasses import replace

import pytest
from simulation import connected, endpoint, pair

from sacip_tun.config import PeerConfig
from sacip_tun.daemon.journal import Journal
from sacip_tun.daemon.status import peer_document, peer_state
from sacip_tun.protocol.events import Held, Kind, Moved, MoveRefused, Recovered, Side

NEW = "192.168.1.2"


def state(host, configured: str | None = "hub:1") -> str:
    return peer_state(host.peer, configured, now=host.world.now)


def cut(world) -> None:
    world.tap = lambda *_: []


def heal(world) -> None:
    world.tap = lambda source, destination, _data: [(source, destination)]


def test_before_anything_was_sent_nobody_is_connected() -> None:
    _, a, b = pair()
    assert state(a) == "idle"
    assert state(b, None) == "no endpoint"


def test_a_name_that_has_not_resolved_is_no_idle_peer() -> None:
    _, _, b = pair()
    assert state(b, "laptop.example:1") == "unresolved"


def test_a_first_handshake_that_nobody_answers_is_connecting() -> None:
    world, a, _ = pair()
    cut(world)
    a.send("10.9.0.2")
    world.run(7)
    assert state(a) == "connecting"


def test_both_are_connected_after_the_handshake() -> None:
    _, a, b = connected()
    assert (state(a), state(b, None)) == ("connected", "connected")


def test_without_an_address_it_says_so_and_whether_packets_wait() -> None:
    world, a, _ = connected()
    a.facts()
    assert state(a) == "no address"
    a.send("10.9.0.2")
    assert state(a) == "held: no address"
    a.move_to(NEW)
    a.flush(a.peer)
    world.run(0.5)
    assert state(a) == "connected"


def test_a_move_that_is_not_acknowledged_yet_is_no_connection() -> None:
    world, a, _ = connected()
    cut(world)
    a.move_to(NEW)
    assert state(a) == "moving"
    world.run(5)
    assert state(a) == "hunting"
    heal(world)
    world.run(16)
    assert state(a) == "connected"


@pytest.mark.parametrize("sends", ["a", "b"])
def test_a_peer_that_went_away_is_never_called_connected_again(sends) -> None:
    """From 11 s on, through each timer that ends meanwhile, until its keys are gone."""
    world, a, b = connected()
    host, other = (a, "10.9.0.2") if sends == "a" else (b, "10.9.0.1")
    cut(world)
    host.send(other)
    states = []
    for _ in range(50):
        world.run(11.1)
        states.append(state(host))
    assert "connected" not in states
    assert "moving" not in states
    assert states[0] == "silent"
    assert states[-1] == "idle"


def test_who_only_receives_answers_late_and_is_connected_all_the_time() -> None:
    world, a, _ = connected(latency=0.2)
    for _ in range(400):
        a.send("10.9.0.2")
        world.run(0.1)
        assert state(a) == "connected"


def test_a_handshake_without_an_answer_degrades_though_nothing_else_was_sent() -> None:
    world, a, _ = connected()
    world.run(15)
    cut(world)
    a.peer.start_handshake(now=world.now)
    world.run(6)
    assert state(a) == "degraded"
    heal(world)
    world.run(10)
    assert state(a) == "connected"


def test_the_document_counts_what_happened() -> None:
    _, a, _ = connected()
    old, new, key = endpoint("192.0.2.1"), endpoint("192.0.2.2"), a.peer.key
    moved = Moved(key, Side.LOCAL, 1, old, new, new, None, Kind.BREAK_BEFORE_MAKE, 1.0)
    journal = Journal("sacip0")
    for event in (
        moved,
        moved,
        replace(moved, side=Side.REMOTE),
        MoveRefused(key, 1, None, new, "no"),
        Held(key, "no address"),
        Recovered(key, 20.0, released=3, resent=2, lost=1),
        Recovered(key, 20.0, released=1, resent=0, lost=0),
    ):
        journal.publish(event, 1.0)
    a.facts()
    a.send("10.9.0.2")
    document = peer_document(a.peer, PeerConfig(key), a.tunnel, journal)
    assert document["held"] == 1
    assert document["counters"] == {
        "moves": 2, "peer_moves": 1, "refused_moves": 1, "released": 4, "resent": 2, "lost": 1,
    }  # fmt: skip
    assert Journal("sacip0").tally(key).document() == dict.fromkeys(document["counters"], 0)
