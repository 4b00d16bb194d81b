"""Every refusal of the kernel and its own reaction, with a socket that refuses as told."""

import asyncio
import errno
import os
import socket
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulation import connected, endpoint

from sacip_tun.daemon import clock, sender
from sacip_tun.daemon.sender import Parcel, Sender
from sacip_tun.linux.ancillary import UDP_SEGMENT
from sacip_tun.linux.send_errors import SendError
from sacip_tun.linux.udp import UdpSocket
from sacip_tun.protocol.address import Endpoint
from sacip_tun.protocol.errors import Drop

HERE, THERE = endpoint("192.168.1.22"), endpoint("192.168.1.101")
SIZE = 4


class Refusal:
    """One answer of the kernel: it takes `taken` bytes, then gives an errno (0: takes all)."""

    def __init__(self, number: int, taken: int = 0) -> None:
        self.number = number
        self.taken = taken


class FakeSocket:
    version = 4

    def __init__(self) -> None:
        self.answers: list[Refusal] = []
        self.always: Refusal | None = None
        self.taken = 0
        self.sent: list[tuple[bytes, Endpoint | None, Endpoint]] = []

    def fileno(self) -> int:
        return -1

    outstanding = 1

    def set_send_buffer(self, size: int) -> None:
        self.send_buffer = size

    def steers(self, _local, _remote) -> bool:
        return False

    def send(self, data, _size, local, remote, _traffic_class) -> None:
        answer = self.always or (self.answers.pop(0) if self.answers else Refusal(0, len(data)))
        self.taken = answer.taken
        if answer.taken:
            self.sent.append((bytes(data[: answer.taken]), local, remote))
        if answer.number:
            raise OSError(answer.number, os.strerror(answer.number))


class Bench:
    def __init__(self) -> None:
        _, laptop, _ = connected()
        self.peer = laptop.peer
        self.socket = FakeSocket()
        self.drops: Counter[Drop] = Counter()
        self.sender = Sender([self.socket], self.drops)  # type: ignore[list-item]
        self.failed: list[None] = []
        self.told: list[tuple] = []
        self.doubted: list[object] = []
        self.sender.doubt = self.doubted.append
        self.sender.path_failed = lambda: self.failed.append(None)
        self.sender.tell = lambda *what: self.told.append(what)

    def refuse(self, *answers: int | Refusal) -> None:
        self.socket.answers = [a if isinstance(a, Refusal) else Refusal(a) for a in answers]

    def inner(self, data: bytes = b"AAAABBBBCC") -> bool:
        return self.sender.send(Parcel(memoryview(data), SIZE, HERE, THERE, self.peer))

    def frame(self, data: bytes = b"frame") -> bool:
        return self.sender.send(Parcel(memoryview(data), len(data), HERE, THERE))

    @property
    def went(self) -> bytes:
        return b"".join(data for data, _, _ in self.socket.sent)


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.mark.parametrize(
    "number", [errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EPERM]
)
def test_a_refused_path_is_suspicious_and_the_packet_waits(bench, number):
    bench.refuse(number)
    assert not bench.inner()
    assert len(bench.failed) == 1
    assert bench.drops[Drop.SEND_FAILED] == 1
    assert bench.inner()


def test_other_paths_are_asked_where_no_news_about_addresses_will_come(bench):
    bench.refuse(errno.ENETUNREACH, errno.EPERM, errno.EHOSTUNREACH, errno.EPERM)
    bench.inner()
    assert bench.doubted == []
    bench.inner()
    bench.inner()
    bench.frame()
    assert bench.doubted == [bench.peer, bench.peer]


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EADDRNOTAVAIL, errno.ENODEV])
def test_inner_packets_with_a_source_that_is_gone_go_from_another_at_once(bench, number):
    bench.refuse(number)
    assert bench.inner()
    assert bench.socket.sent == [(b"AAAABBBBCC", None, THERE)]
    assert len(bench.failed) == 1
    assert bench.drops[Drop.SEND_FAILED] == 0
    assert bench.sender.errors == {SendError.BAD_SOURCE: 1}


def test_where_no_other_source_leads_there_either_the_packet_waits(bench):
    bench.refuse(errno.EINVAL, errno.ENETUNREACH)
    assert not bench.inner()
    assert bench.sender.errors == {SendError.BAD_SOURCE: 1, SendError.NO_ROUTE: 1}


def test_a_frame_is_never_sent_from_another_address_than_it_says(bench):
    bench.refuse(errno.EINVAL)
    assert not bench.frame()
    assert bench.socket.sent == []
    assert len(bench.failed) == 1


def test_a_late_complaint_is_not_about_this_datagram(bench):
    bench.refuse(errno.ECONNREFUSED)
    assert bench.inner()
    assert bench.socket.sent == [(b"AAAABBBBCC", HERE, THERE)]
    assert bench.failed == []


def test_complaints_without_end_do_not_spin(bench):
    bench.socket.always = Refusal(errno.ECONNREFUSED)
    assert bench.inner()
    assert bench.sender.errors == {SendError.STRAY: 2}
    assert bench.drops[Drop.SEND_FAILED] == 1


def test_what_is_too_big_is_dropped_and_counted(bench):
    bench.refuse(errno.EMSGSIZE)
    assert bench.inner()
    assert bench.drops[Drop.SEND_FAILED] == 1
    assert (bench.failed, bench.sender.full) == ([], False)


def test_what_is_forbidden_is_told_once_in_a_while_with_the_fix(bench, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(clock, "now", lambda: now[0])
    bench.socket.always = Refusal(errno.EPERM)
    for _ in range(3):
        bench.inner()
    ((why, fix, local, remote),) = bench.told
    assert why.startswith("EPERM")
    assert "nft" in fix
    assert (local, remote) == (HERE, THERE)
    now[0] += sender.TELL_AGAIN
    bench.inner()
    assert len(bench.told) == 2


# Half-way


def test_the_rest_of_a_torn_parcel_goes_over_the_path_that_the_peer_has_then(bench):
    bench.refuse(Refusal(errno.ENETUNREACH, taken=4))
    assert bench.inner()
    elsewhere = endpoint("192.168.1.2")
    bench.peer.path.local = bench.peer.path.local.moved_to(elsewhere)
    bench.sender.retry()
    assert bench.socket.sent[1:] == [(b"BBBBCC", elsewhere, THERE)]
    bench.sender.retry()
    assert bench.went == b"AAAABBBBCC"


def test_a_source_that_goes_half_way_tears_nothing_twice(bench):
    bench.refuse(Refusal(errno.EINVAL, taken=4), Refusal(errno.ENETUNREACH, taken=4))
    assert bench.inner()
    bench.sender.retry()
    assert bench.went == b"AAAABBBBCC"


def test_a_rest_that_is_refused_again_is_dropped_and_counted(bench):
    bench.refuse(Refusal(errno.ENETUNREACH, taken=4), errno.ENETUNREACH)
    bench.inner()
    bench.sender.retry()
    bench.sender.retry()
    assert bench.went == b"AAAA"
    assert bench.drops[Drop.SEND_FAILED] == 1


# Full


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM])
def test_full_keeps_everything_in_order_and_frames_before_packets(bench, number):
    bench.refuse(Refusal(number, taken=4))
    assert bench.inner(b"AAAABBBB")
    assert bench.sender.full
    assert bench.inner(b"CCCC")
    assert bench.frame(b"DDDD")
    bench.sender.drain()
    assert bench.went == b"AAAADDDDBBBBCCCC"
    assert not bench.sender.full
    assert bench.drops[Drop.SEND_FAILED] == 0


def test_full_again_goes_on_where_it_stopped(bench):
    bench.refuse(Refusal(errno.EAGAIN), Refusal(errno.EAGAIN, taken=4))
    bench.inner(b"AAAABBBB")
    bench.inner(b"CCCC")
    bench.sender.drain()
    assert bench.went == b"AAAA"
    bench.sender.drain()
    assert bench.went == b"AAAABBBBCCCC"


def test_what_waits_is_bounded(bench, monkeypatch):
    monkeypatch.setattr(sender, "MAX_WAITING", 10)
    bench.refuse(errno.EAGAIN)
    for data in (b"AAAA", b"BBBB", b"CCCC"):
        bench.inner(data)
    bench.sender.drain()
    assert bench.went == b"AAAABBBB"
    assert bench.drops[Drop.SEND_FAILED] == 1


def test_what_waited_for_a_socket_and_finds_its_path_gone_waits_for_the_next(bench):
    bench.refuse(errno.EAGAIN, errno.ENETUNREACH)
    bench.inner()
    bench.sender.drain()
    assert (bench.went, bench.sender.full) == (b"", False)
    bench.sender.retry()
    assert bench.went == b"AAAABBBBCC"


def test_without_memory_it_pauses_and_does_not_spin(bench):
    async def body() -> None:
        done = asyncio.Event()
        bench.sender.go = done.set
        bench.sender.start(asyncio.get_running_loop())
        bench.refuse(errno.ENOBUFS, errno.ENOBUFS, errno.ENOBUFS)
        bench.inner()
        async with asyncio.timeout(5):
            await done.wait()
        bench.sender.close()

    asyncio.run(body())
    assert bench.went == b"AAAABBBBCC"
    assert bench.sender.errors == {SendError.FULL: 3}


def test_a_full_socket_is_waited_for_by_the_loop():
    """A real socket, whose buffer a slow reader keeps full."""
    bench = Bench()
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    left.setblocking(False)
    read: list[bytes] = []

    class Pipe(FakeSocket):
        def fileno(self) -> int:
            return left.fileno()

        def send(self, data, size, _local, _remote, _traffic_class) -> None:
            self.taken = 0
            for start in range(0, len(data), size):
                left.send(data[start : start + size])
                self.taken += len(data[start : start + size])

    bench.sender = Sender([Pipe()], bench.drops)  # type: ignore[list-item]

    async def body() -> None:
        loop = asyncio.get_running_loop()
        bench.sender.start(loop)
        number = 0
        while not bench.sender.full:
            bench.inner(b"%04d" % number)
            number += 1
        emptied, arrived = asyncio.Event(), asyncio.Event()
        bench.sender.go = emptied.set

        def take() -> None:
            read.append(right.recv(SIZE))
            if len(read) == number:
                arrived.set()

        loop.add_reader(right.fileno(), take)
        async with asyncio.timeout(5):
            await emptied.wait()
            await arrived.wait()
        loop.remove_reader(right.fileno())
        bench.sender.close()
        assert read == [b"%04d" % n for n in range(number)]

    asyncio.run(body())
    left.close()
    right.close()


def test_a_socket_with_room_that_is_not_the_full_one_does_not_spin(bench):
    """The main socket is writable at once, and the steered one behind it stays full."""
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    bench.socket.fileno = left.fileno  # type: ignore[method-assign]
    bench.socket.always = Refusal(errno.EAGAIN)

    async def body() -> None:
        bench.sender.start(asyncio.get_running_loop())
        bench.inner()
        await asyncio.sleep(0.2)
        bench.sender.close()

    asyncio.run(body())
    assert bench.sender.errors[SendError.FULL] <= 12
    left.close()
    right.close()


def test_no_socket_of_the_family_is_counted(bench):
    data = memoryview(b"AAAA")
    assert bench.sender.send(Parcel(data, SIZE, None, endpoint("2001:db8::1"), bench.peer))
    assert bench.drops[Drop.NO_ENDPOINT] == 1


def test_a_real_socket_tells_how_much_the_kernel_took():
    mine = UdpSocket(4, 0, offload=False)
    there = endpoint("127.0.0.1", mine.port)
    mine.send(memoryview(b"AAAABBBBCC"), SIZE, None, there)
    assert mine.taken == 10
    with pytest.raises(OSError, match=r"Invalid argument|assign|unreachable"):
        mine.send(memoryview(b"AAAABBBBCC"), SIZE, endpoint("203.0.113.77"), there)
    assert mine.taken == 0
    mine.close()


def test_a_source_of_the_other_family_is_refused_and_never_cut_short():
    mine = UdpSocket(4, 0, offload=False)
    there = endpoint("127.0.0.1", mine.port)
    with pytest.raises(OSError, match="no IPv4 source"):
        mine.send(memoryview(b"AAAA"), SIZE, endpoint("2001:db8::1"), there)
    assert mine.taken == 0
    mine.close()


class Kernel:
    """The socket below: it knows no UDP_SEGMENT, and is full after so many datagrams each time."""

    def __init__(self, room: list[int]) -> None:
        self.room = room
        self.went: list[bytes] = []

    def setsockopt(self, *_option) -> None:
        pass

    def sendmsg(self, buffers, ancillary, _flags, _to) -> None:
        if any(kind == UDP_SEGMENT for _, kind, _ in ancillary):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if self.room and not self.room[0]:
            self.room.pop(0)
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        if self.room:
            self.room[0] -= 1
        self.went.append(b"".join(buffers))

    def fileno(self) -> int:
        return -1

    def close(self) -> None:
        pass


@settings(max_examples=60, deadline=None)
@given(
    runs=st.lists(st.integers(1, 90), min_size=1, max_size=6),
    room=st.lists(st.integers(0, 40), max_size=8),
)
def test_what_is_refused_as_a_run_and_full_half_way_leaves_once_and_in_order(runs, room):
    mine, drops = UdpSocket(4, 0), Counter()
    mine._socket.close()
    kernel = mine._socket = Kernel(room)
    numbers = iter(range(sum(runs)))
    sender = Sender([mine], drops)
    for count in runs:
        data = b"".join(b"%04d" % next(numbers) for _ in range(count))
        assert sender.send(Parcel(memoryview(data), SIZE, HERE, THERE))
    while sender.full:
        sender.drain()
    assert kernel.went == [b"%04d" % number for number in range(sum(runs))]
    assert drops == {}
