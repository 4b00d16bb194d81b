"""The pump between a TUN and a socket that are not there: order, refusals, and what is counted."""

import errno
import os
from collections.abc import Callable

import pytest
from datapath import superpackets
from simulation import connected, endpoint, inner

from sacip_tun.daemon import clock
from sacip_tun.daemon.pump import Pump
from sacip_tun.datapath.python import PythonCodec
from sacip_tun.linux.tun import InterfaceGone
from sacip_tun.linux.udp import Received
from sacip_tun.protocol.errors import Drop

NO_HEADER = bytes(10)
# One object each, as the sockets' caches give them.
HERE, THERE = endpoint("192.168.1.101"), endpoint("192.168.1.22")


class FakeTun:
    offload = udp_offload = True

    def __init__(self) -> None:
        self.to_read: list[bytes | Exception] = []
        self.written: list[bytes] = []
        self.refuses: Callable[[bytes], int] = lambda _data: 0

    def read(self, buffer: memoryview) -> int:
        if not self.to_read:
            raise BlockingIOError
        packet = self.to_read.pop(0)
        if isinstance(packet, Exception):
            raise packet
        buffer[: len(packet)] = packet
        return len(packet)

    def write(self, parts) -> None:
        data = b"".join(parts)
        if number := self.refuses(data):
            raise OSError(number, os.strerror(number))
        self.written.append(data)

    def refused(self, _gso_type: int) -> None:
        self.offload = False


class FakeSocket:
    version = 4

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, int]] = []
        self.classes: list[int] = []
        self.ecn = 0
        self.came = 0.0
        self.taken = 0
        self.sends_before_refusal = 0
        self.refuse: int | None = None
        self.incoming: list[tuple[bytes, int]] = []
        self.whole: list[bytes] = []
        self.most = 65507

    outstanding = 1

    def set_send_buffer(self, size: int) -> None:
        self.send_buffer = size

    def steers(self, _local, _remote) -> bool:
        return False

    def send_whole(self, data, _local, _remote) -> None:
        if len(data) > self.most:
            raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))
        self.whole.append(bytes(data))

    def send(self, data, segment_size, _local, _remote, traffic_class) -> None:
        if self.refuse is not None and len(self.sent) >= self.sends_before_refusal:
            raise OSError(self.refuse, os.strerror(self.refuse))
        self.sent.append((bytes(data), segment_size))
        self.classes.append(traffic_class)

    def receive(self, buffer: memoryview) -> Received | None:
        if not self.incoming:
            return None
        data, size = self.incoming.pop(0)
        buffer[: len(data)] = data
        return Received(len(data), size, HERE, THERE, self.ecn, self.came)


class Bench:
    """The laptop's and the hub's pumps, over two tunnels that have shaken hands."""

    def __init__(self) -> None:
        self.world, self.laptop, self.hub = connected()
        self.tun, self.socket = FakeTun(), FakeSocket()
        self.pump = self._pump(self.laptop, self.tun, self.socket)
        self.hub_tun, self.hub_socket = FakeTun(), FakeSocket()
        self.hub_pump = self._pump(self.hub, self.hub_tun, self.hub_socket)

    @staticmethod
    def _pump(host, tun, socket, dscp: int | None = 0) -> Pump:
        pump = Pump(tun, [socket], host.tunnel, PythonCodec(), mtu=1420)
        pump.outbound.dscp = dscp
        return pump

    def choose(self, dscp: int | None) -> None:
        """Let the laptop have another `Dscp`."""
        self.pump = self._pump(self.laptop, self.tun, self.socket, dscp)

    def out(self, *packets: bytes) -> None:
        self.tun.to_read += [NO_HEADER + packet for packet in packets]
        self.pump.outbound.readable()

    def across(self) -> None:
        self.hub_socket.incoming += self.socket.sent
        self.socket.sent = []
        while self.hub_socket.incoming:
            self.hub_pump.inbound.readable(self.hub_socket)


@pytest.fixture
def bench(monkeypatch) -> Bench:
    bench = Bench()
    monkeypatch.setattr("sacip_tun.daemon.clock.now", lambda: bench.world.now)
    return bench


def packets(count: int) -> list[bytes]:
    return [inner("10.9.0.1", "10.9.0.2", b"%06d" % number) for number in range(count)]


def test_the_first_packet_leaves_at_once_and_the_others_together_and_in_order(bench) -> None:
    sent = packets(5)
    bench.out(*sent)
    assert [len(data) // size for data, size in bench.socket.sent] == [1, 4]
    bench.across()
    assert bench.hub_tun.written == [NO_HEADER + packet for packet in sent]


def test_what_came_in_many_receives_is_opened_and_written_together(bench, monkeypatch) -> None:
    opened = []

    def count(data, *more):
        opened.append(len(data))
        return PythonCodec.open(codec, data, *more)

    def count_single(data, *more):
        opened.append(len(data))
        return PythonCodec.open_single(codec, data, *more)

    codec = bench.hub_pump.inbound._codec
    monkeypatch.setattr(codec, "open", count)
    monkeypatch.setattr(codec, "open_single", count_single)
    sent = packets(40)
    for packet in sent:
        bench.out(packet)
    bench.across()
    assert len(bench.hub_tun.written) == len(sent)
    assert [packet[10:] for packet in bench.hub_tun.written] == sent
    # The first need not wait for the others, which are one batch.
    assert len(opened) == 2


def test_what_came_out_of_order_is_delivered_in_the_order_in_which_it_was_sent(bench) -> None:
    sent = packets(12)
    for packet in sent:
        bench.out(packet)
    first, *rest = bench.socket.sent
    bench.socket.sent = [first, *reversed(rest)]
    bench.across()
    assert [packet[10:] for packet in bench.hub_tun.written] == sent


def test_what_the_kernel_refuses_waits_and_goes_later(bench: Bench) -> None:
    failures = []
    bench.pump.sender.path_failed = lambda: failures.append(1)
    bench.socket.refuse = errno.ENETUNREACH
    bench.out(*packets(3))
    assert failures
    assert len(bench.laptop.peer.delivery.hold) == 3
    assert bench.laptop.tunnel.drops[Drop.SEND_FAILED] >= 1
    bench.socket.refuse = None
    bench.pump.outbound.flush_held(bench.laptop.peer)
    bench.across()
    assert [packet[-6:] for packet in bench.hub_tun.written] == [b"000000", b"000001", b"000002"]


def test_a_full_socket_loses_nothing_and_lets_the_tun_wait(bench: Bench) -> None:
    bench.socket.refuse = errno.EAGAIN
    bench.out(*packets(20))
    bench.socket.refuse = None
    bench.pump.outbound.readable()
    bench.pump.sender.drain()
    bench.pump.outbound.readable()
    bench.pump.outbound.readable()
    bench.across()
    expected = [b"%06d" % number for number in range(20)]
    assert [packet[-6:] for packet in bench.hub_tun.written] == expected
    assert bench.laptop.tunnel.drops[Drop.SEND_FAILED] == 0


def test_of_a_torn_super_packet_only_the_rest_waits_and_nothing_comes_twice(
    bench: Bench, monkeypatch
) -> None:
    """Of 47 datagrams 45 leave in one send; the route goes before the last two."""
    monkeypatch.setitem(superpackets.SOURCE, 4, "10.9.0.1")
    monkeypatch.setitem(superpackets.DESTINATION, 4, "10.9.0.2")
    bench.laptop.peer.path_mtu.limit(1420, 1420, now=bench.world.now)
    bench.world.settle(bench.laptop)
    bench.world.run(1)  # the path's MTU is known from here on
    payload = bytes(os.urandom(46 * 1368 + 100))
    bench.socket.sends_before_refusal, bench.socket.refuse = 1, errno.ENETUNREACH
    bench.tun.to_read = [bytes(superpackets.Flow().superpacket(payload, 1368))]
    bench.pump.outbound.readable()
    assert len(bench.laptop.peer.delivery.hold) == 0
    bench.socket.refuse = None
    bench.pump.outbound.flush_held(bench.laptop.peer)
    assert [-(-len(data) // size) for data, size in bench.socket.sent] == [45, 2]
    bench.across()
    header = superpackets.Flow().headers
    received = b"".join(packet[len(NO_HEADER) + header :] for packet in bench.hub_tun.written)
    assert received == payload


def test_packets_for_nobody_and_packets_that_are_none_are_counted(bench: Bench) -> None:
    bench.out(inner("10.9.0.1", "10.9.0.99"), b"\x00" * 40, b"")
    assert bench.laptop.tunnel.drops[Drop.NO_PEER] == 1
    assert bench.laptop.tunnel.drops[Drop.BAD_INNER] == 2
    assert bench.socket.sent == []


@pytest.mark.parametrize(
    "number", [errno.EIO, errno.EINVAL, errno.EMSGSIZE, errno.ENOBUFS, errno.ENOMEM, errno.EAGAIN]
)
def test_a_packet_that_the_tun_refuses_takes_no_other_along(bench: Bench, number) -> None:
    sent = packets(5)
    bench.hub_tun.refuses = lambda data: number if data.endswith(b"000002") else 0
    bench.out(*sent)
    bench.across()
    assert bench.hub_tun.written == [NO_HEADER + p for p in sent if p != sent[2]]
    assert sum(bench.hub.tunnel.drops.values()) == 1
    assert bench.hub.tunnel.drops[Drop.BAD_INNER] == 0


def test_merged_packets_that_the_tun_refuses_arrive_one_by_one(bench: Bench, monkeypatch) -> None:
    monkeypatch.setitem(superpackets.SOURCE, 4, "10.9.0.1")
    monkeypatch.setitem(superpackets.DESTINATION, 4, "10.9.0.2")
    flow, payload = superpackets.Flow(), os.urandom(30 * 1100 + 100)
    bench.hub_tun.refuses = lambda data: errno.EINVAL if data[1] else 0
    bench.tun.to_read = [bytes(flow.superpacket(payload, 1100))]
    bench.pump.outbound.readable()
    bench.across()
    assert bench.hub_tun.written == [NO_HEADER + p for p in flow.segments(payload, 1100)]
    assert not bench.hub_tun.offload
    assert sum(bench.hub.tunnel.drops.values()) == 0


def test_a_forbidden_inner_source_is_dropped_and_counted(bench: Bench) -> None:
    bench.out(inner("10.9.0.66", "10.9.0.2"))
    bench.across()
    assert bench.hub_tun.written == []
    assert bench.hub.tunnel.drops[Drop.FORBIDDEN_SOURCE] == 1


def test_hostile_bytes_are_counted_and_do_no_harm(bench: Bench) -> None:
    for length in range(200):
        bench.hub_socket.incoming.append(((b"\4\0\0\0" + os.urandom(200))[:length], length or 1))
    bench.out(*packets(1))
    bench.across()
    while bench.hub_socket.incoming:
        bench.hub_pump.inbound.readable(bench.hub_socket)
    assert len(bench.hub_tun.written) == 1
    assert sum(bench.hub.tunnel.drops.values()) == 200


def test_a_deleted_tun_is_told_once(bench: Bench) -> None:
    gone = []
    bench.pump.outbound.gone = lambda: gone.append(1)
    bench.tun.to_read = [InterfaceGone("sacip0")]
    bench.pump.outbound.readable()
    assert gone == [1]


def test_while_the_kernel_refuses_nothing_is_sealed_over_and_over(bench: Bench) -> None:
    bench.socket.refuse = errno.ENETUNREACH
    sealed = []
    seal = bench.pump.outbound._codec.seal
    bench.pump.outbound._codec.seal = lambda *arguments: sealed.append(1) or seal(*arguments)
    for packet in packets(100):
        bench.out(packet)
    assert len(bench.laptop.peer.delivery.hold) == 100
    assert len(sealed) <= 200
    bench.socket.refuse = None
    bench.out(packets(101)[-1])
    for round_trip in range(1, 10):  # released in growing windows, one a round trip
        bench.laptop.tunnel.handle_timer(now=clock.now() + round_trip)
        bench.pump.outbound.flush_held(bench.laptop.peer)
    bench.across()
    expected = [b"%06d" % number for number in range(101)]
    assert [packet[-6:] for packet in bench.hub_tun.written] == expected


# A path that carries 1340 bytes: 1320 is the largest size tried below, and 1260 the inner packets'.
CARRIES, LIMIT = 1340, 1260


def measured(bench: Bench) -> None:
    """Let the laptop find out what a path of CARRIES bytes carries."""
    bench.world.tap = lambda source, destination, data: (
        [(source, destination)] if len(data) + 28 <= CARRIES else []
    )
    for _ in range(60):
        bench.laptop.peer.path_mtu.limit(1420, 1420, now=bench.world.now)
        bench.world.settle(bench.laptop)
        bench.world.run(0.05)
    assert bench.laptop.peer.path_mtu.found
    bench.socket.sent.clear()


def large(protocol: int, *, dont_fragment: bool = True) -> bytes:
    packet = bytearray(inner("10.9.0.1", "10.9.0.2", bytes(1380)))
    packet[6] = 0x40 if dont_fragment else 0
    packet[9] = protocol
    return bytes(packet)


def test_what_is_too_long_is_sent_and_its_sender_told_once_a_second(bench: Bench) -> None:
    measured(bench)
    bench.out(large(17), large(17))
    assert sum(len(data) for data, _ in bench.socket.sent) > 2 * 1400
    (error,) = bench.tun.written
    assert error[10 + 9] == 1
    assert error[30:32] == b"\3\4"
    assert int.from_bytes(error[36:38], "big") == LIMIT
    bench.world.run(1.0)
    bench.out(large(17))
    assert len(bench.tun.written) == 2


def test_what_may_be_fragmented_is_and_nobody_is_told(bench: Bench) -> None:
    measured(bench)
    bench.out(large(17, dont_fragment=False))
    bench.across()
    assert bench.tun.written == []
    assert len(bench.hub_tun.written) == 2
    assert all(len(packet) <= 10 + LIMIT for packet in bench.hub_tun.written)


def test_nobody_is_told_while_the_size_is_searched(bench: Bench) -> None:
    bench.out(large(17))
    assert not bench.laptop.peer.path_mtu.found
    assert bench.tun.written == []
    bench.across()
    assert len(bench.hub_tun.written) == 1


def test_a_probe_that_the_first_link_refuses_is_followed_by_smaller_ones(bench: Bench) -> None:
    bench.socket.most = CARRIES - 28
    bench.out(large(17))
    tunnel = bench.laptop.tunnel
    while datagrams := tunnel.datagrams_to_send():
        for datagram in datagrams:
            bench.pump.transmit(datagram)
    assert [len(data) + 28 for data in bench.socket.whole] == [1280]


EF, AF41 = 46, 34


def marked(number: int, traffic_class: int) -> bytes:
    """An inner packet with DSCP and ECN bits, and a right checksum."""
    packet = bytearray(packets(number + 1)[number])
    packet[1] = traffic_class
    packet[10:12] = (0xFFFF - sum(memoryview(packet[:20]).cast("H")) % 0xFFFF).to_bytes(2, "little")
    return bytes(packet)


def is_intact(packet: bytes) -> bool:
    return sum(memoryview(packet[10:30]).cast("H")) % 0xFFFF == 0


def test_the_outer_header_has_the_ecn_bits_of_the_inner_ones(bench: Bench) -> None:
    sent = [marked(number, EF << 2 | bits) for number, bits in enumerate([0, 0, 2, 2, 1, 3, 0])]
    bench.out(*sent)
    assert bench.socket.classes == [0, 0, 2, 1, 3, 0]
    assert [len(data) // size for data, size in bench.socket.sent] == [1, 1, 2, 1, 1, 1]
    bench.across()
    assert bench.hub_tun.written == [NO_HEADER + packet for packet in sent]


@pytest.mark.parametrize(
    ("dscp", "classes"),
    [(0, [2, 0, 3]), (EF, [EF << 2 | 2, EF << 2, EF << 2 | 3]), (None, [AF41 << 2 | 2, 4, 3])],
)
def test_the_outer_dscp_is_none_a_fixed_one_or_the_inner_one(bench: Bench, dscp, classes) -> None:
    bench.choose(dscp)
    bench.out(marked(0, AF41 << 2 | 2), marked(1, 4), marked(2, 3))
    assert bench.socket.classes == classes


def test_what_carries_no_inner_packet_has_neither(bench: Bench) -> None:
    bench.choose(EF)
    bench.out(*packets(1))
    bench.socket.classes.clear()
    bench.laptop.peer.path_mtu.limit(1420, 1420, now=bench.world.now)
    bench.laptop.tunnel.resumed(now=bench.world.now)
    sent = bench.laptop.tunnel.datagrams_to_send()
    for datagram in sent:
        bench.pump.transmit(datagram)
    assert len(bench.socket.classes) == len(sent) - len(bench.socket.whole) > 0
    assert not any(bench.socket.classes)


def test_what_waited_for_a_full_socket_keeps_its_class(bench: Bench) -> None:
    bench.socket.refuse = errno.EAGAIN
    bench.out(marked(0, 2), marked(1, 1))
    bench.socket.refuse = None
    bench.pump.sender.drain()
    assert bench.socket.classes == [2, 1]


@pytest.mark.parametrize(
    ("outer", "arriving", "strange"),
    [
        (0, [0, 1, 2, 3], 0),
        (1, [0, 1, 1, 3], 2),
        (2, [0, 1, 2, 3], 2),
        (3, [3, 3, 3], 1),
    ],
)
def test_marks_of_the_outer_header_reach_the_inner_one(
    bench: Bench, outer, arriving, strange
) -> None:
    """The rows of RFC 6040, figure 4."""
    bench.hub_socket.ecn = outer
    for number in range(4):
        bench.out(marked(number, AF41 << 2 | number))
        bench.across()  # each by itself: a batch is judged by its first packet
    assert [packet[11] for packet in bench.hub_tun.written] == [AF41 << 2 | n for n in arriving]
    assert all(map(is_intact, bench.hub_tun.written))
    assert bench.hub.tunnel.drops[Drop.UNMARKABLE] == 4 - len(arriving)
    assert bench.hub_pump.inbound.strange_marks == strange


def test_marks_on_what_is_no_inner_packet_change_nothing(bench: Bench) -> None:
    bench.hub_socket.ecn = 3
    bench.laptop.tunnel.resumed(now=bench.world.now)
    for datagram in bench.laptop.tunnel.datagrams_to_send():
        bench.pump.transmit(datagram)
    assert bench.socket.sent
    bench.across()
    assert bench.hub.tunnel.datagrams_to_send()  # the answer
    assert not any(bench.hub.tunnel.drops.values())
    assert bench.hub_pump.inbound.strange_marks == 0
