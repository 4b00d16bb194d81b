"""Inner MTUs from the smallest to the largest, over a link that carries them and over a usual one.

a eth0 192.168.1.22        b eth0 192.168.1.101
──────┴───────────────────────┴──────  192.168.1.0/24
"""

import json
import sys

import pytest
from ethernet import wait_until
from test_up import Attempt

from sacip_tun.lab.connection import Connection, survived
from sacip_tun.lab.namespaces import Network
from sacip_tun.lab.tunnel import LabTunnel, Remote

pytestmark = pytest.mark.network

OUTSIDE = "192.168.1.101"
INSIDE = {4: "10.9.0.1", 6: "fd09::1"}
# The tunnel's own headers: outer IPv6, UDP and WireGuard; the largest inner MTU follows from it.
OVERHEAD, LARGEST = 80, 65455

# UDP in both shapes: datagrams of every size up to the MTU, and runs that the kernel is asked to
# cut (UDP_SEGMENT). What arrives is told by its digest, in order; the last one says that it is.
RECEIVER = """
import hashlib, json, socket, sys
host, port = sys.argv[1], int(sys.argv[2])
sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
sock.settimeout(20)
sock.bind((host, port))
print("ready", flush=True)
count, digest = 0, hashlib.sha256()
while (data := sock.recv(1 << 16)) != b"end":
    count += 1
    digest.update(len(data).to_bytes(4, "big") + data)
print(json.dumps([count, digest.hexdigest()]), flush=True)
"""
SENDER = """
import hashlib, json, os, socket, struct, sys, time
host, port, mtu = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
inside6 = ":" in host
sock = socket.socket(socket.AF_INET6 if inside6 else socket.AF_INET, socket.SOCK_DGRAM)
room = mtu - (48 if inside6 else 28)
count, digest = 0, hashlib.sha256()
def count_in(data):
    global count
    count += 1
    digest.update(len(data).to_bytes(4, "big") + data)
for length in (1, 100, room // 2, room - 1, room) * 3:
    data = os.urandom(length)
    sock.sendto(data, (host, port))
    count_in(data)
    time.sleep(0.01)
size = min(room, 1200)
for _ in range(5):
    run = [os.urandom(size) for _ in range(30)] + [os.urandom(7)]
    segment = [(socket.SOL_UDP, 103, struct.pack("=H", size))]
    sock.sendmsg([b"".join(run)], segment, 0, (host, port))
    for data in run:
        count_in(data)
    time.sleep(0.02)
time.sleep(0.2)
sock.sendto(b"end", (host, port))
print(json.dumps([count, digest.hexdigest()]), flush=True)
"""


def tunnels(
    network: Network, *options: str, link: int | None = None
) -> tuple[LabTunnel, LabTunnel]:
    segment = network.segment("lan")
    made = []
    for number, (name, address) in enumerate((("a", "192.168.1.22"), ("b", OUTSIDE)), start=1):
        host = network.host(name)
        host.plug(segment, "eth0", f"{address}/24")
        if link is not None:
            segment.host.ip(f"link set port{number} mtu {link}")
            host.ip(f"link set eth0 mtu {link}")
        inner = 3 - number
        made.append(
            LabTunnel(host, f"10.9.0.{inner}/24", more=(f"fd09::{inner}/64",), options=options)
        )
    a, b = made
    b.up(Remote(a.keys.public, allowed=("10.9.0.2/32", "fd09::2/128")))
    a.up(Remote(b.keys.public, f"{OUTSIDE}:51820", ("10.9.0.1/32", "fd09::1/128")))
    a.reach("10.9.0.1")
    a.reach("fd09::1")
    return a, b


def tcp_arrives(a: LabTunnel, b: LabTunnel, version: int) -> None:
    bursts = ("--direction", "both", "--chunk", "150000", "--interval", "0.02", "--seconds", "0.6")
    connection = Connection(a.host, b.host, INSIDE[version], *bursts, port=5000 + version)
    results = connection.finish()
    assert survived(*results), results


def udp_arrives(a: LabTunnel, b: LabTunnel, version: int, mtu: int) -> None:
    words = [INSIDE[version], str(6000 + version)]
    receiver = b.host.start([sys.executable, "-c", RECEIVER, *words])
    while "ready" not in b.host.log(receiver):
        assert receiver.poll() is None, b.host.log(receiver)
    sent = a.host.run([sys.executable, "-c", SENDER, *words, str(mtu)]).stdout
    assert receiver.wait(30) == 0, b.host.log(receiver)
    assert json.loads(b.host.log(receiver).splitlines()[-1]) == json.loads(sent)


def assert_nothing_went_wrong(*ends: LabTunnel) -> None:
    for end in ends:
        status = end.status()
        assert status["faults"] == 0
        for name in ("the kernel refused the datagram", "inner packet malformed"):
            assert name not in status["drops"]


@pytest.mark.parametrize("offload", ["auto", "off"])
@pytest.mark.parametrize("mtu", [1280, 1420, 9000, LARGEST])
def test_every_byte_arrives(network, mtu, offload) -> None:
    options = ("--mtu", str(mtu), "--offload", offload)
    a, b = tunnels(network, *options, link=mtu + OVERHEAD)
    for version in INSIDE:
        tcp_arrives(a, b, version)
        udp_arrives(a, b, version, mtu)
    assert_nothing_went_wrong(a, b)
    for end in (a, b):
        switches = end.status()["offload"]
        assert switches.pop("mode") == offload
        states = {switch["state"] for switch in switches.values()}
        assert states == {"on" if offload == "auto" else "off"}


@pytest.mark.parametrize("mtu", [9000, LARGEST])
def test_an_mtu_that_the_link_does_not_carry_is_slower_and_loses_nothing(network, mtu) -> None:
    a, b = tunnels(network, "--mtu", str(mtu))
    for version in INSIDE:
        tcp_arrives(a, b, version)
    assert_nothing_went_wrong(a, b)


def test_an_mtu_that_no_datagram_can_carry_is_refused_with_the_largest_that_is() -> None:
    with Network() as network:
        attempt = Attempt(network)
        attempt.text = attempt.text.replace("[Peer]", "MTU = 65535\n[Peer]")
        done = attempt.up()
        assert done.returncode == 5
        assert f"576 to {LARGEST}" in done.stderr
        attempt.assert_nothing_is_left()


def test_what_no_datagram_can_carry_is_dropped_told_and_stops_nobody(network) -> None:
    """Somebody raised the interface's MTU by hand, to more than fits into a datagram sealed."""
    a, b = tunnels(network)
    a.host.ip(f"link set {a.name} mtu 65535")
    ping = ["ping", "-n", "-c", "1", "-W", "1", "-s", "65507", "10.9.0.1"]
    assert a.host.run(ping, check=False).returncode != 0
    # The new MTU is known, what passes is found, and the sender cuts its packets.
    wait_until(lambda: a.host.run(ping, check=False).returncode == 0, "nobody is told")
    assert a.status()["mtu"] == 65535
    assert 1 <= a.status()["drops"]["the kernel refused the datagram"] <= 3
    for version in INSIDE:
        udp_arrives(a, b, version, 1420)
    assert a.status()["faults"] == 0
