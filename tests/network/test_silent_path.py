"""A path that dies without a word: the access point and its carrier stay, what is behind is dead.

mover                                    router1
eth0  10.1.0.2 (metric 100) ─── lan1 ─── 10.1.0.1   10.3.0.1 ───┐
wlan0 10.2.0.2 (metric 600) ─── lan2 ─── 10.2.0.1   10.3.0.2 ───┴── peer 10.3.0.101
                                         router2
"""

import time
from dataclasses import dataclass

import pytest
from ethernet import at, tunnel_between, wait_until, wait_until_moved
from live import Live

from sacip_tun.lab.namespaces import Host, Network
from sacip_tun.lab.tunnel import LabTunnel

pytestmark = pytest.mark.network

ETH, WLAN, PEER = "10.1.0.2", "10.2.0.2", "10.3.0.101"
# 200 ms of doubt and 30 ms for another try (liveness.py), and what a busy machine adds.
PROMPT_MS = 1200.0


@dataclass(frozen=True)
class Net:
    mover: Host
    peer: Host
    routers: tuple[Host, Host]

    def break_path(self, number: int) -> None:
        """Nothing passes the router any more, and nobody is told."""
        rules = (
            "add table ip t; add chain ip t f { type filter hook forward priority 0; policy drop; }"
        )
        self.routers[number].run(["nft", rules])

    def heal_path(self, number: int) -> None:
        self.routers[number].run(["nft", "delete table ip t"])


@pytest.fixture
def net(network: Network) -> Net:
    far = network.segment("far")
    mover, peer = network.host("mover"), network.host("peer")
    peer.plug(far, "eth0", f"{PEER}/24")
    routers = []
    for number, (interface, metric) in enumerate((("eth0", 100), ("wlan0", 600)), start=1):
        lan, router = network.segment(f"lan{number}"), network.host(f"router{number}")
        router.write_sysctl("ipv4/ip_forward", 1)
        router.plug(lan, "eth0", f"10.{number}.0.1/24")
        router.plug(far, "eth1", f"10.3.0.{number}/24")
        mover.plug(lan, interface, f"10.{number}.0.2/24")
        mover.ip(f"route add default via 10.{number}.0.1 dev {interface} metric {metric}")
        peer.ip(f"route add 10.{number}.0.0/24 via 10.3.0.{number}")
        routers.append(router)
    return Net(mover, peer, (routers[0], routers[1]))


def up(net: Net) -> tuple[LabTunnel, LabTunnel]:
    mover, peer = tunnel_between(net.mover, net.peer, PEER)
    assert mover.active(peer.keys.public, "local") == at(ETH)
    wait_until(
        lambda: peer.peer(mover.keys.public)["remote"]["slots"].count(at(WLAN)) == 1,
        "the standby was not announced",
    )
    return mover, peer


def moves(live: Live) -> list[tuple[str, str]]:
    return [(move["new"], move["reason"]) for move in live.told("mover", "moved")]


@pytest.mark.parametrize("flow", ["upload", "download"])
def test_the_other_interface_is_taken_and_the_better_one_again_when_it_is_well(net, flow) -> None:
    mover, peer = up(net)
    live = Live(mover, peer, (flow,), 11.0)
    net.break_path(0)
    wait_until_moved(mover, peer, WLAN)
    time.sleep(2.0)
    net.heal_path(0)
    healed = time.time()
    wait_until_moved(mover, peer, ETH)
    print(f"{flow}: back after {time.time() - healed:.1f} s")
    live.finish()
    print(f"{flow}: silent for {live.silence_ms} ms")
    assert live.silence_ms < PROMPT_MS, live.story()
    assert moves(live) == [(at(WLAN), "path silent"), (at(ETH), "route changed")], live.story()


def test_one_way_stream_from_the_other_side(net) -> None:
    """The mover has nothing to send, and nothing in it waits for an answer: the peer asks."""
    mover, peer = up(net)
    live = Live(mover, peer, (), 8.0, streaming=8.0)
    net.break_path(0)
    wait_until_moved(mover, peer, WLAN)
    live.finish()
    print(live.heard)
    assert live.heard.gap_ms < PROMPT_MS, live.story()
    assert (live.heard.lost, live.heard.duplicated) == (0, 0), live.story()
    assert len(moves(live)) == 1, live.story()


def test_a_path_that_comes_and_goes_is_not_gone_back_to_each_time(net) -> None:
    """Dead and well in turn, each for a second: at the edge of the cell."""
    mover, peer = up(net)
    live = Live(mover, peer, ("upload",), 12.0)
    for _ in range(5):
        net.break_path(0)
        time.sleep(1.0)
        net.heal_path(0)
        time.sleep(1.0)
    live.finish()
    assert len(moves(live)) <= 2, live.story()
    assert live.silence_ms < PROMPT_MS, live.story()


def test_both_paths_dead_then_the_worse_one_is_well(net) -> None:
    """All that there is goes on being asked; the first that answers is taken."""
    mover, peer = up(net)
    live = Live(mover, peer, ("download",), 4.0, streaming=9.0)
    net.break_path(0)
    net.break_path(1)
    time.sleep(4.0)
    assert mover.peer(peer.keys.public)["state"] in {"degraded", "silent"}
    net.heal_path(1)
    usable = time.time()
    live.finish()
    wait_until_moved(mover, peer, WLAN)
    print(f"{live.after(usable):.0f} ms after one was well; {live.heard}")
    # A silent path is asked once a second by then (liveness.py).
    assert live.after(usable) < PROMPT_MS + 1000, live.story()
    assert live.heard.lost == 0, live.story()
