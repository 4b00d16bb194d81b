"""Leaving by the interface that the address belongs to, against the metrics of the routes."""

import select
import socket
from ipaddress import ip_address
from pathlib import Path

import pytest

from sacip_tun.linux.udp import RECEIVE_CAPACITY, UdpSocket
from sacip_tun.protocol.address import Endpoint

pytestmark = pytest.mark.network

REMOTES = {4: "203.0.113.9", 6: "2001:db8:99::1"}


def host(version, interface, end):
    text = f"10.0.{interface}.{end}" if version == 4 else f"2001:db8:{interface}::{end}"
    return ip_address(text)


@pytest.fixture
def two_providers(make_namespace):
    """eth0 and eth1 lead to the same router; the default routes prefer eth0."""
    here, router = make_namespace(), make_namespace()
    for number in (0, 1):
        here.ip(f"link add eth{number} type veth peer name eth{number} netns {router.name}")
        for namespace, end in ((here, 2), (router, 1)):
            device = f"dev eth{number}"
            namespace.ip(f"addr add {host(4, number, end)}/24 {device}")
            namespace.ip(f"addr add {host(6, number, end)}/64 {device} nodad")
            namespace.ip(f"link set eth{number} up")
    for number in (0, 1):
        metric = f"metric {100 + number}"
        here.ip(f"route add default via {host(4, number, 1)} {metric}")
        here.ip(f"-6 route add default via {host(6, number, 1)} {metric}")
    router.ip(f"addr add {REMOTES[4]}/32 dev lo")
    router.ip(f"addr add {REMOTES[6]}/128 dev lo nodad")
    router.sysctl("net.ipv4.conf.all.rp_filter=0")
    for number in (0, 1):
        router.sysctl(f"net.ipv4.conf.eth{number}.rp_filter=0")
    return here, router


@pytest.fixture(params=[4, 6])
def ends(two_providers, request):
    here, router = two_providers
    with router.entered():
        remote = UdpSocket(request.param, 0)
    with here.entered():
        local = UdpSocket(request.param, 0)
        yield local, remote, Endpoint(ip_address(REMOTES[request.param]), remote.port)
    local.close()
    remote.close()


def transmitted():
    """Bytes sent by interface; /proc/net follows the thread's namespace, /sys does not."""
    lines = Path("/proc/thread-self/net/dev").read_text().splitlines()[2:]
    fields = (line.replace(":", " ").split() for line in lines)
    return {field[0]: int(field[9]) for field in fields}


def received(sock, buffer):
    """One run; the neighbour's hardware address may have to be found first."""
    select.select([sock], [], [], 5)
    return sock.receive(buffer)


def source(sock, number, *, steered):
    interface = socket.if_nametoindex(f"eth{number}") if steered else 0
    return Endpoint(host(sock.version, number, 2), sock.port, interface)


@pytest.mark.parametrize("number", [0, 1])
def test_a_steered_run_leaves_by_its_interface(ends, number):
    local, remote, to = ends
    before = transmitted()
    local.send(memoryview(b"x" * 28000), 1400, source(local, number, steered=True), to)
    run = received(remote, memoryview(bytearray(RECEIVE_CAPACITY)))
    after = transmitted()
    by = [name for name in ("eth0", "eth1") if after[name] - before[name] > 20000]
    assert by == [f"eth{number}"]
    assert run.remote.host == host(local.version, number, 2)
    assert run.remote.port == local.port


def test_the_main_socket_goes_on_receiving_on_a_steered_interface(ends):
    local, remote, to = ends
    local.send(memoryview(b"out"), 3, source(local, 1, steered=True), to)
    buffer = memoryview(bytearray(RECEIVE_CAPACITY))
    back = received(remote, buffer).remote
    remote.send(memoryview(b"back"), 4, to, back)
    run = received(local, buffer)
    assert bytes(buffer[: run.length]) == b"back"
    assert run.local == back


def test_nobody_else_can_share_the_port_after_steering(ends):
    local, _, to = ends
    local.send(memoryview(b"out"), 3, source(local, 1, steered=True), to)
    family = socket.AF_INET if local.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as thief:
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        with pytest.raises(OSError, match="in use"):
            thief.bind(("", local.port))


def test_an_interface_that_is_gone_raises(ends, two_providers):
    local, _, to = ends
    steered = source(local, 1, steered=True)
    local.send(memoryview(b"out"), 3, steered, to)
    two_providers[0].ip("link del eth1")
    with pytest.raises(OSError, match=r"No such device|unreachable"):
        local.send(memoryview(b"out"), 3, steered, to)
