"""What waits: in our fair queue while the socket is full, in the socket while we are busy."""

import errno
from dataclasses import replace
from itertools import groupby

import pytest
from datapath import superpackets
from datapath.superpackets import Flow, payload_of
from test_pump import NO_HEADER, Bench, packets

from sacip_tun.daemon import clock
from sacip_tun.daemon.inbound import BULK
from sacip_tun.daemon.intake import BUFFERS
from sacip_tun.datapath.codel import INTERVAL
from sacip_tun.datapath.packet import inner_length
from sacip_tun.protocol.errors import Drop

# Segments of a train, and how it is cut: 30 fit any path.
COUNT, SIZE = 30, 1000


@pytest.fixture
def bench(monkeypatch) -> Bench:
    bench = Bench()
    monkeypatch.setattr(clock, "now", lambda: bench.world.now)
    monkeypatch.setitem(superpackets.SOURCE, 4, "10.9.0.1")
    monkeypatch.setitem(superpackets.DESTINATION, 4, "10.9.0.2")
    return bench


def trains(count: int, flow: Flow, size: int = SIZE) -> list[bytes]:
    """Trains of one connection that follow each other."""
    length = COUNT * size
    return [
        bytes(
            replace(
                flow,
                sequence=(flow.sequence + n * length) % 2**32,
                identification=(flow.identification + n * COUNT) % 2**16,
            ).superpacket(payload_of(length), size)
        )
        for n in range(count)
    ]


def arrived(bench: Bench) -> list[bytes]:
    """The packets that came out at the hub, train or not."""
    bench.across()
    return bench.hub_tun.written


def payload(written: list[bytes]) -> int:
    """The bytes of TCP data in what came out, of trains alone."""
    return sum(
        inner_length(memoryview(packet)[10:]) - 52 for packet in written if len(packet) > 999
    )


def out(bench: Bench, superpackets_: list[bytes]) -> None:
    bench.tun.to_read += superpackets_
    while bench.tun.to_read:
        bench.pump.outbound.readable()


def test_while_the_socket_is_full_the_tun_is_read_on_and_nothing_is_sealed(bench: Bench) -> None:
    bench.socket.refuse = errno.EAGAIN
    session = bench.laptop.peer.keypairs.current
    out(bench, [NO_HEADER + packet for packet in packets(1)])
    sealed = session.next_counter
    out(bench, trains(5, Flow()))
    assert session.next_counter == sealed
    assert not bench.laptop.tunnel.drops


def test_when_it_has_room_what_waited_goes_in_turns(bench: Bench) -> None:
    bench.socket.refuse = errno.EAGAIN
    out(bench, [NO_HEADER + packet for packet in packets(1)])
    one, other = Flow(ports=(1, 1)), Flow(ports=(2, 2))
    out(bench, trains(5, one) + trains(5, other))
    out(bench, [NO_HEADER + packet for packet in packets(2)[1:]])
    bench.socket.refuse = None
    bench.pump.sender.drain()
    for _ in range(9):
        bench.pump.outbound.forward()
    # Datagrams of the trains are long, those of single packets are short.
    turns = [long for long, _ in groupby(size > 500 for _, size in bench.socket.sent)]
    # Three trains each are a turn; who was not waiting goes before those that have had one.
    assert turns == [False, True, False, True]
    before, after = (
        sum(len(data) for data, _ in sent)
        for long, sent in groupby(bench.socket.sent, lambda send: send[1] > 500)
        if long
    )
    assert before / after == pytest.approx(6 / 4, rel=0.01)
    ports = {packet[30:34] for packet in arrived(bench)}
    assert {b"\0\1\0\1", b"\0\2\0\2"} <= ports


def test_what_waits_is_bounded_by_the_buffers_and_the_fattest_flow_pays(bench: Bench) -> None:
    bench.socket.refuse = errno.EAGAIN
    out(bench, [NO_HEADER + packet for packet in packets(2)])
    out(bench, trains(2 * BUFFERS, Flow()))
    dropped = bench.laptop.tunnel.drops[Drop.QUEUE_OVERFLOW]
    assert dropped >= BUFFERS
    bench.socket.refuse = None
    bench.pump.sender.drain()
    for _ in range(2 * BUFFERS):
        bench.pump.outbound.forward()
    written = arrived(bench)
    assert [packet for packet in written if packet[10:] in packets(2)]
    assert payload(written) == (2 * BUFFERS - dropped) * COUNT * SIZE


def waiting_long(bench: Bench, flow: Flow) -> None:
    """Let trains of one flow stand in the queue for far longer than is good."""
    bench.socket.refuse = errno.EAGAIN
    out(bench, [NO_HEADER + packet for packet in packets(1)])
    out(bench, trains(60, flow))
    bench.socket.refuse = None
    bench.pump.sender.drain()
    for _ in range(60):
        bench.world.now += INTERVAL / 2
        bench.pump.outbound.forward()


def test_a_standing_queue_loses_single_segments_of_its_trains(bench: Bench) -> None:
    waiting_long(bench, Flow())
    lost = bench.laptop.tunnel.drops[Drop.QUEUED_LONG]
    assert lost > 0
    assert bench.pump.outbound.marked == 0
    assert payload(arrived(bench)) == (60 * COUNT - lost) * SIZE


def test_a_standing_queue_of_an_ecn_flow_is_marked_and_loses_nothing(bench: Bench) -> None:
    waiting_long(bench, Flow(ecn=2))
    assert bench.laptop.tunnel.drops[Drop.QUEUED_LONG] == 0
    assert bench.pump.outbound.marked > 0
    written = arrived(bench)
    assert payload(written) == 60 * COUNT * SIZE
    assert any(packet[11] & 3 == 3 for packet in written)


@pytest.mark.parametrize("ecn", [0, 2])
def test_where_opening_takes_longer_than_sending_its_senders_are_told(
    bench: Bench, monkeypatch, ecn
) -> None:
    bench.hub_socket.came = 1.0
    monkeypatch.setattr(clock, "since", lambda _unix: 0.05)
    for train in trains(40, Flow(ecn=ecn)):
        out(bench, [train])
        bench.across()
        bench.world.now += INTERVAL / 10
    late = bench.hub.tunnel.drops[Drop.RECEIVED_LATE]
    marked = bench.hub_pump.inbound.marked
    assert (late > 0, marked > 0) == (ecn == 0, ecn == 2)
    assert payload(bench.hub_tun.written) == (40 * COUNT - late) * SIZE


def test_what_is_sparse_is_not_told_of_the_queue_that_others_made(bench, monkeypatch) -> None:
    bench.hub_socket.came = 1.0
    monkeypatch.setattr(clock, "since", lambda _unix: 0.05)
    for train in trains(40, Flow()):
        out(bench, [train])
        bench.across()
        before = bench.hub.tunnel.drops[Drop.RECEIVED_LATE]
        bench.out(*packets(BULK - 1))
        bench.across()
        assert bench.hub.tunnel.drops[Drop.RECEIVED_LATE] == before
        bench.world.now += INTERVAL / 10
    assert bench.hub.tunnel.drops[Drop.RECEIVED_LATE] > 0


def test_bursts_with_quiet_times_between_them_are_no_standing_queue(bench, monkeypatch) -> None:
    bench.hub_socket.came = 1.0
    waits = [0.05, 0.0001]
    monkeypatch.setattr(clock, "since", lambda _unix: waits[0])
    for train in trains(20, Flow()):
        out(bench, [train])
        bench.across()
        waits.reverse()
        bench.out(*packets(1))
        bench.across()
        waits.reverse()
        bench.world.now += 30.0 / 20
    assert bench.hub.tunnel.drops[Drop.RECEIVED_LATE] == 0


def test_a_slow_link_gets_short_bursts(bench: Bench) -> None:
    backlog = bench.pump.sender._backlogs[4]
    for _ in range(9):
        backlog.full(now=0.0)
        backlog.drained(left=1, now=1.0)
    bench.socket.refuse = errno.EAGAIN
    out(bench, [NO_HEADER + packet for packet in packets(1)])
    out(bench, trains(2, Flow(ports=(1, 1))) + trains(2, Flow(ports=(2, 2))))
    bench.socket.refuse = None
    bench.pump.sender.drain()
    for _ in range(9):
        bench.pump.outbound.forward()
    sent = list(bench.socket.sent)
    assert max(len(data) for data, _ in sent) <= 1.1 * backlog.burst
    assert payload_in_all(bench) == 4 * COUNT * SIZE
    assert len(sent) > 4 * COUNT * SIZE / backlog.burst


def payload_in_all(bench: Bench) -> int:
    """The bytes of TCP data in what came out, in trains of any length."""
    written = (memoryview(packet)[10:] for packet in arrived(bench))
    return sum(inner_length(packet) - 52 for packet in written if packet[9] == 6)


@pytest.fixture(autouse=True)
def no_buffer_is_lost(bench):
    """Whatever happened: when all has left, every buffer is free, once."""
    yield
    bench.socket.refuse = None
    bench.pump.sender.drain()
    while bench.pump.outbound._queue:
        bench.pump.outbound.forward()
    free = [id(view.obj) for view in bench.pump.outbound._intake._free]
    assert len(free) == len(set(free)) == BUFFERS
