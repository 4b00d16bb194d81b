"""What access points, routers and container engines do to a host that only wants to stay connected.

mover                                   router                peer
eth0  10.1.0.2 ───────── lan1 ───────── 10.1.0.1
wlan0 10.2.0.2 ───────── lan2 ───────── 10.2.0.1  10.3.0.1 ── 10.3.0.101
"""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

import pytest
from ethernet import at, wait_until, wait_until_moved

from sacip_tun.lab.connection import Connection, survived
from sacip_tun.lab.namespaces import Host, Network, Segment
from sacip_tun.lab.tunnel import LabTunnel, Remote

pytestmark = pytest.mark.network

PEER, PEER_V6 = "10.3.0.101", "fd03::101"
ETH, WLAN = "10.1.0.2", "10.2.0.2"
# 2 Mbit/s with a queue of 8 MB, which is above the socket's buffer of 512 KB.
SLOW = "rate 2mbit burst 32kb limit 8000000"
# A move is announced within milliseconds; this allows for a slow machine.
PROMPT_MS = 1000.0


@dataclass(frozen=True)
class Net:
    mover: Host
    peer: Host
    router: Host
    lan1: Segment
    lan2: Segment


@pytest.fixture
def net(network: Network) -> Net:
    """Two uplinks of the mover by one router; eth0 has the better default route."""
    lan1, lan2, far = (network.segment(name) for name in ("lan1", "lan2", "far"))
    mover, router, peer = network.host("mover"), network.host("router"), network.host("peer")
    router.write_sysctl("ipv4/ip_forward", 1)
    router.write_sysctl("ipv6/conf/all/forwarding", 1)
    router.plug(lan1, "eth1", "10.1.0.1/24", "10.1.0.9/24", "fd01::1/64")
    router.plug(lan2, "eth2", "10.2.0.1/24", "fd02::1/64")
    router.plug(far, "eth3", "10.3.0.1/24", "fd03::1/64")
    peer.plug(far, "eth0", f"{PEER}/24", f"{PEER_V6}/64")
    peer.ip("route add default via 10.3.0.1")
    peer.ip("route add default via fd03::1")
    mover.plug(lan1, "eth0", f"{ETH}/24")
    mover.plug(lan2, "wlan0", f"{WLAN}/24")
    mover.ip("route add default via 10.1.0.1 dev eth0 metric 100")
    mover.ip("route add default via 10.2.0.1 dev wlan0 metric 600")
    return Net(mover, peer, router, lan1, lan2)


@dataclass(frozen=True)
class Ends:
    mover: LabTunnel
    peer: LabTunnel

    @property
    def moves(self) -> list[dict]:
        return self.mover.peer(self.peer.keys.public)["moves"]

    def source(self) -> str | None:
        return self.mover.active(self.peer.keys.public, "local")


def up(net: Net, towards: str = PEER, keepalive: int | None = None) -> Ends:
    mover, peer = LabTunnel(net.mover, "10.9.0.2/24"), LabTunnel(net.peer, "10.9.0.1/24")
    peer.up(Remote(mover.keys.public))
    mover.up(Remote(peer.keys.public, at(towards), keepalive=keepalive))
    mover.reach(peer.inner)
    wait_until(
        lambda: mover.peer(peer.keys.public)["sacip"] and peer.peer(mover.keys.public)["sacip"],
        "HELLO was not exchanged",
    )
    return Ends(mover, peer)


def download(net: Net, ends: Ends, seconds: float = 5.0) -> Connection:
    options = ("--direction", "download", "--seconds", str(seconds))
    connection = Connection(net.mover, net.peer, ends.peer.inner, *options)
    connection.wait_until_established()
    time.sleep(1.0)
    return connection


def assert_unbroken(connection: Connection, silence_ms: float = PROMPT_MS) -> None:
    mover, peer = connection.finish()
    assert survived(mover, peer), (mover, peer)
    assert mover["longest_silence_ms"] < silence_ms, (mover, peer)


def moved(ends: Ends, host: str) -> None:
    wait_until_moved(ends.mover, ends.peer, host)


# Better and worse paths


def test_a_better_default_route_is_followed(net) -> None:
    ends = up(net)
    connection = download(net, ends)
    net.mover.ip("route add default via 10.2.0.1 dev wlan0 metric 50")
    moved(ends, WLAN)
    assert_unbroken(connection)
    assert [move["reason"] for move in ends.moves] == ["route changed"]


def test_back_when_the_better_route_goes_again(net) -> None:
    ends = up(net)
    net.mover.ip("route add default via 10.2.0.1 dev wlan0 metric 50")
    moved(ends, WLAN)
    connection = download(net, ends)
    net.mover.ip("route del default via 10.2.0.1 dev wlan0 metric 50")
    moved(ends, ETH)
    assert_unbroken(connection)


def test_another_gateway_on_the_same_interface(net) -> None:
    ends = up(net)
    connection = download(net, ends)
    net.mover.ip("route replace default via 10.1.0.9 dev eth0 metric 100")
    assert_unbroken(connection)
    assert ends.source() == at(ETH)


# Interfaces


def test_a_renamed_interface_is_no_move(net) -> None:
    ends = up(net)
    connection = download(net, ends)
    # Kernels before 6.2 rename only what is down; then the routes go, and come back with it.
    try:
        net.mover.ip("link set eth0 name lan7")
    except subprocess.CalledProcessError:
        pytest.skip("this kernel renames no interface that is up")
    assert_unbroken(connection)
    assert ends.moves == []


def test_a_removed_interface_is_left_at_once(net) -> None:
    ends = up(net)
    connection = download(net, ends)
    net.mover.ip("link del eth0")
    moved(ends, WLAN)
    assert_unbroken(connection)


def test_an_interface_that_another_namespace_takes_is_left_at_once(net, network) -> None:
    ends = up(net)
    elsewhere = network.host("elsewhere")
    connection = download(net, ends)
    net.mover.ip(f"link set eth0 netns {elsewhere.namespace}")
    moved(ends, WLAN)
    assert_unbroken(connection)


def test_the_cable_is_pulled_and_plugged_in_again(net) -> None:
    ends = up(net)
    connection = download(net, ends, seconds=8.0)
    net.lan1.host.ip("link set port2 down")
    moved(ends, WLAN)
    net.lan1.host.ip("link set port2 up")
    moved(ends, ETH)
    assert_unbroken(connection)


# What is of no concern


def test_containers_coming_and_going_cause_no_move(net) -> None:
    """Twenty changes a second for five seconds, as an engine makes them."""
    ends = up(net)
    connection = download(net, ends, seconds=7.0)
    net.mover.ip("link add docker0 type bridge")
    net.mover.ip("addr add 172.17.0.1/16 dev docker0")
    net.mover.ip("link set docker0 up")
    script = "".join(
        f"link add veth{n} type veth peer name ceth{n}\n"
        f"link set veth{n} master docker0 up\nlink set ceth{n} up\n"
        f"addr add 172.17.0.{n + 2}/16 dev ceth{n}\nlink del veth{n}\n"
        for n in range(20)
    )
    for round_ in range(5):
        started = time.monotonic()
        net.mover.run(["sh", "-c", f"printf '{script}' | ip -batch -"])
        time.sleep(max(0.0, 1.0 - (time.monotonic() - started)) if round_ < 4 else 0)
    assert_unbroken(connection)
    assert ends.moves == []
    assert ends.source() == at(ETH)


def test_ten_thousand_changes_of_addresses_leave_the_final_state_exact(net) -> None:
    """More than the kernel's queue holds and than is followed one by one."""
    ends = up(net)
    net.mover.ip("link add veth0 type veth peer name veth1")
    net.mover.ip("link set veth0 up")
    lines = [
        f"addr {verb} 10.77.{n // 250}.{n % 250 + 1}/32 dev veth0\n"
        for n in range(5000)
        for verb in ("add", "del")
    ]
    # In the middle of them the address in use goes.
    lines.insert(5000, f"addr del {ETH}/24 dev eth0\n")
    batch = net.mover.network.directory / "batch"
    batch.write_text("".join(lines))
    net.mover.run(["ip", "-batch", str(batch)])
    moved(ends, WLAN)
    ends.mover.reach(ends.peer.inner)
    assert "; loading the tables again" in ends.mover.log
    net.mover.ip(f"addr add {ETH}/24 dev eth0")
    net.mover.ip("route add default via 10.1.0.1 dev eth0 metric 100")
    moved(ends, ETH)


# IPv6


def six(net: Net) -> None:
    """One uplink, of IPv6 alone: else IPv4 is better than a deprecated address."""
    net.mover.ip("link del wlan0")
    net.mover.ip("-4 addr flush dev eth0")
    net.mover.ip("addr add fd01::2/64 dev eth0")
    net.mover.ip("route add default via fd01::1 dev eth0 metric 100")


def test_a_temporary_address_is_replaced_by_the_next(net) -> None:
    six(net)
    ends = up(net, PEER_V6)
    connection = download(net, ends, seconds=7.0)
    moves = len(ends.moves)
    net.mover.ip("addr add fd01::aaaa/64 dev eth0")
    net.mover.ip("addr change fd01::2/64 dev eth0 preferred_lft 0")
    moved(ends, "fd01::aaaa")
    time.sleep(0.5)
    net.mover.ip("addr del fd01::2/64 dev eth0")
    assert_unbroken(connection)
    assert len(ends.moves) <= moves + 1


def test_the_kernels_own_rotation_of_temporary_addresses(net) -> None:
    """RFC 8981 in seconds instead of days: a new one each 4 s, each deprecated after 8 s."""
    lifetimes = {"use_tempaddr": 2, "max_desync_factor": 0}
    lifetimes |= {"temp_prefered_lft": 8, "temp_valid_lft": 12}
    for name, value in lifetimes.items():
        net.mover.write_sysctl(f"ipv6/conf/eth0/{name}", value)
    six(net)
    net.mover.ip("addr del fd01::2/64 dev eth0")
    net.mover.ip("addr add fd01::2/64 dev eth0 mngtmpaddr")
    ends = up(net, PEER_V6)
    first = ends.source()
    assert "temporary" in net.mover.ip(f"addr show to {str(first)[1:].partition(']')[0]}")
    connection = download(net, ends, seconds=12.0)
    assert_unbroken(connection)
    # Not one for each address that appeared, but one when the address in use was deprecated.
    assert {move["reason"] for move in ends.moves} == {"address deprecated"}
    assert len(ends.moves) <= 2


def test_a_tentative_address_is_not_used_before_it_is_ready(net) -> None:
    six(net)
    ends = up(net, PEER_V6)
    net.mover.write_sysctl("ipv6/conf/eth0/accept_dad", 1)
    net.mover.write_sysctl("ipv6/conf/eth0/dad_transmits", 2)
    connection = download(net, ends, seconds=7.0)
    net.mover.ip("addr change fd01::2/64 dev eth0 preferred_lft 0")
    net.mover.ip("addr add fd01::bbbb/64 dev eth0")
    assert "tentative" in net.mover.ip("addr show dev eth0")
    assert ends.source() == at("fd01::2")
    moved(ends, "fd01::bbbb")
    assert "tentative" not in net.mover.ip("addr show dev eth0")
    assert_unbroken(connection)


# Stopped


def test_a_stopped_process_goes_on_from_the_address_that_it_wakes_up_with(net) -> None:
    ends = up(net)
    daemon = ends.mover._daemon
    assert daemon is not None
    os.kill(daemon.pid, signal.SIGSTOP)
    net.mover.ip("link del eth0")
    time.sleep(5.0)
    os.kill(daemon.pid, signal.SIGCONT)
    moved(ends, WLAN)
    ends.mover.reach(ends.peer.inner)


def test_a_stop_in_which_a_timer_was_due_is_told_and_announced(net) -> None:
    ends = up(net, keepalive=1)
    daemon = ends.mover._daemon
    assert daemon is not None
    os.kill(daemon.pid, signal.SIGSTOP)
    time.sleep(5.0)
    os.kill(daemon.pid, signal.SIGCONT)
    wait_until(lambda: bool(ends.mover.events("resumed")), "the stop was not noticed")
    wait_until(lambda: bool(ends.moves), "the address was not told anew")
    assert ends.moves[-1]["reason"] == "resumed"
    ends.mover.reach(ends.peer.inner)


# Refused by the kernel


FIREWALL = """
add table inet t
add chain inet t out { type filter hook output priority 0; }
add rule inet t out oif %s udp dport 51820 drop
"""


def forbid(host: Host, interface: str) -> None:
    host.run(["nft", FIREWALL % interface])


def test_a_firewall_on_the_uplink_in_use_is_told_and_the_other_one_is_taken(net) -> None:
    ends = up(net)
    connection = download(net, ends)
    forbid(net.mover, "eth0")
    moved(ends, WLAN)
    assert_unbroken(connection)
    (refused, *_) = ends.mover.events("send-refused")
    assert "EPERM" in refused["why"]
    assert "nft" in refused["fix"]
    assert ends.mover.status()["send_errors"]["forbidden"] > 0


def test_a_firewall_on_the_only_uplink_is_told_with_the_fix_and_nothing_is_lost(net) -> None:
    net.mover.ip("link del wlan0")
    ends = up(net)
    connection = download(net, ends, seconds=6.0)
    forbid(net.mover, "eth0")
    wait_until(lambda: bool(ends.mover.events("send-refused")), "nobody was told")
    net.mover.run(["nft", "delete table inet t"])
    assert_unbroken(connection, silence_ms=3 * PROMPT_MS)


FLOOD = """
import socket, sys, time
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for number in range(3000):
    sock.sendto(bytes(1300), (sys.argv[1], 9))
    if number % 50 == 0:
        time.sleep(0.01)
"""


def test_a_full_queue_lets_the_tun_wait_and_is_no_loss(net) -> None:
    net.mover.run(["tc", "qdisc", "add", "dev", "eth0", "root", "tbf", *SLOW.split()])
    ends = up(net)
    net.mover.run([sys.executable, "-c", FLOOD, ends.peer.inner])
    wait_until(lambda: bool(ends.mover.status()["send_errors"]), "the queue was never full")
    ends.mover.reach(ends.peer.inner)
    status = ends.mover.status()
    assert set(status["send_errors"]) == {"queue full"}
    assert "the kernel refused the datagram" not in status["drops"]
    # Once for each time that the socket had room again, not once for each turn of the loop.
    assert status["send_errors"]["queue full"] < 100
    assert status["faults"] == 0
