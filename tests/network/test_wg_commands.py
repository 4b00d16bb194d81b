"""Debian's `wg` on sacip-wg, `sacip-tun up` and wireguard-go: the same commands and answers.

Nothing is sent here: what both say is what they were told.
"""

import os
import subprocess
from pathlib import Path

import pytest
from ethernet import wait_until
from plain_tunnel import SACIP_WG, WIREGUARD_GO, PlainTunnel

from sacip_tun.lab.namespaces import Network
from sacip_tun.lab.tunnel import Keys, LabTunnel
from sacip_tun.protocol.keys import to_base64

pytestmark = pytest.mark.network

PRIVATE = Keys.new()
A, B, C = (Keys.new().public for _ in range(3))
# Has one of the two families.
BLOCKER = """
import socket, time
taken = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
taken.bind(("::", 7777))
print("bound", flush=True)
time.sleep(60)
"""
PRESHARED = to_base64(os.urandom(32))


class Triplets:
    """The three programs on three hosts, and one command for all of them."""

    def __init__(self, network: Network) -> None:
        self.directory: Path = network.directory
        hosts = [network.host(name) for name in ("bare", "up", "theirs")]
        for host in hosts:
            host.ip("link set lo up")
        self.bare = PlainTunnel(hosts[0], "10.9.0.1/24", SACIP_WG)
        self.up = LabTunnel(hosts[1], "10.9.0.1/24")
        self.theirs = PlainTunnel(hosts[2], "10.9.0.1/24", WIREGUARD_GO)
        self.up.up()
        for tunnel in (self.bare, self.theirs):
            tunnel.start()
            tunnel.host.ip(f"link set {tunnel.name} up")

    @property
    def ours(self) -> tuple[PlainTunnel | LabTunnel, ...]:
        return self.bare, self.up

    def wg(self, *words: str, check: bool = True) -> tuple[subprocess.CompletedProcess, ...]:
        """Run `wg WORDS` on all, wireguard-go last; NAME is the interface, also in its output."""
        done = []
        for tunnel in (*self.ours, self.theirs):
            line = [tunnel.name if word == "NAME" else word for word in words]
            result = tunnel.host.run(["wg", *line], check=check)
            result.stdout = result.stdout.replace(tunnel.name, "NAME")
            done.append(result)
        return tuple(done)

    def same(self, *words: str) -> str:
        *ours, theirs = self.wg(*words)
        for one in ours:
            assert in_order(one.stdout) == in_order(theirs.stdout)
        assert ours[0].stdout
        return ours[0].stdout

    def file(self, text: str) -> str:
        path = self.directory / "triplets.conf"
        path.write_text(text)
        return str(path)


def in_order(text: str) -> list[str]:
    """Peers apart and sorted: those of wireguard-go come in any order."""
    if "\t" in text:
        return sorted(text.splitlines())
    return sorted(part.strip() for part in text.replace("\npeer:", "\n\npeer:").split("\n\n"))


@pytest.fixture(scope="module")
def triplets():
    with Network() as network:
        yield Triplets(network)


@pytest.fixture
def fresh(triplets):
    triplets.wg("setconf", "NAME", triplets.file("[Interface]\nListenPort = 51820\n"))
    return triplets


def test_a_private_key_is_clamped_and_can_be_taken_away(fresh):
    raw = to_base64(b"\xff" * 32)
    fresh.wg("set", "NAME", "private-key", fresh.file(raw))
    clamped = to_base64(b"\xf8" + b"\xff" * 30 + b"\x7f")
    assert fresh.same("show", "NAME", "private-key") == f"{clamped}\n"
    fresh.same("show", "NAME", "public-key")
    fresh.wg("set", "NAME", "private-key", "/dev/null")
    *ours, _ = fresh.wg("show", "NAME", "private-key")
    assert [one.stdout for one in ours] == ["(none)\n"] * 2


def test_everything_that_set_knows_is_shown_alike(fresh):
    fresh.wg("set", "NAME", "private-key", fresh.file(PRIVATE.private), "listen-port", "51821")
    fresh.wg("set", "NAME", "fwmark", "0xfffffffe")
    fresh.wg(
        "set", "NAME", "peer", A, "allowed-ips", "10.1.0.1/16,fd00:1::/64,0.0.0.0/0",
        "endpoint", "192.0.2.1:7", "persistent-keepalive", "65535",
        "preshared-key", fresh.file(PRESHARED),
    )  # fmt: skip
    fresh.wg("set", "NAME", "peer", B, "endpoint", "[2001:db8::1]:65535", "allowed-ips", "::/0")
    fresh.wg("set", "NAME", "peer", C)
    for words in (
        ("show", "NAME", "dump"),
        ("show", "NAME", "allowed-ips"),
        ("showconf", "NAME"),
        ("show", "NAME"),
    ):
        bare, up, theirs = without_traffic(fresh, *words)
        assert bare == theirs
        assert up == theirs
    assert "0xfffffffe" in fresh.same("show", "NAME", "fwmark")
    fresh.wg("set", "NAME", "fwmark", "off", "peer", A, "persistent-keepalive", "off")
    assert fresh.same("show", "NAME", "fwmark") == "off\n"
    fresh.same("show", "NAME", "persistent-keepalive")


def without_traffic(triplets: Triplets, *words: str) -> list[list[str]]:
    """Handshakes are tried at moments of each program's own."""
    found = []
    for done in triplets.wg(*words):
        lines = [line for line in done.stdout.splitlines() if "transfer:" not in line]
        if words[-1] == "dump":  # of a peer's eight columns the sixth and seventh
            columns = [line.split("\t") for line in lines]
            lines = ["\t".join((*row[:5], *row[7:])) for row in columns]
        found.append(in_order("\n".join(lines)))
    return found


def test_allowed_ips_move_and_are_replaced(fresh):
    fresh.wg("set", "NAME", "peer", A, "allowed-ips", "10.0.0.0/8,10.1.0.0/16")
    fresh.wg("set", "NAME", "peer", B, "allowed-ips", "10.1.0.0/16,fd00::/8")
    shown = fresh.same("show", "NAME", "allowed-ips")
    assert f"{A}\t10.0.0.0/8\n" in shown
    assert f"{B}\t10.1.0.0/16 fd00::/8\n" in shown
    fresh.wg("set", "NAME", "peer", A, "allowed-ips", "10.2.0.0/16")
    fresh.wg("set", "NAME", "peer", B, "allowed-ips", "")
    shown = fresh.same("show", "NAME", "allowed-ips")
    assert f"{A}\t10.2.0.0/16\n" in shown
    assert f"{B}\t(none)\n" in shown


def test_peers_are_removed_and_our_own_key_is_nobody(fresh):
    fresh.wg("set", "NAME", "private-key", fresh.file(PRIVATE.private))
    fresh.wg("set", "NAME", "peer", A, "peer", B, "peer", PRIVATE.public)
    fresh.wg("set", "NAME", "peer", A, "remove", "peer", C, "remove")
    assert fresh.same("show", "NAME", "peers") == f"{B}\n"
    other = Keys.new()
    fresh.wg("set", "NAME", "peer", other.public, "allowed-ips", "10.7.0.0/16")
    fresh.wg("set", "NAME", "private-key", fresh.file(other.private))
    assert fresh.same("show", "NAME", "peers") == f"{B}\n"


def test_files_are_set_added_and_synchronised(fresh):
    interface = f"[Interface]\nPrivateKey = {PRIVATE.private}\nListenPort = 51822\nFwMark = 7\n"
    one = f"[Peer]\nPublicKey = {A}\nAllowedIPs = 10.1.0.0/16, fd01::/16\nEndpoint = 192.0.2.1:1\n"
    two = f"[Peer]\nPublicKey = {B}\nPresharedKey = {PRESHARED}\nAllowedIPs = 10.2.0.0/16\n"
    three = f"[Peer]\nPublicKey = {C}\nAllowedIPs = 10.1.0.0/16\n"
    fresh.wg("setconf", "NAME", fresh.file(interface + one))
    fresh.same("showconf", "NAME")
    fresh.wg("addconf", "NAME", fresh.file(two))
    fresh.same("showconf", "NAME")
    fresh.wg("syncconf", "NAME", fresh.file(interface + two + three))
    conf = fresh.same("showconf", "NAME")
    assert A not in conf
    assert "FwMark = 0x7" in conf
    fresh.wg("setconf", "NAME", fresh.file("[Interface]\nListenPort = 51823\n"))
    assert fresh.same("showconf", "NAME") == "[Interface]\nListenPort = 51823\n\n"


def test_ours_are_listed_in_the_order_in_which_they_came(fresh):
    keys = [Keys.new().public for _ in range(20)]
    fresh.wg("set", "NAME", *(word for key in keys for word in ("peer", key)))
    for one in fresh.wg("show", "NAME", "peers")[:2]:
        assert one.stdout.split() == keys
    for one in fresh.wg("show", "all", "dump")[:2]:
        rows = [line.split("\t") for line in one.stdout.splitlines()]
        assert [row[1] for row in rows if row[0] == "NAME" and len(row) == 9] == keys


@pytest.mark.parametrize("which", ["bare", "up"])
def test_a_port_that_is_taken_is_refused_and_nothing_changes(fresh, which):
    ours = getattr(fresh, which)
    host, name = ours.host, ours.name
    blocker = host.start(["python3", "-c", BLOCKER])
    wait_until(lambda: "bound" in host.log(blocker), "no blocker")
    done = host.run(
        ["wg", "set", name, "listen-port", "7777", "peer", A, "allowed-ips", "10.0.0.0/8"],
        check=False,
    )
    assert done.returncode
    assert "Address already in use" in done.stderr
    assert host.run(["wg", "show", name, "listen-port"]).stdout == "51820\n"
    assert not host.run(["wg", "show", name, "peers"]).stdout
    blocker.kill()
    blocker.wait()
    host.run(["wg", "set", name, "listen-port", "7777"])
    assert host.run(["wg", "show", name, "listen-port"]).stdout == "7777\n"


@pytest.mark.parametrize("which", ["bare", "up"])
def test_listening_moves_with_both_families_and_zero_is_a_random_port(fresh, which):
    ours = getattr(fresh, which)
    host, name = ours.host, ours.name
    host.run(["wg", "set", name, "listen-port", "0"])
    port = host.run(["wg", "show", name, "listen-port"]).stdout.strip()
    assert int(port) not in {0, 51820}
    bound = host.run(["ss", "-Hlun"]).stdout
    assert f"0.0.0.0:{port}" in bound
    assert f"[::]:{port}" in bound or f"*:{port}" in bound
    assert ":51820" not in bound
    host.run(["wg", "set", name, "listen-port", "0"])
    assert host.run(["wg", "show", name, "listen-port"]).stdout.strip() == port
