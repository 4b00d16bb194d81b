"""A NAT of any patience is kept open with few packets, and one that forgot is noticed."""

from ipaddress import ip_address

import pytest
from nat import Nat
from simulation import endpoint, pair

from sacip_tun.protocol.events import FrameSent, Moved, Moving, Side
from sacip_tun.protocol.facts import Source
from sacip_tun.protocol.frames import Reason
from sacip_tun.protocol.nat_keepalive import (
    FIRST_INTERVAL,
    FORGIVENESS,
    LONGEST_INTERVAL,
    SHORTEST_INTERVAL,
    Estimate,
)

HOUR = 3600.0
OLD = "192.168.1.22"


def behind_nat(timeout=None, keepalive=None):
    """A laptop behind a NAT that shook hands with its hub, and then is idle."""
    world, a, b = pair(keepalive=keepalive)
    nat = Nat(world, OLD, timeout=timeout)
    a.send("10.9.0.2")
    world.run(0.5)
    b.send("10.9.0.1")
    world.run(0.5)
    assert len(a.delivered) == 1
    return world, a, b, nat


def sent_by(host, since):
    return [when for when, source, *_ in host.world.sent[since:] if str(source.host) == OLD]


def reaches(b, a) -> bool:
    """Whether an inner packet of the hub arrives within a second."""
    before = len(a.delivered)
    b.send("10.9.0.1")
    b.world.run(1)
    return len(a.delivered) > before


def test_a_nat_is_seen_by_address_or_port() -> None:
    _, a, _, nat = behind_nat()
    assert a.peer.path.behind_nat
    assert a.peer.path.observed == nat.outside[0]
    a.peer.path.observed = endpoint(OLD)
    assert a.peer.path.behind_nat is False
    a.peer.path.observed = endpoint(OLD, 1024)
    assert a.peer.path.behind_nat is True


def test_without_a_nat_an_idle_tunnel_says_nothing() -> None:
    world, a, _ = pair(keepalive=None)
    a.send("10.9.0.2")
    world.run(100)
    before = len(world.sent)
    world.run(HOUR)
    assert len(world.sent) == before
    assert a.peer.exchange.nat_keepalive.interval == 0


@pytest.mark.parametrize("keepalive", [0, 40])
def test_what_the_user_set_stays_as_it_is(keepalive) -> None:
    world, a, _, _ = behind_nat(keepalive=keepalive)
    world.run(20)
    before = len(world.sent)
    world.run(80)
    keepalives = [entry for entry in world.sent[before:] if str(entry[1].host) == OLD]
    assert len(keepalives) == (2 if keepalive else 0)
    assert a.peer.exchange.nat_keepalive.interval == 0


@pytest.mark.parametrize("timeout", [12, 20, 30, 40, 60, 90, 119, 145])
def test_the_interval_converges_below_the_timeout_and_stays_there(timeout) -> None:
    world, a, b, nat = behind_nat(timeout=timeout)
    world.run(2 * HOUR)
    moves = len(b.of(Moved))
    for _ in range(12):
        world.run(600)
        assert a.peer.exchange.nat_keepalive.interval < timeout
        assert reaches(b, a)
    assert len(b.of(Moved)) == moves
    assert a.peer.exchange.nat_keepalive.interval >= 0.5 * min(timeout, LONGEST_INTERVAL)
    assert nat.outside


def test_a_patient_nat_is_asked_ever_more_rarely_up_to_a_bound() -> None:
    world, a, b, _ = behind_nat(timeout=100_000)
    assert a.peer.exchange.nat_keepalive.interval == FIRST_INTERVAL
    world.run(HOUR)
    assert a.peer.exchange.nat_keepalive.interval == LONGEST_INTERVAL
    before = len(world.sent)
    world.run(10 * HOUR)
    assert len(sent_by(a, before)) < 5 * 10 * HOUR / LONGEST_INTERVAL
    assert reaches(b, a)
    assert not b.of(Moved)


def test_the_session_never_lapses_between_two_challenges() -> None:
    world, a, b, _ = behind_nat(timeout=100_000)
    for _ in range(400):
        world.run(10)
        assert a.peer.can_seal(now=world.now)
        assert b.peer.can_seal(now=world.now)


def test_a_mapping_that_went_while_idle_is_noticed_and_told() -> None:
    """The hub comes to know of it with the next challenge, not with the next packet."""
    world, a, b, nat = behind_nat()
    world.run(200)
    nat.restart()
    world.run(LONGEST_INTERVAL + 5)
    moving = a.of(Moving)[-1]
    assert (moving.reason, moving.old) == (Reason.NAT_REBOUND, moving.new)
    assert b.peer.path.remote.active == nat.outside[-1]
    assert a.peer.path.observed == nat.outside[-1]
    assert reaches(b, a)


def test_one_restart_of_a_nat_does_not_shorten_the_interval_for_ever() -> None:
    world, a, _, nat = behind_nat()
    world.run(HOUR)
    nat.restart()
    world.run(HOUR)
    assert a.peer.exchange.nat_keepalive.interval < LONGEST_INTERVAL
    world.run(FORGIVENESS + HOUR)
    assert a.peer.exchange.nat_keepalive.interval == LONGEST_INTERVAL


def test_what_is_learnt_belongs_to_one_network() -> None:
    world, a, _, nat = behind_nat(timeout=40)
    world.run(2 * HOUR)
    home = a.peer.exchange.nat_keepalive.interval
    other = Source(endpoint(OLD), 2, preferred=True, gateway=ip_address("192.168.1.254"))
    a.told(other)
    assert a.peer.exchange.nat_keepalive.interval == FIRST_INTERVAL
    nat.timeout = 12
    world.run(HOUR)
    assert a.peer.exchange.nat_keepalive.interval < 12
    a.facts(OLD)
    assert a.peer.exchange.nat_keepalive.interval == home


def test_a_lost_challenge_is_repeated_and_teaches_nothing() -> None:
    world, a, _, nat = behind_nat()
    lost = []

    def drop_two(source, destination, data):
        if str(source.host) == OLD and len(lost) < 2:
            lost.append(data)
            return []
        return nat.carry(source, destination, data)

    world.tap = drop_two
    world.run(FIRST_INTERVAL + 2)
    assert len(lost) == 2
    assert not a.of(Moving)
    assert a.peer.exchange.nat_keepalive.interval >= FIRST_INTERVAL


def test_a_peer_that_does_not_answer_gets_a_handshake() -> None:
    world, a, b, _ = behind_nat()
    b.peer.erase()
    world.run(FIRST_INTERVAL + 10)
    assert reaches(b, a)


def test_a_download_that_a_rebinding_cuts_off_is_back_within_a_few_round_trips() -> None:
    """Who only receives has nothing to send: silence after a stream is what he can notice."""
    world, a, b, nat = behind_nat()
    for _ in range(100):
        b.send("10.9.0.1")
        world.run(0.01)
    nat.restart()
    before, start = len(a.delivered), world.now
    while len(a.delivered) == before and world.now < start + 5:
        b.send("10.9.0.1")
        world.run(0.01)
    assert world.now - start < 0.5
    assert [event.reason for event in a.of(Moving)] == [Reason.NAT_REBOUND]
    assert b.peer.path.remote.active == nat.outside[-1]


def test_who_only_receives_keystrokes_asks_nothing() -> None:
    world, a, b, _ = behind_nat()
    before = len(a.of(FrameSent))
    for _ in range(8):
        b.send("10.9.0.1")
        world.run(0.5)
    assert {event.code for event in a.of(FrameSent)[before:]} == {"PATH_RESPONSE"}


def test_the_moved_event_of_a_rebinding_names_both_mappings_on_the_hub() -> None:
    world, _, b, nat = behind_nat()
    first = nat.outside[0]
    nat.restart()
    world.run(FIRST_INTERVAL + 2)
    moved = [event for event in b.of(Moved) if event.side is Side.REMOTE][-1]
    assert (moved.old, moved.new) == (first, nat.outside[-1])


def test_estimate_bounds() -> None:
    estimate = Estimate(FIRST_INTERVAL)
    for _ in range(50):
        estimate.failed(estimate.interval, shortest=SHORTEST_INTERVAL, now=0.0)
    assert estimate.interval == SHORTEST_INTERVAL
    for number in range(50):
        later = FORGIVENESS + number
        estimate.survived(estimate.interval, longest=LONGEST_INTERVAL, now=later)
    assert estimate.interval == LONGEST_INTERVAL
