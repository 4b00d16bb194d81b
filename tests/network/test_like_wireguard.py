"""What WireGuard's users rely on, with wireguard-go at the other end.

ours (sacip-wg)            theirs, other (wireguard-go)
10.9.0.1                   10.9.0.2, 10.9.0.3
eth0 192.168.1.1 and .2    eth0 192.168.1.10, 192.168.1.11
─────┴────────────────────────┴──────────── one Ethernet segment
"""

import os
import time

import pytest
from ethernet import at, wait_until
from plain_tunnel import SACIP_WG, WIREGUARD_GO, PlainTunnel

from sacip_tun.lab.namespaces import Network
from sacip_tun.lab.tunnel import Keys, Remote
from sacip_tun.protocol.keys import to_base64

pytestmark = pytest.mark.network

OURS, OURS_TOO = "192.168.1.1", "192.168.1.2"
THEIRS, OTHER = "192.168.1.10", "192.168.1.11"
# Sizes of a handshake's messages and of a ping's 84 bytes, padded and sealed (WireGuard 5.4).
INITIATION, RESPONSE, PING, KEEPALIVE = 148, 92, 128, 32


class Bench:
    def __init__(self, network: Network) -> None:
        self.network = network
        lan = network.segment("lan")
        hosts = [network.host(name) for name in ("ours", "theirs", "other")]
        hosts[0].plug(lan, "eth0", f"{OURS}/24", f"{OURS_TOO}/24", "fd00::1/64")
        hosts[1].plug(lan, "eth0", f"{THEIRS}/24", "fd00::10/64")
        hosts[2].plug(lan, "eth0", f"{OTHER}/24")
        self.ours = PlainTunnel(hosts[0], "10.9.0.1/24", SACIP_WG)
        self.theirs = PlainTunnel(hosts[1], "10.9.0.2/24", WIREGUARD_GO)
        self.other = PlainTunnel(hosts[2], "10.9.0.3/24", WIREGUARD_GO)

    def up(self, *, ours_at: str | None = OURS, theirs_at: str | None = None, psk=None) -> None:
        """Both know each other; who has the other's endpoint calls."""
        self.theirs.up(self.as_remote(self.ours, ours_at and at(ours_at), psk))
        self.ours.up(self.as_remote(self.theirs, theirs_at and at(theirs_at), psk))

    @staticmethod
    def as_remote(tunnel: PlainTunnel, endpoint: str | None, psk=None, keepalive=None) -> Remote:
        return Remote(tunnel.keys.public, endpoint, (f"{tunnel.inner}/32",), psk, keepalive)

    def transfer(self, tunnel: PlainTunnel, peer: PlainTunnel) -> tuple[int, int]:
        received, sent = tunnel.show("transfer", peer.keys.public).split()
        return int(received), int(sent)


@pytest.fixture
def bench(network):
    return Bench(network)


def ping(tunnel: PlainTunnel, inner: str, count: int = 1, wait: int = 4) -> str:
    options = ["-n", "-c", str(count), "-i", "0.01", "-W", str(wait)]
    return tunnel.host.run(["ping", *options, inner], check=False).stdout


def answers(tunnel: PlainTunnel, inner: str, **options) -> bool:
    return "1 received" in ping(tunnel, inner, **options)


def test_ten_pings_count_as_many_bytes_as_in_wireguard(bench):
    bench.up(ours_at=None, theirs_at=THEIRS)
    assert "10 received" in ping(bench.ours, "10.9.0.2", count=10)
    received, sent = bench.transfer(bench.ours, bench.theirs)
    assert sent in {INITIATION + 10 * PING, INITIATION + 10 * PING + KEEPALIVE}
    assert received == RESPONSE + 10 * PING
    assert bench.transfer(bench.theirs, bench.ours) == (sent, received)


def test_the_bytes_of_an_initiation_are_received_ones(bench):
    bench.up()
    assert "10 received" in ping(bench.theirs, "10.9.0.1", count=10)
    received, sent = bench.transfer(bench.ours, bench.theirs)
    assert received in {INITIATION + 10 * PING, INITIATION + 10 * PING + KEEPALIVE}
    assert sent == RESPONSE + 10 * PING
    assert bench.ours.handshake(bench.theirs.keys.public) > time.time() - 60


def test_it_answers_from_the_address_that_was_contacted(bench):
    bench.up(ours_at=OURS_TOO)
    assert answers(bench.theirs, "10.9.0.1")
    assert answers(bench.theirs, "10.9.0.1")
    assert bench.theirs.endpoint(bench.ours.keys.public) == at(OURS_TOO)


def test_a_source_that_is_gone_is_not_stuck_to(bench):
    bench.up(ours_at=OURS_TOO)
    assert answers(bench.theirs, "10.9.0.1")
    bench.ours.host.ip(f"addr del {OURS_TOO}/24 dev eth0")
    assert answers(bench.ours, "10.9.0.2")
    assert bench.theirs.endpoint(bench.ours.keys.public) == at(OURS)


def test_a_keepalive_is_sent_from_the_moment_it_is_set(bench):
    bench.up(ours_at=None, theirs_at=THEIRS)
    assert bench.transfer(bench.ours, bench.theirs) == (0, 0)
    public = bench.theirs.keys.public
    bench.ours.set("peer", public, "persistent-keepalive", "1")
    wait_until(lambda: bench.ours.handshake(public), "nothing was sent", 3)
    _, before = bench.transfer(bench.ours, bench.theirs)
    wait_until(lambda: bench.transfer(bench.ours, bench.theirs)[1] > before, "only one came", 3)
    bench.ours.set("peer", public, "persistent-keepalive", "off")
    _, before = bench.transfer(bench.ours, bench.theirs)
    time.sleep(1.5)
    assert bench.transfer(bench.ours, bench.theirs)[1] == before


def test_endpoint_port_and_key_change_while_it_runs(bench):
    bench.up(theirs_at=THEIRS)
    ours, theirs = bench.ours, bench.theirs
    assert answers(ours, "10.9.0.2")
    # Another address of theirs, and another family.
    theirs.host.ip("addr add 192.168.1.77/24 dev eth0")
    for place in ("192.168.1.77", "fd00::10"):
        ours.set("peer", theirs.keys.public, "endpoint", at(place))
        assert answers(ours, "10.9.0.2")
        assert ours.endpoint(theirs.keys.public) == at(place)
    # Another port of ours: they follow without being told.
    ours.set("listen-port", "5555")
    wait_until(lambda: theirs.endpoint(ours.keys.public).endswith(":5555"), "they do not follow", 3)
    assert answers(theirs, "10.9.0.1")
    # Another key of ours: sessions end, and the next handshake need not wait.
    ours.keys = Keys.new()
    theirs.set_peer(bench.as_remote(ours, at(OURS, 5555)))
    ours.set("private-key", str(ours.secret_file("private", ours.keys.private)))
    assert answers(ours, "10.9.0.2", wait=2)
    assert theirs.handshake(ours.keys.public)


def test_a_preshared_key_reaches_the_next_handshake(bench):
    psk = to_base64(os.urandom(32))
    bench.up()
    assert answers(bench.theirs, "10.9.0.1")
    secret = str(bench.ours.secret_file("psk", psk))
    for tunnel, other in ((bench.ours, bench.theirs), (bench.theirs, bench.ours)):
        tunnel.set("peer", other.keys.public, "preshared-key", secret)
    assert answers(bench.theirs, "10.9.0.1")  # the session that there is goes on
    # A peer that is new to wireguard-go begins a session of its own.
    before = bench.ours.handshake(bench.theirs.keys.public)
    wait_until(lambda: time.time() >= before + 1, "time stands still")
    bench.theirs.set("peer", bench.ours.keys.public, "remove")
    bench.theirs.set_peer(bench.as_remote(bench.ours, at(OURS), psk))
    assert answers(bench.theirs, "10.9.0.1")
    assert bench.ours.handshake(bench.theirs.keys.public) > before


def test_plain_peers_are_followed_by_data_by_keepalives_and_by_handshakes(bench):
    bench.up()
    ours, theirs = bench.ours, bench.theirs
    assert answers(theirs, "10.9.0.1")
    theirs.set("listen-port", "6001")
    assert answers(theirs, "10.9.0.1")
    assert ours.endpoint(theirs.keys.public) == at(THEIRS, 6001)
    theirs.set("listen-port", "6002")
    theirs.set("peer", ours.keys.public, "persistent-keepalive", "1")
    wait_until(lambda: ours.endpoint(theirs.keys.public) == at(THEIRS, 6002), "not by keepalive")
    theirs.set("peer", ours.keys.public, "remove")
    theirs.set("listen-port", "6003")
    theirs.set_peer(bench.as_remote(ours, at(OURS), keepalive=25))
    wait_until(lambda: ours.endpoint(theirs.keys.public) == at(THEIRS, 6003), "not by handshake")


def test_an_allowed_ip_moves_between_peers_while_packets_flow(bench):
    bench.up(theirs_at=THEIRS)
    ours, theirs, other = bench.ours, bench.theirs, bench.other
    other.up(bench.as_remote(ours, at(OURS)))
    ours.set_peer(bench.as_remote(other, at(OTHER)))
    for tunnel in (theirs, other):
        tunnel.host.ip(f"addr add 10.9.0.77/32 dev {tunnel.name}")
    for now, before in ((theirs, other), (other, theirs)):
        networks = f"{now.inner}/32,10.9.0.77/32"
        ours.set("peer", now.keys.public, "allowed-ips", networks)
        idle = bench.transfer(before, ours)
        assert "5 received" in ping(ours, "10.9.0.77", count=5)
        assert bench.transfer(before, ours) == idle
        assert bench.transfer(now, ours)[0] >= 5 * PING
    assert ours.show("allowed-ips", theirs.keys.public) == "10.9.0.2/32"


def test_a_peer_of_low_order_is_never_answered_or_called(bench):
    bench.up(theirs_at=THEIRS)
    public = to_base64(bytes(32))
    bench.ours.set(
        "peer", public, "endpoint", at(OTHER), "allowed-ips", "10.8.0.0/16",
        "persistent-keepalive", "1",
    )  # fmt: skip
    bench.ours.host.ip(f"route add 10.8.0.0/16 dev {bench.ours.name}")
    assert not answers(bench.ours, "10.8.0.1", wait=2)
    assert bench.ours.show("transfer", public).split() == ["0", "0"]
    assert answers(bench.ours, "10.9.0.2")


def test_the_mark_is_on_what_is_sent_as_soon_as_it_is_set(bench):
    bench.up(theirs_at=THEIRS)
    ours, host = bench.ours, bench.ours.host
    assert answers(ours, "10.9.0.2")
    for table in ("ip", "ip6"):
        host.run(["nft", f"add table {table} marks"])
        chain = "{ type filter hook output priority 0 ; }"
        host.run(["nft", f"add chain {table} marks out {chain}"])
        host.run(["nft", f"add rule {table} marks out udp dport 51820 meta mark != 7 drop"])
    assert not answers(ours, "10.9.0.2", wait=1)
    ours.set("fwmark", "7")
    assert answers(ours, "10.9.0.2")
    # After another port, and in the other family, it is there still.
    ours.set("listen-port", "5555", "peer", bench.theirs.keys.public, "endpoint", at("fd00::10"))
    assert answers(ours, "10.9.0.2")


def test_the_inner_sender_is_told_when_nobody_is_there(bench):
    bench.up(ours_at=None)
    ours = bench.ours
    ours.host.ip(f"route add 10.7.0.0/16 dev {ours.name}")
    ours.host.ip(f"-6 addr add fd00:9::1/64 dev {ours.name} nodad")
    assert "From 10.7.0.1 icmp_seq=1 Destination Host Unreachable" in ping(ours, "10.7.0.1")
    # A peer that nobody knows where to find is as good as none.
    assert "Destination Host Unreachable" in ping(ours, "10.9.0.2")
    assert "Destination unreachable: Address unreachable" in ping(ours, "fd00:9::2")


def test_a_port_for_both_families_is_one(bench):
    bench.up(ours_at="fd00::1")
    bench.other.up(bench.as_remote(bench.ours, at(OURS)))
    bench.ours.set_peer(bench.as_remote(bench.other, None))
    assert answers(bench.theirs, "10.9.0.1")
    assert answers(bench.other, "10.9.0.1")
    assert bench.ours.endpoint(bench.theirs.keys.public) == at("fd00::10")
    assert bench.ours.endpoint(bench.other.keys.public) == at(OTHER)
