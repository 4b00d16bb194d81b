"""What a move or an outage costs those inside: nothing that the network did not take for good."""

from ipaddress import ip_address
from itertools import pairwise

import pytest
from inner_traffic import numbers, say, say_tcp, segments, stream
from simulation import connected, endpoint

from sacip_tun.protocol.events import Degraded, FrameSent, Held, Kind, Moved, Moving, Recovered
from sacip_tun.protocol.facts import LocalFacts, Source
from sacip_tun.protocol.frames import Reason
from sacip_tun.protocol.hold import STALE_AFTER
from sacip_tun.protocol.liveness import ONE_WAY_PAUSE
from sacip_tun.protocol.sacip import LocalState

OLD, NEW, HUB = "192.168.1.22", "192.168.1.2", "192.168.1.101"
RTT = 0.020


def quiet(world) -> None:
    """Nothing goes through."""
    world.tap = lambda *_: []


def swallowed(world, source, target, numbers) -> None:
    """Say these, and nothing of it arrives."""
    quiet(world)
    for number in numbers:
        say(source, target, number)
    clear(world)


def clear(world) -> None:
    """Everything goes through."""
    world.tap = lambda source, destination, _data: [(source, destination)]


def without(world, *addresses: str) -> None:
    """Nothing from or to these addresses goes through."""

    def tap(source, destination, _data):
        gone = {str(source.host), str(destination.host)} & set(addresses)
        return [] if gone else [(source, destination)]

    world.tap = tap


def at_rest(world, *hosts) -> bool:
    """Whether a world that is left alone stops doing anything by itself."""
    world.run(900)
    return all(host.tunnel.next_timer() is None for host in hosts)


@pytest.mark.parametrize("upload", [True, False])
def test_a_planned_move_loses_nothing_and_duplicates_nothing(upload: bool) -> None:
    world, a, b = connected()
    source, target = (a, b) if upload else (b, a)
    a.addresses = [OLD, NEW]
    for number in range(300):
        if number == 100:
            a.peer.exchange.local_move.request(endpoint(NEW), now=world.now)
            world.settle(a)
        if number == 250:
            a.facts(NEW)
        say(source, target, number)
        world.run(0.001)
    world.run(0.5)
    assert numbers(target) == list(range(300))
    assert str(b.peer.path.remote.active.host) == NEW
    assert sum(host.peer.delivery.lost for host in (a, b)) == 0
    assert at_rest(world, a, b)


def test_what_was_on_its_way_to_the_old_address_is_sent_again_once_and_first() -> None:
    """A download; the address is replaced, and what was in flight dies with the old one."""
    world, a, b = connected()
    stream(world, b, a, 0, 100)
    a.move_to(NEW)
    stream(world, b, a, 100, 200)
    world.run(0.5)
    assert sorted(numbers(a)) == list(range(300))
    lost = b.peer.delivery.resent
    assert 5 <= lost <= 25
    (recovered,) = b.of(Recovered)
    assert (recovered.resent, recovered.lost) == (lost, 0)
    got = numbers(a)
    late = [number for number, after in pairwise(got) if number > after]
    assert not late
    assert at_rest(world, a, b)


def test_what_goes_to_the_old_address_as_the_new_one_is_told_is_sent_again(monkeypatch) -> None:
    """One wake-up may bring what lets packets go to an address, and then that it is left."""
    world, a, b = connected()
    stream(world, b, a, 0, 20)
    take = b.take

    def take_after_sending(datagram, local, remote) -> None:
        monkeypatch.undo()
        say(b, a, 20)
        take(datagram, local, remote)

    monkeypatch.setattr(b, "take", take_after_sending)
    a.move_to(NEW)
    world.run(0.5)
    assert sorted(numbers(a)) == list(range(21))
    assert b.peer.delivery.lost == 0


def test_what_the_old_path_lost_on_the_way_up_is_sent_again_once() -> None:
    world, a, b = connected()
    stream(world, a, b, 0, 20)
    world.run(0.1)
    swallowed(world, a, b, range(20, 50))
    a.move_to(NEW)
    for number in range(50, 60):
        say(a, b, number)
        world.run(0.001)
    world.run(0.5)
    assert numbers(b) == list(range(60))
    copies = {data for _, _, _, data in world.sent if sum(d == data for *_, d in world.sent) > 1}
    assert len(copies) == a.peer.delivery.resent
    assert all(sum(d == data for *_, d in world.sent) == 2 for data in copies)


@pytest.mark.parametrize("reason", [Reason.ADDRESS_REMOVED, Reason.CARRIER_LOST])
def test_what_died_with_the_old_path_goes_before_what_is_new_on_an_announced_one(reason) -> None:
    """However long the acknowledgement takes: behind newer packets it would be a gap to TCP."""
    world, a, b = connected()
    a.facts(OLD, NEW)
    stream(world, a, b, 0, 20)
    world.run(0.1)
    swallowed(world, a, b, range(20, 30))
    a.facts(NEW, reason=reason)
    for number in range(30, 40):
        say(a, b, number)
        world.run(0.001)
    world.run(0.5)
    assert numbers(b) == list(range(40))
    assert a.of(Moving)[-1].kind is Kind.MAKE_BEFORE_BREAK


def test_what_went_into_a_silent_path_goes_before_what_is_new_on_an_announced_one() -> None:
    world, a, b = connected()
    a.facts(OLD, NEW)
    stream(world, a, b, 0, 20)
    world.run(0.1)
    without(world, OLD)
    for number in range(20, 120):
        say(a, b, number)
        world.run(0.01)
    world.run(0.5)
    assert numbers(b) == list(range(120))
    moving = a.of(Moving)[-1]
    assert (moving.reason, moving.kind) == (Reason.PATH_SILENT, Kind.MAKE_BEFORE_BREAK)


@pytest.mark.parametrize("outage", [5.0, 20.0, 60.0, 600.0])
def test_tcps_last_segment_is_there_when_the_address_is(outage: float) -> None:
    """Both hold: the mover, who has no address, and the fixed side, whom nobody answers."""
    world, a, b = connected()
    stream(world, a, b, 0, 10)
    a.facts()
    backoff, left = 0.2, outage
    while left > 0:  # as TCP does, on both ends
        say_tcp(a, b, 1000)
        say_tcp(b, a, 2000)
        pause = min(backoff, left)
        world.run(pause)
        left -= pause
        backoff = min(2 * backoff, 120.0)
    assert len(a.peer.delivery.hold) == len(b.peer.delivery.hold) == 1
    back = world.now
    a.facts(NEW)
    world.run(3 * RTT + 0.005)
    # What TCP had sent again before the silence was noticed comes as well: each is a packet.
    assert set(segments(b)) == {1000}
    assert set(segments(a)) == {2000}
    for host in (a, b):
        assert [event.why for event in host.of(Held)][:1]
        recovered = host.of(Recovered)[-1]
        assert recovered.milliseconds == pytest.approx(1000 * outage, abs=3000)
        assert recovered.lost == 0
    assert world.now - back < 0.1
    assert at_rest(world, a, b)


def test_a_fixed_side_that_is_silent_too_long_says_so_and_that_it_is_over() -> None:
    world, a, b = connected()
    world.run(2)
    quiet(world)
    say(b, a, 0)
    world.run(0.7)
    say(b, a, 1)
    (degraded,) = b.of(Degraded)
    assert degraded.remote == endpoint(OLD)
    assert 200 < degraded.milliseconds < 600
    assert b.peer.degraded
    (held,) = b.of(Held)
    assert held.why == "the path does not answer"
    world.run(0.3)
    clear(world)
    world.run(0.9)
    (recovered,) = b.of(Recovered)
    assert 300 < recovered.milliseconds < 1200
    assert (recovered.released, recovered.lost) == (1, 0)
    assert not b.peer.degraded
    assert numbers(a) == [0, 1]


def test_in_an_outage_what_is_no_tcp_is_stale_and_counted() -> None:
    world, a, b = connected()
    a.facts()
    say(a, b, 1)
    say_tcp(a, b, 1000)
    world.run(STALE_AFTER + 1)
    a.facts(NEW)
    world.run(0.2)
    assert numbers(b) == []
    assert segments(b) == [1000]
    assert a.of(Recovered)[-1].lost == 1


def test_a_one_way_stream_to_a_live_receiver_is_asked_once_a_second_and_never_held() -> None:
    world, a, b = connected()
    world.run(20)
    start = len(b.events)
    stream(world, b, a, 0, 1000, pause=0.010)
    asked = [e for e in b.events[start:] if isinstance(e, FrameSent) and "CHALLENGE" in e.code]
    assert len(asked) <= 11
    assert not b.of(Held)
    assert not b.of(Degraded)
    assert numbers(a) == list(range(1000))


def two_interfaces(world, a) -> None:
    """Wi-Fi, which the kernel prefers, and a phone; both on one link here."""
    a.told(Source(endpoint(OLD), 2, preferred=True), Source(endpoint(NEW), 3))
    world.run(1.0)
    assert str(a.peer.path.local.active.host) == OLD


def test_a_path_that_dies_silently_is_left_for_another_interface_within_half_a_second() -> None:
    """As with TCP: something goes each way."""
    world, a, b = connected()
    two_interfaces(world, a)
    for number in range(50):
        say(b, a, number)
        stream(world, a, b, number, 1, pause=0.005)
    without(world, OLD)
    died, number = world.now, 50
    while str(a.peer.path.local.active.host) == OLD or str(b.peer.path.remote.active.host) == OLD:
        assert world.now - died < 0.5 + 5 * RTT
        say(b, a, number)
        stream(world, a, b, number, 1, pause=0.005)
        number += 1
    world.run(0.2)
    assert sorted(numbers(a)) == sorted(numbers(b)) == list(range(number))
    assert a.of(Moved)[-1].reason is Reason.PATH_SILENT
    assert not a.of(Held)
    assert not b.of(Held)


@pytest.mark.parametrize("upload", [True, False])
def test_in_a_one_way_stream_it_is_left_as_soon_as_that_is_asked_again(upload: bool) -> None:
    world, a, b = connected()
    two_interfaces(world, a)
    source, target = (a, b) if upload else (b, a)
    stream(world, source, target, 0, 50, pause=0.005)
    without(world, OLD)
    died, number = world.now, 50
    while str(a.peer.path.local.active.host) == OLD or str(b.peer.path.remote.active.host) == OLD:
        assert world.now - died < ONE_WAY_PAUSE + 0.5
        say(source, target, number)
        world.run(0.005)
        number += 1
    stream(world, source, target, number, 50, pause=0.005)
    world.run(1.0)
    assert sorted(numbers(target)) == list(range(number + 50))
    assert a.of(Moved)[-1].reason is Reason.PATH_SILENT


def test_a_path_that_healed_is_gone_back_to_without_flapping() -> None:
    world, a, b = connected()
    two_interfaces(world, a)
    moves = len(a.of(Moved))
    without(world, OLD)
    stream(world, a, b, 0, 100, pause=0.020)
    assert str(a.peer.path.local.active.host) == NEW
    world.run(10)
    for _ in range(6):  # at the edge of its cell: there for a second, away for a second
        clear(world)
        world.run(1.0)
        without(world, OLD)
        world.run(1.0)
    assert len(a.of(Moved)) - moves == 1
    clear(world)
    world.run(15)
    assert str(a.peer.path.local.active.host) == OLD
    assert str(b.peer.path.remote.active.host) == OLD
    assert len(a.of(Moved)) - moves == 2
    assert a.peer.exchange.local_move.state in {LocalState.SETTLED, LocalState.PREPARED}
    assert at_rest(world, a, b)


def test_a_suspect_that_was_away_for_a_while_is_asked_again() -> None:
    """Its access point died silently, then its carrier went and came back; the address stayed."""
    world, a, b = connected()
    two_interfaces(world, a)
    without(world, OLD)
    stream(world, a, b, 0, 60, pause=0.020)
    wifi, phone = Source(endpoint(OLD), 2, preferred=True), Source(endpoint(NEW), 3)
    host = ip_address(OLD)
    facts = LocalFacts({b.tunnel.public_key: (phone,)}, frozenset({host, ip_address(NEW)}))
    a.tunnel.addresses_changed(facts, now=world.now)
    world.run(60)
    clear(world)
    a.told(wifi, phone)
    world.run(10)
    assert str(a.peer.path.local.active.host) == OLD
    assert at_rest(world, a, b)


def test_a_suspect_is_asked_ever_more_rarely() -> None:
    world, a, b = connected()
    two_interfaces(world, a)
    without(world, OLD)
    stream(world, a, b, 0, 60, pause=0.020)
    world.run(60)
    before = len(world.sent)
    world.run(600)
    assert len(a.peer.exchange.local_move._healing._asked) == 1
    assert len(world.sent) - before <= 80
