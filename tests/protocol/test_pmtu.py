"""The search for the path's MTU, over paths that drop what is larger than they carry."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulation import World, connected, endpoint, pair

from sacip_tun.protocol import messages
from sacip_tun.protocol.events import FrameReceived, FrameSent, PathMtu
from sacip_tun.protocol.pmtu import BASE, CONFIRMATION, MAX_PROBES, MtuState

MTU = 1420
FULL = MTU + 60
AROUND = 28


class Narrow:
    """A network that silently drops what is larger than `carries` bytes, IP header included."""

    def __init__(self, world: World, carries: int) -> None:
        self.carries = carries
        self.silent = False
        self.dropped = 0
        world.tap = self

    def __call__(self, source, destination, data):
        if self.silent or len(data) + AROUND > self.carries:
            self.dropped += 1
            return []
        return [(source, destination)]


def limit(host, length: int = MTU) -> int:
    """What the pump asks with each super-packet; what is to be sent for it is sent."""
    answer = host.peer.path_mtu.limit(length, MTU, now=host.world.now)
    host.world.settle(host)
    return answer


def traffic(host, seconds: float, length: int = MTU, pause: float = 0.05) -> None:
    for _ in range(round(seconds / pause)):
        limit(host, length)
        host.world.run(pause)


def probes(world: World, *sizes: int) -> list[int]:
    found = [len(data) + AROUND for _, _, _, data in world.sent]
    return [size for size in found if size in sizes]


def search(host):
    return host.peer.path_mtu


def test_a_plain_peer_is_never_probed() -> None:
    world, a, _ = connected(b_sacip=False)
    world.sent.clear()
    traffic(a, 3.0)
    assert limit(a) == MTU
    assert search(a).state is MtuState.DISABLED
    assert probes(world, FULL, BASE) == []


def test_the_full_size_is_in_use_after_one_round_trip() -> None:
    world, a, _ = connected()
    assert limit(a) == BASE - 60
    assert search(a).state is MtuState.BASE
    world.run(2.5 * world.latency)
    assert limit(a) == MTU
    assert search(a).state is MtuState.SEARCH_COMPLETE
    assert a.of(PathMtu) == []


def test_probes_are_no_events_and_have_their_exact_size() -> None:
    world, a, b = connected()
    before = len(a.of(FrameSent) + a.of(FrameReceived) + b.of(FrameSent) + b.of(FrameReceived))
    world.sent.clear()
    traffic(a, 3.0)
    after = len(a.of(FrameSent) + a.of(FrameReceived) + b.of(FrameSent) + b.of(FrameReceived))
    assert after == before
    assert len(probes(world, FULL)) >= 3
    assert all(len(data) + AROUND <= FULL for *_, data in world.sent)


@pytest.mark.parametrize(
    ("carries", "found"),
    [(1280, 1280), (1300, 1280), (1400, 1400), (1430, 1420), (1479, 1460), (1480, 1480)],
)
def test_a_narrow_path_is_measured(carries: int, found: int) -> None:
    world, a, _ = connected()
    Narrow(world, carries)
    traffic(a, 4.0)
    assert search(a).state is MtuState.SEARCH_COMPLETE
    assert search(a).size == found
    assert limit(a) == found - 60
    assert [event.new for event in a.of(PathMtu)] == ([] if found == FULL else [found])


def test_nothing_larger_than_the_base_size_is_offered_while_it_is_searched() -> None:
    world, a, _ = connected()
    Narrow(world, 1300)
    for _ in range(100):
        assert limit(a) <= BASE - 60
        world.run(0.05)


def test_a_path_that_shrinks_is_noticed_within_two_seconds_and_the_event_says_so() -> None:
    world, a, _ = connected()
    traffic(a, 1.0)
    narrow = Narrow(world, 1280)
    since = world.now
    while limit(a) > BASE - 60:
        world.run(0.02)
        assert world.now - since < 2 * CONFIRMATION
    traffic(a, 2.0)
    assert [(event.old, event.new) for event in a.of(PathMtu)] == [(FULL, 1280)]
    narrow.carries = 1400
    traffic(a, 30.0)
    assert search(a).size == 1400
    narrow.carries = 1500
    traffic(a, 90.0)
    assert search(a).size == FULL
    assert [event.new for event in a.of(PathMtu)] == [1280, 1400, FULL]


def test_a_silent_path_says_nothing_about_sizes() -> None:
    world, a, _ = connected()
    traffic(a, 1.0)
    narrow = Narrow(world, 1500)
    narrow.silent = True
    traffic(a, 8.0)
    assert search(a).size == FULL
    narrow.silent = False
    traffic(a, 10.0)
    assert search(a).state is MtuState.SEARCH_COMPLETE
    assert a.of(PathMtu) == []


def test_two_lost_probes_decide_nothing() -> None:
    world, a, _ = connected()
    traffic(a, 1.0)
    left = [MAX_PROBES - 1]

    def tap(source, destination, data):
        if len(data) + AROUND == FULL and left[0]:
            left[0] -= 1
            return []
        return [(source, destination)]

    world.tap = tap
    traffic(a, 4.0)
    assert not left[0]
    assert search(a).size == FULL
    assert a.of(PathMtu) == []


def test_a_flip_begins_anew_and_an_old_answer_counts_no_more() -> None:
    world, a, _ = connected()
    traffic(a, 1.0)
    a.move_to("192.168.1.2")
    assert limit(a) == BASE - 60
    world.run(0.1)
    assert limit(a) == MTU


def test_the_peer_probes_after_our_move_too() -> None:
    world, a, b = connected()
    traffic(a, 1.0)
    traffic(b, 1.0)
    Narrow(world, 1400)
    a.move_to("192.168.1.2")
    for _ in range(60):
        limit(a)
        limit(b)
        world.run(0.05)
    assert search(a).size == search(b).size == 1400


def test_a_path_below_the_base_size_is_an_error_and_still_used() -> None:
    world, a, _ = connected()
    Narrow(world, 800)
    traffic(a, 8.0)
    assert search(a).state is MtuState.ERROR
    assert search(a).size == 768


def test_a_refusal_of_the_kernel_needs_no_second_probe() -> None:
    world, a, _ = connected()
    Narrow(world, 1400)
    limit(a)
    before = world.now
    while search(a).state is not MtuState.SEARCH_COMPLETE:
        attempt = search(a)._attempt
        assert attempt is not None
        if attempt.size > 1400:
            search(a).refused(attempt.size - AROUND, now=world.now)
        world.settle(a)
        world.run(0.01)
    assert search(a).size == 1400
    assert world.now - before < 0.5


def test_small_packets_and_idleness_probe_nothing() -> None:
    world, a, _ = connected()
    traffic(a, 1.0)
    world.sent.clear()
    traffic(a, 5.0, length=100)
    world.run(60.0)
    assert probes(world, FULL) == []


def test_a_mtu_below_the_base_size_is_confirmed_as_it_is() -> None:
    world, a, _ = connected()
    search(a).limit(1000, 1000, now=world.now)
    world.settle(a)
    world.run(0.1)
    assert search(a).limit(1000, 1000, now=world.now) == 1000
    assert search(a).size == 1060
    assert search(a).state is MtuState.SEARCH_COMPLETE


def test_an_address_on_trial_is_not_sent_more_than_it_may_be() -> None:
    world, _, b = connected()
    b.peer.path.limit(100)
    world.sent.clear()
    limit(b)
    assert probes(world, FULL) == []
    b.peer.path.lift_limit()
    traffic(b, 2.0)
    assert search(b).size == FULL


def test_no_probe_is_longer_than_a_packet_can_be() -> None:
    world, a, _ = connected()
    Narrow(world, 1500)
    largest = 65535
    for _ in range(100):
        assert a.peer.path_mtu.limit(largest, largest, now=world.now) <= largest - 60
        world.settle(a)
        world.run(0.05)
    assert search(a).size == 1500


def test_nothing_is_probed_without_a_session() -> None:
    world, a, _ = pair()
    a.peer.speaks_sacip = True
    assert limit(a) == BASE - 60
    world.run(0.1)
    assert not any(len(data) + AROUND == FULL for *_, data in world.sent)


def test_a_probe_of_another_address_family_has_the_other_overhead() -> None:
    _, a, _ = connected()
    a.peer.path.remote = a.peer.path.remote.of(endpoint("fd00::1"))
    assert search(a).limit(MTU, MTU, now=a.world.now) == BASE - 80
    (datagram,) = [d for d in a.tunnel.datagrams_to_send() if d.unfragmented]
    assert len(datagram.data) == MTU + messages.MIN_DATA_SIZE


paths = st.lists(
    st.tuples(st.integers(600, 1600), st.sampled_from([0.0, 0.2, 0.5])), min_size=1, max_size=4
)


@settings(deadline=None, max_examples=30)
@given(paths, st.randoms(use_true_random=False))
def test_whatever_the_path_becomes_the_size_follows_and_stays_within_bounds(paths, random) -> None:
    """Each path carries so many bytes and loses that share of everything; then the loss ends."""
    world, a, _ = connected()
    narrow = Narrow(world, 1500)
    for carries, loss in paths:
        narrow.carries = carries

        def tap(source, destination, data, loss=loss):
            lost = random.random() < loss
            return [] if lost else narrow(source, destination, data)

        world.tap = tap
        traffic(a, 3.0, pause=0.1)
        assert 576 - 60 <= limit(a) <= MTU
        world.tap = narrow
        traffic(a, 12.0, pause=0.1)
        assert search(a).size <= carries
        assert search(a).found
