import errno
import select
import socket
import sys
from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sacip_tun.lab.namespaces import Network
from sacip_tun.linux import socket_options, udp
from sacip_tun.linux.ancillary import UDP_SEGMENT
from sacip_tun.linux.errors import SocketError
from sacip_tun.linux.udp import RECEIVE_CAPACITY, UdpSocket
from sacip_tun.protocol.address import Endpoint

LOOPBACK = {4: "127.0.0.1", 6: "::1"}


@pytest.fixture(params=[4, 6])
def version(request):
    return request.param


@pytest.fixture
def opened(version):
    """A function that opens sockets of one family on the loopback; they are closed in the end."""
    sockets = []

    def open_socket(**options):
        sockets.append(UdpSocket(version, 0, **options))
        return sockets[-1]

    yield open_socket
    for sock in sockets:
        sock.close()


def endpoint(sock, host=None):
    return Endpoint(ip_address(host or LOOPBACK[sock.version]), sock.port)


def received(sock, timeout=0):
    """All runs that wait on `sock`, each as (segments, segment size, local, remote)."""
    select.select([sock], [], [], timeout)
    buffer = memoryview(bytearray(RECEIVE_CAPACITY))
    runs = []
    while (run := sock.receive(buffer)) is not None:
        data = bytes(buffer[: run.length])
        size = run.segment_size
        segments = [data[i : i + size] for i in range(0, len(data), size)]
        runs.append((segments, size, run.local, run.remote))
    return runs


def segments_of(runs):
    return [segment for run in runs for segment in run[0]]


def pattern(count, size, tail=0):
    segments = [bytes([index % 251]) * size for index in range(count)]
    return [*segments, b"\xff" * tail] if tail else segments


def test_empty_socket_gives_none(opened):
    assert opened().receive(memoryview(bytearray(RECEIVE_CAPACITY))) is None


def test_one_datagram_with_both_ends(opened):
    one, other = opened(), opened()
    one.send(memoryview(b"hello"), 5, None, endpoint(other))
    assert received(other) == [([b"hello"], 5, endpoint(other), endpoint(one))]


def test_endpoints_are_the_same_objects_again(opened):
    one, other = opened(), opened()
    for _ in range(2):
        one.send(memoryview(b"hello"), 5, None, endpoint(other))
    first, second = received(other)
    assert first[2] is second[2]
    assert first[3] is second[3]


def test_a_run_goes_and_comes_in_one_piece(opened):
    one, other = opened(), opened()
    sent = pattern(44, 1452, tail=100)
    one.send(memoryview(b"".join(sent)), 1452, endpoint(one), endpoint(other))
    runs = received(other)
    assert segments_of(runs) == sent
    assert len(runs) == 1
    assert runs[0][1] == 1452


@pytest.mark.parametrize(
    ("count", "size", "tail"),
    [(130, 100, 7), (46, 1452, 0), (64, 1452, 1), (2, 40000, 3), (65, 1, 0)],
)
def test_long_runs_are_split_by_count_and_by_bytes(opened, count, size, tail):
    one, other = opened(), opened()
    sent = pattern(count, size, tail)
    one.send(memoryview(b"".join(sent)), size, None, endpoint(other))
    assert segments_of(received(other)) == sent
    assert one.segmenting.refusals == 0


def test_without_offload_every_datagram_goes_alone(opened):
    one, other = opened(offload=False), opened(offload=False)
    sent = pattern(5, 300, tail=10)
    one.send(memoryview(b"".join(sent)), 300, None, endpoint(other))
    assert [run[0] for run in received(other)] == [[segment] for segment in sent]


def test_empty_datagrams_do_not_have_a_segment_size_of_0(opened):
    one, other = opened(), opened()
    one.send(memoryview(b""), 0, None, endpoint(other))
    run = other.receive(memoryview(bytearray(RECEIVE_CAPACITY)))
    assert (run.length, run.segment_size) == (0, 1)


def test_the_source_is_the_one_asked_for():
    sock, other = UdpSocket(4, 0), UdpSocket(4, 0)
    try:
        local = endpoint(sock, "127.0.0.7")
        sock.send(memoryview(b"x" * 30), 10, local, endpoint(other, "127.0.0.9"))
        ((_, _, seen_local, seen_remote),) = received(other)
        assert seen_remote == local
        assert seen_local == endpoint(other, "127.0.0.9")
    finally:
        sock.close()
        other.close()


def test_a_source_that_is_gone_raises_and_keeps_the_offload(opened, version):
    sock, other = opened(), opened()
    gone = Endpoint(ip_address({4: "192.0.2.77", 6: "2001:db8::77"}[version]), sock.port)
    with pytest.raises(OSError, match=r"Invalid argument|assign|unreachable"):
        sock.send(memoryview(b"x" * 30), 10, gone, endpoint(other))
    assert sock.segmenting.refusals == 0
    assert received(other) == []


class RefusingSocket:
    """A socket whose kernel refuses UDP_SEGMENT, and is full when it has taken `room` sends."""

    def __init__(self, sock, number, room=None):
        self.sock = sock
        self.number = number
        self.room = room
        self.calls = []

    def sendmsg(self, buffers, ancillary, flags, sockaddr):
        offloaded = any(kind == UDP_SEGMENT for _, kind, _ in ancillary)
        self.calls.append((offloaded, sum(map(len, buffers))))
        if offloaded:
            raise OSError(self.number, "refused")
        if self.room is not None:
            if not self.room:
                raise BlockingIOError(errno.EAGAIN, "full")
            self.room -= 1
        return self.sock.sendmsg(buffers, ancillary, flags, sockaddr)

    def __getattr__(self, name):
        return getattr(self.sock, name)


@pytest.mark.parametrize("number", [errno.EIO, errno.EINVAL, errno.EMSGSIZE, errno.EOPNOTSUPP])
def test_a_refused_run_is_sent_plainly_at_once(opened, number):
    one, other = opened(), opened()
    refusing = one._socket = RefusingSocket(one._socket, number)
    sent = pattern(5, 300, tail=10)
    data, remote = memoryview(b"".join(sent)), endpoint(other)
    one.send(data, 300, None, remote)
    assert segments_of(received(other)) == sent
    assert one.segmenting.refusals == 1
    assert refusing.calls == [(True, 1510), *[(False, 300)] * 5, (False, 10)]


def test_a_refusing_path_is_remembered_until_offload_is_tried_again(opened):
    one, other, third = opened(), opened(), opened()
    refusing = one._socket = RefusingSocket(one._socket, errno.EIO)
    data = memoryview(b"x" * 20)
    one.send(data, 10, None, endpoint(other))
    refusing.calls.clear()
    one.send(data, 10, None, endpoint(other))
    assert [offloaded for offloaded, _ in refusing.calls] == [False, False]
    one.send(data, 10, None, endpoint(third))
    assert one.segmenting.refusals == 2
    one.segmenting.retry()
    one.send(data, 10, None, endpoint(other))
    assert one.segmenting.refusals == 3


@settings(max_examples=50, deadline=None)
@given(
    count=st.integers(2, 150),
    tail=st.integers(0, 40),
    rooms=st.lists(st.integers(0, 60), max_size=8),
    number=st.sampled_from([errno.EIO, errno.EINVAL, errno.EMSGSIZE, errno.EOPNOTSUPP]),
)
def test_refused_and_full_in_any_order_loses_nothing_and_sends_nothing_twice(
    count, tail, rooms, number
):
    """`taken` is what tells the caller where to go on."""
    one, other = UdpSocket(4, 0), UdpSocket(4, 0, offload=False)
    try:
        sent = pattern(count, 50, tail)
        data, arrived = memoryview(b"".join(sent)), []
        for room in [*rooms, None]:
            one._socket = RefusingSocket(getattr(one._socket, "sock", one._socket), number, room)
            try:
                one.send(data, 50, None, endpoint(other))
            except BlockingIOError:
                assert room is not None
                assert one.taken == min(room * 50, len(data))
            data = data[one.taken :]
            arrived += segments_of(received(other))
            if not data:
                break
        assert arrived == sent
        assert one.segmenting.refusals <= 1
    finally:
        one.close()
        other.close()


def test_a_path_that_took_one_datagram_and_was_full_then_is_remembered(opened):
    one, other = opened(), opened()
    refusing = one._socket = RefusingSocket(one._socket, errno.EIO, room=1)
    with pytest.raises(BlockingIOError):
        one.send(memoryview(b"x" * 30), 10, None, endpoint(other))
    assert (one.taken, one.segmenting.refusals) == (10, 1)
    refusing.calls.clear()
    with pytest.raises(BlockingIOError):
        one.send(memoryview(b"x" * 20), 10, None, endpoint(other))
    assert refusing.calls == [(False, 10)]


def test_a_path_that_was_full_at_once_tells_nothing_about_the_offload(opened):
    one, other = opened(), opened()
    one._socket = RefusingSocket(one._socket, errno.EIO, room=0)
    with pytest.raises(BlockingIOError):
        one.send(memoryview(b"x" * 30), 10, None, endpoint(other))
    assert (one.taken, one.segmenting.refusals) == (0, 0)


def test_an_offload_that_is_on_is_tried_every_time(opened):
    one, other = opened(remember=False), opened()
    refusing = one._socket = RefusingSocket(one._socket, errno.EIO)
    for _ in range(3):
        one.send(memoryview(b"x" * 20), 10, None, endpoint(other))
    assert [offloaded for offloaded, _ in refusing.calls] == [True, False, False] * 3
    assert one.segmenting.refusals == 3


def test_a_kernel_that_knows_neither_option_is_asked_for_neither(opened, monkeypatch):
    monkeypatch.setattr(socket_options, "UDP_SEGMENT", 0xFFF)
    monkeypatch.setattr(socket_options, "UDP_GRO", 0xFFF)
    one, other = opened(), opened()
    assert not one.segmenting.usable
    assert not one.receiving.usable
    sent = pattern(5, 300, tail=10)
    one.send(memoryview(b"".join(sent)), 300, None, endpoint(other))
    assert segments_of(received(other)) == sent


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOBUFS, errno.ENOMEM, errno.EAGAIN])
def test_other_errors_are_raised_as_they_are(opened, number):
    one, other = opened(), opened()
    one._socket = RefusingSocket(one._socket, number)
    with pytest.raises(OSError, match="refused"):
        one.send(memoryview(b"x" * 20), 10, None, endpoint(other))
    assert one.segmenting.refusals == 0


def test_caches_are_bounded(opened, monkeypatch):
    monkeypatch.setattr(udp, "CACHE_SIZE", 4)
    one, other = opened(), opened()
    for size in range(1, 12):
        one.send(memoryview(b"x" * 40), size, endpoint(one), endpoint(other))
        received(other)
    other_end = [opened() for _ in range(6)]
    for sender in other_end:
        sender.send(memoryview(b"x"), 1, None, endpoint(other))
    assert len(received(other)) == 6
    assert len(one._ancillaries) <= 4
    assert len(one._sockaddrs) <= 4
    assert len(other._remotes) <= 4


def test_a_pair_has_one_port():
    ipv4, ipv6 = UdpSocket.open_pair(0)
    try:
        assert ipv4.port == ipv6.port != 0
        assert (ipv4.version, ipv6.version) == (4, 6)
    finally:
        ipv4.close()
        ipv6.close()


def test_a_random_port_is_tried_again_when_the_other_family_has_it(monkeypatch):
    opened = []
    original = UdpSocket._opened.__func__

    def once_taken(cls, version, port, mark, **options):
        opened.append(version)
        if opened == [4, 6]:
            raise SocketError("taken", "for the test")
        return original(cls, version, port, mark, **options)

    monkeypatch.setattr(UdpSocket, "_opened", classmethod(once_taken))
    ipv4, ipv6 = UdpSocket.open_pair(0)
    ipv4.close()
    ipv6.close()
    assert opened == [4, 6, 4, 6]
    assert ipv4.port == ipv6.port


def test_a_taken_port_says_so(opened):
    taken = opened()
    with pytest.raises(SocketError, match=f"UDP port {taken.port} .*ss -ulpn"):
        UdpSocket.open_pair(taken.port)


def test_a_missing_family_is_none(monkeypatch):
    real = socket.socket

    def without_ipv6(family, *rest):
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "no IPv6")
        return real(family, *rest)

    monkeypatch.setattr(udp.socket, "socket", without_ipv6)
    ipv4, ipv6 = UdpSocket.open_pair(0)
    ipv4.close()
    assert ipv6 is None


def discovery(opened, version):
    level, option = socket_options.DISCOVERY[version]
    return opened._socket.getsockopt(level, option)


def test_it_does_not_set_dont_fragment_and_heeds_icmp_only_where_it_must(opened, version):
    usual = {4: socket_options.PMTUDISC_OMIT, 6: socket_options.PMTUDISC_DONT}[version]
    assert discovery(opened(), version) == usual


def test_what_is_known_to_fit_is_sent_and_the_socket_is_as_before(opened, version):
    ours, theirs = opened(), opened()
    before = discovery(ours, version)
    data = memoryview(bytes(3000))
    ours.send_fitting(data, 1400, endpoint(ours), endpoint(theirs))
    assert [len(segment) for segment in segments_of(received(theirs, 1))] == [1400, 1400, 200]
    assert discovery(ours, version) == before


def test_a_whole_datagram_is_sent_and_the_socket_is_as_before(opened, version):
    ours, theirs = opened(), opened()
    before = discovery(ours, version)
    ours.send_whole(memoryview(b"x" * 1400), endpoint(ours), endpoint(theirs))
    assert segments_of(received(theirs, 1)) == [b"x" * 1400]
    assert discovery(ours, version) == before


@pytest.mark.network
def test_a_datagram_too_large_for_the_link_is_cut_by_send_and_refused_by_send_whole(network_of_two):
    """What goes whole is refused where the first link cannot carry it; usual ones are cut."""
    code = """
import errno, sys
from ipaddress import ip_address
from sacip_tun.linux.udp import UdpSocket
from sacip_tun.protocol.address import Endpoint
for version, there in ((4, "10.1.1.2"), (6, "fd01::2")):
    ours, remote = UdpSocket(version, 0), Endpoint(ip_address(there), 9)
    most = 1300 - (28 if version == 4 else 48)
    ours.send(memoryview(bytes(most + 1)), most + 1, None, remote)
    ours.send_whole(memoryview(bytes(most)), None, remote)
    try:
        ours.send_whole(memoryview(bytes(most + 1)), None, remote)
    except OSError as error:
        assert error.errno == errno.EMSGSIZE, error
    else:
        sys.exit("it was sent")
"""
    network_of_two.run([sys.executable, "-c", code])


@pytest.fixture
def network_of_two():
    with Network() as network:
        link = network.segment("link")
        host, other = network.host("here"), network.host("there")
        host.plug(link, "eth0", "10.1.1.1/24", "fd01::1/64")
        other.plug(link, "eth0", "10.1.1.2/24", "fd01::2/64")
        host.ip("link set eth0 mtu 1300")
        yield host


@pytest.mark.network
def test_the_mark_is_set_and_needs_a_privilege(opened):
    assert opened(mark=51820)._socket.getsockopt(socket.SOL_SOCKET, socket.SO_MARK) == 51820


@pytest.mark.network
def test_link_local_ends_have_their_interface(make_namespace):
    namespace = make_namespace()
    namespace.ip("link add eth0 type veth peer name far0")
    namespace.ip("link set eth0 addrgenmode none up")
    namespace.ip("link set far0 up")
    namespace.ip("addr add fe80::1/64 dev eth0 nodad")
    with namespace.entered():
        index = socket.if_nametoindex("eth0")
        one, other = UdpSocket(6, 0), UdpSocket(6, 0)
        try:
            to = Endpoint(ip_address("fe80::1"), other.port, index)
            one.send(memoryview(b"x"), 1, None, to)
            assert received(other) == [
                ([b"x"], 1, to, Endpoint(ip_address("fe80::1"), one.port, index))
            ]
        finally:
            one.close()
            other.close()


@pytest.mark.network
@pytest.mark.parametrize("version", [4, 6])
def test_a_route_with_a_small_mtu_still_carries_the_run(make_namespace, version):
    """Segments longer than the path's MTU cannot be offloaded: they go as fragments."""
    here, there = make_namespace(), make_namespace()
    here.ip(f"link add eth0 type veth peer name eth0 netns {there.name}")
    addresses = {4: ("10.0.0.1", "10.0.0.2", 24), 6: ("2001:db8::1", "2001:db8::2", 64)}
    one_host, other_host, length = addresses[version]
    for end, host in ((here, one_host), (there, other_host)):
        nodad = " nodad" if version == 6 else ""
        end.ip(f"addr add {host}/{length} dev eth0{nodad}")
        end.ip("link set eth0 up")
    here.ip("link set eth0 mtu 1280")
    with there.entered():
        other = UdpSocket(version, 0)
    with here.entered():
        one = UdpSocket(version, 0)
    try:
        to = endpoint(other, other_host)
        one.send(memoryview(b"x"), 1, None, to)
        assert segments_of(received(other, timeout=5)) == [b"x"]
        sent = pattern(3, 1452)
        one.send(memoryview(b"".join(sent)), 1452, None, to)
        assert one.segmenting.refusals == 1
        assert segments_of(received(other, timeout=5)) == sent
    finally:
        one.close()
        other.close()
