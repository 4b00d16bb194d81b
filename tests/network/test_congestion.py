"""A router on the outer path says "congested": inner connections hear it, and nothing is lost.

mover                     router                     hub
10.9.0.2 ◄════════════════ tunnel ═════════════════► 10.9.0.1
                          marks CE

And the DSCP of outer packets, as the router sees it.
"""

import pytest
from capture import Capture, Packet
from ethernet import at, wait_until
from live import counters
from plain_tunnel import PlainTunnel
from routed import OUTSIDE, Routed, routed
from written import WrittenTunnel

from sacip_tun.lab.connection import Connection, survived
from sacip_tun.lab.tunnel import LabTunnel, Remote
from sacip_tun.protocol.errors import Drop

pytestmark = pytest.mark.network

INSIDE = {4: "10.9.0.1", 6: "fd09::1"}
FROM_MOVER, FROM_HUB = {"192.168.1.22", "fd01::22"}, set(OUTSIDE.values())
# In Mbit/s: a packet every 3 ms.
RATE = "4"
EF, CS1 = 0xB8, 0x20
# A size of ping's that nothing else has, and what it is on the wire: 28 bytes of headers, 32 of
# WireGuard's, and padding to 16.
PING, PINGED = 500, 528 + 32

# What a queue does that is congested: one of four packets that say that they can bear it.
CONGESTED = """
table inet marking {
    chain on_the_way {
        type filter hook forward priority 0;
        ip ecn { ect0, ect1 } numgen inc mod 4 == 0 ip ecn set ce
        ip6 ecn { ect0, ect1 } numgen inc mod 4 == 0 ip6 ecn set ce
    }
}
"""
# A router that is broken: it marks whatever passes.
BROKEN = """
table inet marking {
    chain on_the_way {
        type filter hook forward priority 0;
        ip ecn set ce
        ip6 ecn set ce
    }
}
"""


def with_ecn(net: Routed) -> Routed:
    """Let both hosts ask for ECN in every connection."""
    for host in (net.mover, net.hub):
        host.write_sysctl("ipv4/tcp_ecn", 1)
    return net


def tunnel(net: Routed, version: int) -> tuple[LabTunnel, LabTunnel]:
    mover = LabTunnel(net.mover, "10.9.0.2/24", more=("fd09::2/64",))
    hub = LabTunnel(net.hub, "10.9.0.1/24", more=("fd09::1/64",))
    hub.up(Remote(mover.keys.public, allowed=("10.9.0.2/32", "fd09::2/128")))
    allowed = ("10.9.0.1/32", "fd09::1/128")
    mover.up(Remote(hub.keys.public, at(OUTSIDE[version]), allowed))
    mover.reach(hub.inner)
    return mover, hub


def transfer(net: Routed, address: str, direction: str) -> Connection:
    options = ("--direction", direction, "--seconds", "4", "--rate", RATE)
    connection = Connection(net.mover, net.hub, address, *options)
    connection.wait_until_established()
    return connection


def marks_heard(net: Routed) -> int:
    """Segments of which the inner senders were told that they met congestion (ECE)."""
    return sum(counters(host)["TCPDeliveredCE"] for host in (net.mover, net.hub))


def data(packets: list[Packet], sources: set[str]) -> list[Packet]:
    return [
        packet for packet in packets if packet.source in sources and packet.payload[:1] == b"\4"
    ]


@pytest.mark.parametrize("direction", ["upload", "download"])
@pytest.mark.parametrize(("outer", "inner"), [(4, 4), (6, 6), (4, 6)])
def test_inner_connections_hear_of_congestion_outside(network, outer, inner, direction) -> None:
    net = with_ecn(routed(network))
    mover, hub = tunnel(net, outer)
    capture = Capture(net.router)
    connection = transfer(net, INSIDE[inner], direction)
    packets = capture.stop()
    assert marks_heard(net) == 0
    net.router.run(["nft", CONGESTED])
    wait_until(lambda: marks_heard(net) > 20, "no mark came through")
    ends = connection.finish()
    assert survived(*ends), ends
    assert not any(counters(host)["TCPTimeouts"] for host in (net.mover, net.hub))
    for end in (mover, hub):
        assert Drop.UNMARKABLE.value not in end.status()["drops"]
        assert end.status()["strange_marks"] == 0
    sources = FROM_MOVER if direction == "upload" else FROM_HUB
    # The first packets of a connection, and SACIP's frames, are not ECN-capable.
    assert {packet.traffic_class for packet in data(packets, sources)} <= {0, 2}


def test_the_outer_packets_of_an_ecn_connection_say_so(network) -> None:
    net = with_ecn(routed(network))
    capture = Capture(net.router)
    tunnel(net, 4)
    connection = transfer(net, INSIDE[4], "upload")
    assert survived(*connection.finish())
    packets = capture.stop()
    sent = data(packets, FROM_MOVER)
    large = [packet for packet in sent if len(packet.payload) > 1000]
    assert large
    assert {packet.traffic_class for packet in large} <= {0, 2}  # path MTU probes: 0
    assert sum(packet.traffic_class == 2 for packet in large) > len(large) * 0.9
    handshakes = [packet for packet in packets if packet.payload[:1] in {b"\1", b"\2"}]
    assert len(handshakes) >= 2
    assert not any(packet.traffic_class for packet in handshakes)


@pytest.mark.parametrize("version", [4, 6])
def test_a_mark_that_cannot_be_carried_on_is_a_drop(network, version) -> None:
    """RFC 6040 4.2; and what the two daemons say to each other is not affected."""
    net = routed(network)
    mover, hub = tunnel(net, version)
    net.router.run(["nft", BROKEN])
    said = net.mover.run(["ping", "-c", "3", "-i", "0.1", "-W", "1", hub.inner], check=False)
    assert "100% packet loss" in said.stdout
    status = hub.status()
    assert status["drops"][Drop.UNMARKABLE.value] == 3
    assert status["strange_marks"] == 3
    assert mover.peer(hub.keys.public)["state"] == "connected"
    net.router.run(["nft", "delete table inet marking"])
    mover.reach(hub.inner)


@pytest.mark.parametrize("version", [4, 6])
def test_the_dscp_of_data_is_the_chosen_one_or_the_inner_one(network, version) -> None:
    """The hub's answers have inside what came inside: the outer DSCP was never written there."""
    net = routed(network)
    mover = WrittenTunnel(net.mover, "10.9.0.2/24", interface=("Dscp = EF",))
    hub = WrittenTunnel(net.hub, "10.9.0.1/24", interface=("Dscp = inherit",))
    capture = Capture(net.router)
    hub.up(Remote(mover.keys.public, allowed=("10.9.0.2/32",)))
    mover.up(Remote(hub.keys.public, at(OUTSIDE[version]), ("10.9.0.1/32",)))
    mover.reach(hub.inner)
    net.mover.run(["ping", "-c", "3", "-i", "0.1", "-s", str(PING), "-Q", str(CS1), hub.inner])
    packets = [packet for packet in capture.stop() if packet.source_port == 51820]
    pings = [packet for packet in packets if len(packet.payload) == PINGED]
    assert [p.traffic_class for p in pings if p.source in FROM_MOVER] == [EF] * 3
    assert [p.traffic_class for p in pings if p.source in FROM_HUB] == [CS1] * 3
    handshakes = [packet for packet in packets if packet.payload[:1] in {b"\1", b"\2"}]
    assert [packet.traffic_class for packet in handshakes] == [0] * len(handshakes) != []


@pytest.mark.parametrize("direction", ["upload", "download"])
def test_a_peer_that_knows_no_ecn_is_not_disturbed(network, direction) -> None:
    """wireguard-go leaves both headers alone: its outer packets are not ECN-capable."""
    net = with_ecn(routed(network))
    net.router.run(["nft", CONGESTED])
    mover = LabTunnel(net.mover, "10.9.0.2/24")
    hub = PlainTunnel(net.hub, "10.9.0.1/24")
    mover.up(Remote(hub.keys.public, at(OUTSIDE[4]), ("10.9.0.1/32",)))
    hub.up(Remote(mover.keys.public, None, ("10.9.0.2/32",)))
    mover.reach(hub.inner)
    connection = transfer(net, hub.inner, direction)
    ends = connection.finish()
    assert survived(*ends), ends
    assert marks_heard(net) == 0
    assert Drop.UNMARKABLE.value not in mover.status()["drops"]
