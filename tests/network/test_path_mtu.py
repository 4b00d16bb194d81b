"""The path becomes narrower and wider under live connections; nothing is lost but time.

mover                     router                     hub
10.9.0.2 ◄════════════════ tunnel ═════════════════► 10.9.0.1
eth0 192.168.1.22   .1 eth0   eth1 .1    192.168.2.101 eth0
     fd01::22     ::1               ::1         fd02::101
                          └─ eth1: 1500 → 1280 → 1400 bytes

With ICMP as the router sends it, and in a network that drops ICMP and fragments: there nobody is
told anything, and whatever is too large is gone.
"""

import sys
import time

import pytest
from capture import Capture
from ethernet import at, wait_until
from routed import OUTSIDE, Routed, routed

from sacip_tun.lab.connection import Connection, survived
from sacip_tun.lab.tunnel import LabTunnel, Remote

pytestmark = pytest.mark.network

# What goes through whole, and the bytes that the tunnel adds to an inner packet.
OVERHEAD = {4: 60, 6: 80}
# A narrower path is noticed within 1 s and measured within some round trips; TCP's own timer, which
# doubles meanwhile, may add as much. In ms; generous for a slow machine.
PROMPT = 5000.0


def tunnel(net: Routed, version: int) -> tuple[LabTunnel, LabTunnel]:
    mover = LabTunnel(net.mover, "10.9.0.2/24", more=("fd09::2/64",))
    hub = LabTunnel(net.hub, "10.9.0.1/24", more=("fd09::1/64",))
    hub.up(Remote(mover.keys.public, allowed=("10.9.0.2/32", "fd09::2/128")))
    allowed = ("10.9.0.1/32", "fd09::1/128")
    mover.up(Remote(hub.keys.public, at(OUTSIDE[version]), allowed))
    mover.reach(hub.inner)
    wait_until(lambda: mover.peer(hub.keys.public)["sacip"], "no HELLO")
    wait_until(lambda: hub.peer(mover.keys.public)["sacip"], "no HELLO_ACK")
    return mover, hub


def found(tunnel: LabTunnel, other: LabTunnel) -> int | None:
    path_mtu = tunnel.peer(other.keys.public)["path_mtu"]
    return path_mtu["bytes"] if path_mtu["state"] == "found" else None


def transfer(net: Routed, address: str, direction: str, seconds: float) -> Connection:
    options = ("--direction", direction, "--seconds", str(seconds))
    connection = Connection(net.mover, net.hub, address, *options)
    connection.wait_until_established()
    return connection


@pytest.mark.parametrize("direction", ["download", "upload"])
@pytest.mark.parametrize("hostile", [False, True], ids=["with ICMP", "without ICMP and fragments"])
@pytest.mark.parametrize("version", [4, 6])
def test_a_transfer_goes_on_across_1500_1280_1400(network, version, hostile, direction) -> None:
    net = routed(network)
    if hostile:
        net.be_hostile()
    mover, hub = tunnel(net, version)
    sender, receiver = (mover, hub) if direction == "upload" else (hub, mover)
    connection = transfer(net, hub.inner, direction, 16.0)
    full = 1420 + OVERHEAD[version]
    wait_until(lambda: found(sender, receiver) == full, "the full size was not found")
    net.narrow(1280)
    wait_until(lambda: found(sender, receiver) == 1280, "the narrow path was not noticed")
    net.narrow(1400)
    wait_until(lambda: found(sender, receiver) == 1400, "the wider path was not noticed", 15.0)
    ends = connection.finish()
    assert survived(*ends), ends
    assert max(end["longest_silence_ms"] for end in ends) < PROMPT, ends
    changes = [(event["old"], event["new"]) for event in sender.events("path-mtu")]
    assert changes == [(full, 1280), (1280, 1400)]


@pytest.mark.parametrize("hostile", [False, True], ids=["with ICMP", "without ICMP and fragments"])
@pytest.mark.parametrize("version", [4, 6])
def test_a_move_to_a_narrow_network_loses_nothing(network, version, hostile) -> None:
    """What is larger than the new path carries is never sent there: TCP is cut before it is known.

    The mover's new address is the narrow one; the hub sends.
    """
    net = routed(network)
    if hostile:
        net.be_hostile()
    mover, hub = tunnel(net, version)
    connection = transfer(net, hub.inner, "download", 6.0)
    time.sleep(1.0)
    old, new = {
        4: ("192.168.1.22/24", "192.168.1.2/24"),
        6: ("fd01::22/64", "fd01::2/64"),
    }[version]
    net.mover.ip(f"addr add {new} dev eth0")
    time.sleep(0.3)
    net.narrow(1280)
    net.mover.ip(f"addr del {old} dev eth0")
    if version == 4:
        net.mover.ip("route replace default via 192.168.1.1")
    ends = connection.finish()
    assert survived(*ends), ends
    assert max(end["longest_silence_ms"] for end in ends) < PROMPT, ends
    assert found(hub, mover) == 1280


SENDER = """
import errno, socket, sys, time
address, size = sys.argv[1], int(sys.argv[2])
version = 6 if ":" in address else 4
out = socket.socket(socket.AF_INET6 if version == 6 else socket.AF_INET, socket.SOCK_DGRAM)
level, option, mtu = (41, 23, 24) if version == 6 else (0, 10, 14)
out.setsockopt(level, option, 2)  # IP_PMTUDISC_DO: DF, and EMSGSIZE once the path is known
out.connect((address, 9))
deadline = time.monotonic() + 20
while time.monotonic() < deadline:
    try:
        out.send(bytes(size))
    except OSError as error:
        if error.errno == errno.EMSGSIZE:
            print(out.getsockopt(level, mtu))
            sys.exit()
    time.sleep(0.1)
sys.exit("never told")
"""


@pytest.mark.parametrize(
    ("address", "told"), [("10.9.0.1", 1320 - OVERHEAD[4]), ("fd09::1", 1280)], ids=["IPv4", "IPv6"]
)
def test_an_inner_sender_of_udp_is_told(network, address: str, told: int) -> None:
    net = routed(network)
    tunnel(net, 4)
    net.narrow(1340)
    said = net.mover.run([sys.executable, "-c", SENDER, address, "1340"]).stdout
    assert int(said) == told


def test_udp_without_df_arrives_where_fragments_do_not(network) -> None:
    """It is fragmented inside the tunnel, where nobody sees it."""
    net = routed(network)
    net.be_hostile()
    mover, hub = tunnel(net, 4)
    net.narrow(1280)
    code = (
        "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM);"
        "s.bind(('10.9.0.1', 9)); s.settimeout(20); print('ready', flush=True);"
        "print(next(n for n in iter(lambda: len(s.recv(2000)), None) if n == 1392), flush=True)"
    )
    listener = net.hub.start([sys.executable, "-c", code])
    wait_until(lambda: "ready" in net.hub.log(listener), "nobody listens")
    send = (
        "import socket, time; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM);"
        "s.setsockopt(0, 10, 0);"  # IP_PMTUDISC_DONT
        "[(s.sendto(bytes(1392), ('10.9.0.1', 9)), time.sleep(0.1)) for _ in range(50)]"
    )
    net.mover.run([sys.executable, "-c", send])
    assert listener.wait(20) == 0
    assert net.hub.log(listener).split() == ["ready", "1392"]
    assert found(mover, hub) == 1280


def test_nothing_goes_out_that_is_known_to_be_too_large(network) -> None:
    net = routed(network)
    mover, hub = tunnel(net, 4)
    net.narrow(1340)
    # As on a real link: without offload the capture sees every datagram by itself.
    net.mover.ip("link set eth0 gso_max_segs 1")
    connection = transfer(net, hub.inner, "upload", 6.0)
    wait_until(lambda: found(mover, hub) == 1320, "the narrow path was not noticed")
    capture = Capture(net.router)
    time.sleep(1.0)
    packets = capture.stop()
    assert survived(*connection.finish())
    sizes = {len(packet.payload) + 28 for packet in packets if packet.source == "192.168.1.22"}
    assert max(sizes) == 1320


@pytest.mark.parametrize("version", [4, 6])
def test_what_fits_a_wider_path_is_not_cut_by_what_the_kernel_learnt(network, version) -> None:
    """Linux believes a path MTU for ten minutes, for all paths to one destination."""
    net = routed(network)
    mover, hub = tunnel(net, version)
    net.mover.ip("link set eth0 gso_max_segs 1")
    connection = transfer(net, hub.inner, "upload", 18.0)
    net.narrow(1280)
    wait_until(lambda: found(mover, hub) == 1280, "the narrow path was not noticed")
    learnt = net.mover.ip(f"route get {OUTSIDE[version]}")
    assert "mtu 1280" in learnt
    net.narrow(1400)
    wait_until(lambda: found(mover, hub) == 1400, "the wider path was not noticed", 15.0)
    capture = Capture(net.router)
    time.sleep(1.0)
    packets = capture.stop()
    assert survived(*connection.finish())
    around = OVERHEAD[version] - 32
    sent = [packet for packet in packets if packet.source in {"192.168.1.22", "fd01::22"}]
    assert max(len(packet.payload) + around for packet in sent) == 1400
    assert {packet.protocol for packet in sent} <= {17, 58}
