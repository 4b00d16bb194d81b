"""What goes beside datagrams: through the kernel's loopback, and held against plain sockets."""

import errno
import select
import socket
from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from sacip_tun.linux import ancillary
from sacip_tun.linux.udp import RECEIVE_CAPACITY, Received, UdpSocket
from sacip_tun.protocol.address import Endpoint

LOOPBACK = {4: "127.0.0.1", 6: "::1"}
DATA = memoryview(bytes(307))
CLASSES = [0, 1, 2, 3, 0x04, 0xB8, 0xBA, 0xFF]


@pytest.fixture(params=[4, 6])
def version(request) -> int:
    return request.param


@pytest.fixture(params=[True, False], ids=["offload", "plain"])
def pair(request, version) -> Iterator[tuple[UdpSocket, UdpSocket]]:
    one, other = (UdpSocket(version, 0, offload=request.param) for _ in range(2))
    yield one, other
    one.close()
    other.close()


def here(sock: UdpSocket) -> Endpoint:
    return Endpoint(ip_address(LOOPBACK[sock.version]), sock.port)


def received(sock: UdpSocket) -> list[Received]:
    select.select([sock], [], [], 1)
    buffer, runs = memoryview(bytearray(RECEIVE_CAPACITY)), []
    while (run := sock.receive(buffer)) is not None:
        runs.append(run)
    return runs


@pytest.mark.parametrize("traffic_class", CLASSES)
@pytest.mark.parametrize("size", [100, 307])
def test_ecn_bits_go_and_come_with_every_datagram(pair, traffic_class, size) -> None:
    one, other = pair
    one.send(DATA, size, here(one), here(other), traffic_class)
    runs = received(other)
    assert sum(run.length for run in runs) == 307
    assert {(run.ecn, run.local, run.remote) for run in runs} == {
        (traffic_class & 3, here(other), here(one))
    }


def test_a_class_holds_for_one_send_alone(pair) -> None:
    one, other = pair
    for traffic_class in (3, 0, 2):
        one.send(DATA, 307, None, here(other), traffic_class)
    assert [run.ecn for run in received(other)] == [3, 0, 2]


@pytest.mark.parametrize("traffic_class", CLASSES)
def test_the_kernel_writes_the_whole_byte(version, traffic_class) -> None:
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    sock = UdpSocket(version, 0)
    with socket.socket(family, socket.SOCK_DGRAM) as plain:
        plain.bind((LOOPBACK[version], 0))
        plain.setsockopt(*ancillary.RECEIVE_TRAFFIC_CLASS[version], 1)
        there = Endpoint(ip_address(LOOPBACK[version]), plain.getsockname()[1])
        sock.send_fitting(DATA, 307, None, there, traffic_class)
        _, [(level, kind, value)], _, _ = plain.recvmsg(400, 64)
    sock.close()
    assert (level, kind) == ancillary.TRAFFIC_CLASS[version]
    assert value[0] == traffic_class


def test_all_that_one_receive_brings_has_room(version) -> None:
    pktinfo = {4: 12, 6: 20}[version]
    brings = sum(map(socket.CMSG_SPACE, (pktinfo, 4, 4)))
    assert brings <= ancillary.CAPACITY


def test_a_plain_datagram_has_nothing_beside_it(version) -> None:
    assert ancillary.outgoing(version, None, 0, 0) == []


def test_a_source_of_the_other_family_is_none_of_ours(version) -> None:
    other = Endpoint(ip_address(LOOPBACK[10 - version]), 1)
    with pytest.raises(OSError, match="is no IPv") as caught:
        ancillary.outgoing(version, other, 0, 0)
    assert caught.value.errno == errno.EINVAL
