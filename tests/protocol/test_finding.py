"""Finding each other: the other family, another gateway, both ends gone, a relay, the own link."""

from dataclasses import replace
from ipaddress import ip_address

import pytest
from inner_traffic import duplicates, numbers, say
from simulation import connected, endpoint, triangle

from sacip_tun.protocol.events import FrameReceived, FrameSent, Hunting, Moved, Side
from sacip_tun.protocol.facts import LocalFacts, Source
from sacip_tun.protocol.frames import Reason
from sacip_tun.protocol.sacip import LocalState

OLD, NEW, HUB, HUB_NEW = "192.168.1.22", "192.168.7.2", "192.168.1.101", "192.168.8.101"
OLD6, HUB6 = "2001:db8:1::22", "2001:db8:2::101"


def talk(world, a, b, number: int, patience: float = 1.0) -> None:
    """Both hear each other, once."""
    say(a, b, number)
    say(b, a, number)
    world.run(patience)
    assert numbers(a)[-1:] == numbers(b)[-1:] == [number]
    assert not duplicates(a)
    assert not duplicates(b)


def rests(world, *hosts) -> None:
    """Left alone, the world stops doing anything by itself."""
    world.run(900)
    assert [host.tunnel.next_timer() for host in hosts] == [None] * len(hosts)


def tell_candidates(host, *addresses: str) -> None:
    facts = LocalFacts(
        {}, frozenset(map(ip_address, addresses)), {}, tuple(map(ip_address, addresses))
    )
    host.tunnel.addresses_changed(facts, now=host.world.now)


def dual_stack_hub():
    """A hub with both families, of which the laptop knows by HELLO."""
    world, a, b = connected()
    b.told(Source(endpoint(HUB), 2, preferred=True), Source(endpoint(HUB6), 2))
    tell_candidates(b, HUB, HUB6)
    world.run(130)
    say(a, b, 0)  # a new session, and HELLO with candidates
    world.run(2)
    return world, a, b


def test_from_ipv4_to_ipv6_and_back() -> None:
    world, a, b = dual_stack_hub()
    assert endpoint(HUB6) in a.peer.where.destinations
    a.facts(OLD6)
    talk(world, a, b, 1, patience=0.2)
    assert a.peer.path.remote.active == endpoint(HUB6)
    assert b.peer.path.local.active == endpoint(HUB6)
    assert b.peer.path.remote.active == endpoint(OLD6)
    a.facts(OLD)
    talk(world, a, b, 2, patience=0.2)
    assert a.peer.path.remote.active == endpoint(HUB)
    assert b.peer.path.local.active == endpoint(HUB)
    rests(world, a, b)


def test_a_family_in_which_the_peer_is_not_known_is_no_way() -> None:
    world, a, b = connected()
    a.facts(OLD6)
    assert a.peer.detached
    say(a, b, 1)
    world.run(1)
    a.facts(OLD)
    world.run(0.1)
    assert numbers(b) == [1]


def test_a_name_that_has_an_address_of_the_only_family_left_ends_the_waiting() -> None:
    world, a, b = connected()
    b.told(Source(endpoint(HUB), 2, preferred=True), Source(endpoint(HUB6), 2))
    a.facts(OLD6)
    say(a, b, 1)
    world.run(1)
    a.peer.resolved((endpoint(HUB), endpoint(HUB6)), now=world.now)
    world.settle(a)
    world.run(0.2)
    assert numbers(b) == [1]
    talk(world, a, b, 2)


def test_who_is_reached_in_a_family_in_which_he_knew_nobody_answers_there() -> None:
    """The hub has lost the family of its peer; the peer comes over the other."""
    world, a, b = dual_stack_hub()
    b.facts(HUB6)
    assert b.peer.detached
    a.facts(OLD6)
    world.run(0.2)
    assert not b.peer.detached
    talk(world, a, b, 1)
    rests(world, a, b)


def test_another_gateway_is_told_though_the_address_is_the_same() -> None:
    world, a, b = connected()
    home = Source(endpoint(OLD), 2, preferred=True, gateway=ip_address("192.168.1.1"))
    a.told(home)
    world.run(0.5)
    count = len(b.of(Moved))
    a.told(home)
    world.run(0.5)
    assert len(b.of(Moved)) == count
    a.told(replace(home, gateway=ip_address("192.168.1.254")))
    world.run(0.5)
    moved = a.of(Moved)[-1]
    assert (moved.side, moved.reason) == (Side.LOCAL, Reason.ROUTE_CHANGED)
    assert moved.old == moved.new == endpoint(OLD)
    talk(world, a, b, 1)


@pytest.mark.parametrize("resumed", ["laptop", "hub", "both"])
@pytest.mark.parametrize("slept", [10.0, 100.0, 3600.0])
def test_after_suspend_both_hear_each_other(resumed: str, slept: float) -> None:
    world, a, b = connected()
    world.now += slept
    for host in (a, b):
        if resumed in {host.name, "both"}:
            host.tunnel.resumed(now=world.now)
            world.settle(host)
    say(a, b, 1)
    world.run(0.2)
    assert numbers(b) == [1]
    talk(world, a, b, 2)
    rests(world, a, b)


def both_move(world, a, b, apart: float) -> None:
    a.facts(NEW)
    world.run(apart)
    b.facts(HUB_NEW)


APART = [0.0, 0.010, 1.0]


@pytest.mark.parametrize("apart", APART)
def test_both_move_and_a_candidate_is_kept(apart: float) -> None:
    """The hub has a second address that stays, and the laptop knows of it."""
    world, a, b = dual_stack_hub()
    a.facts(NEW)
    world.run(apart)
    b.told(Source(endpoint(HUB_NEW), 2, preferred=True), Source(endpoint(HUB6), 2))
    a.told(Source(endpoint(NEW), 2, preferred=True), Source(endpoint(OLD6), 2))
    talk(world, a, b, 1, patience=3.0)


@pytest.mark.parametrize("apart", APART)
def test_both_move_and_the_name_tells_the_new_address(apart: float) -> None:
    world, a, b = connected(latency=0.030)
    both_move(world, a, b, apart)
    world.run(5)
    assert bool(a.of(Hunting)) == (apart < world.latency)
    a.peer.resolved((endpoint(HUB_NEW),), now=world.now)
    world.settle(a)
    talk(world, a, b, 1)
    assert a.peer.exchange.local_move.state is LocalState.SETTLED
    assert b.peer.exchange.local_move.state is LocalState.SETTLED
    rests(world, a, b)


def test_both_move_and_the_name_tells_at_once() -> None:
    """The resolver is asked when the move is not acknowledged; 0.1 s later it answers."""
    world, a, b = connected()
    both_move(world, a, b, 0.0)
    world.run(0.2)
    a.peer.resolved((endpoint(HUB_NEW),), now=world.now)
    world.settle(a)
    talk(world, a, b, 1, patience=0.3)


@pytest.mark.parametrize("apart", APART)
def test_both_move_on_one_link_and_find_each_other_there(apart: float) -> None:
    world, a, b = connected()
    a.facts("192.168.5.2")
    world.run(apart)
    b.facts("192.168.5.101")
    world.run(3)
    talk(world, a, b, 1)
    rests(world, a, b)


@pytest.mark.parametrize("apart", APART)
def test_both_move_and_a_third_that_both_reach_passes_it_on(apart: float) -> None:
    world, a, b, c = triangle(latency=0.030)
    both_move(world, a, b, apart)
    world.run(4)
    relayed = "RELAY" in {event.code for event in c.of(FrameReceived)}
    assert relayed == (apart < world.latency)
    talk(world, a, b, 1)
    rests(world, a, b, c)


def test_nobody_relays_for_whom_that_is_not_permitted() -> None:
    world, a, b, c = triangle(relay=False)
    both_move(world, a, b, 0.0)
    world.run(30)
    assert not {"RELAY", "RELAYED"} & {event.code for event in c.of(FrameReceived)}
    assert "RELAYED" not in {event.code for event in a.of(FrameReceived)}
    assert a.peer.exchange.local_move.hunting
    assert b.peer.exchange.local_move.hunting


def test_hunting_never_gives_up() -> None:
    world, a, b = connected()
    both_move(world, a, b, 0.0)
    for _ in range(8):
        world.run(3600)
        assert a.peer.exchange.local_move.hunting
        before = len(world.sent)
        world.run(60)
        assert len(world.sent) > before
    b.facts(HUB)
    world.run(20)
    talk(world, a, b, 1, patience=6.0)


def test_a_plain_peer_never_gets_a_frame_whatever_happens() -> None:
    world, a, b = connected(b_sacip=False)
    world.run(12)
    a.told(Source(endpoint(OLD), 2, preferred=True), Source(endpoint(NEW), 3))
    world.run(1)
    a.facts(NEW)
    world.run(0.1)
    talk(world, a, b, 1)
    a.facts()
    say(a, b, 2)
    world.run(2)
    a.facts(OLD)
    world.run(7)
    assert 2 in numbers(b)
    a.tunnel.resumed(now=world.now)
    world.settle(a)
    world.run(1)
    world.tap = lambda *_: []
    for number in range(10, 40):
        say(a, b, number)
        world.run(1)
    world.tap = lambda source, destination, _data: [(source, destination)]
    world.run(200)
    talk(world, a, b, 50, patience=12.0)
    assert not a.of(FrameSent)
    assert not b.of(FrameReceived)
