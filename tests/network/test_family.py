"""From IPv4 to IPv6 and back, with a peer that has both; and an endpoint on the link only.

mover                                        peer
10.9.0.2 ◄════════════ tunnel ═════════════► 10.9.0.1
eth0 192.168.1.22 ↔ fd00::22                 eth0 192.168.1.101 and fd00::101
"""

import time

import pytest
from ethernet import PEER, PEER_V6, at, ethernet, tunnel, tunnel_between, wait_until_moved
from live import Live
from written import Hosts, WrittenTunnel

from sacip_tun.lab.tunnel import LabTunnel, Remote

pytestmark = pytest.mark.network

V4, V6 = "192.168.1.22/24", "fd00::22/64"
PROMPT_MS = 1000.0


def test_to_the_other_family_and_back(network) -> None:
    """The mover knows the peer's IPv6 address by HELLO only."""
    net = ethernet(network, V4)
    mover, peer = tunnel(net)
    live = Live(mover, peer, ("upload", "download"), 7.0, streaming=7.0)
    net.mover.ip(f"addr add {V6} dev eth0")
    time.sleep(0.5)
    net.mover.ip(f"addr del {V4} dev eth0")
    wait_until_moved(mover, peer, "fd00::22")
    assert mover.active(peer.keys.public, "remote") == at(PEER_V6)
    net.mover.ip(f"addr add {V4} dev eth0")
    time.sleep(0.5)
    net.mover.ip(f"addr del {V6} dev eth0")
    wait_until_moved(mover, peer, "192.168.1.22")
    assert mover.active(peer.keys.public, "remote") == at(PEER)
    live.finish()
    print(live.silence_ms, live.heard)
    assert live.silence_ms < PROMPT_MS, live.story()
    assert (live.heard.lost, live.heard.duplicated) == (0, 0), live.story()


def test_the_other_family_is_there_only_when_the_first_is_gone(network) -> None:
    net = ethernet(network, V4)
    mover, peer = tunnel(net)
    live = Live(mover, peer, ("download",), 4.0, streaming=4.0)
    net.mover.ip(f"addr del {V4} dev eth0")
    net.mover.ip(f"addr add {V6} dev eth0")
    usable = time.time()
    live.finish()
    wait_until_moved(mover, peer, "fd00::22")
    assert live.after(usable) < PROMPT_MS, live.story()
    assert (live.heard.lost, live.heard.duplicated) == (0, 0), live.story()


def test_the_other_family_is_known_by_name(network) -> None:
    """The peer had no IPv6 when HELLO was said; the name has an AAAA record by now."""
    net = ethernet(network, V4)
    net.peer.ip(f"addr del {PEER_V6}/64 dev eth0")
    with Hosts(net.mover) as hosts:
        hosts.write({"peer.lab": PEER})
        mover = WrittenTunnel(net.mover, "10.9.0.2/24", names=True)
        peer = LabTunnel(net.peer, "10.9.0.1/24")
        peer.up(Remote(mover.keys.public))
        mover.up(Remote(peer.keys.public, "peer.lab:51820", ("10.9.0.1/32",)))
        mover.reach(peer.inner)
        live = Live(mover, peer, ("upload",), 4.0)
        # Nobody is told of that address: the peer does not move, and says nothing of it.
        hosts.write({"peer.lab": PEER_V6})
        net.mover.ip(f"addr del {V4} dev eth0")
        net.peer.ip(f"addr add {PEER_V6}/64 dev eth0")
        net.mover.ip(f"addr add {V6} dev eth0")
        usable = time.time()
        live.finish()
        wait_until_moved(mover, peer, "fd00::22")
        print(f"{live.after(usable):.0f} ms")
        assert live.after(usable) < 4 * PROMPT_MS, live.story()


def test_an_endpoint_on_the_link(network) -> None:
    """fe80::… with its scope: the addresses that are there before anybody gave any."""
    net = ethernet(network, V4)
    for host, number in ((net.mover, 22), (net.peer, 101)):
        host.ip(f"addr add fe80::{number}/64 dev eth0")
    mover, peer = tunnel_between(net.mover, net.peer, "fe80::101%eth0")
    assert "fe80::101%" in (mover.active(peer.keys.public, "remote") or "")
    live = Live(mover, peer, ("upload", "download"), 3.0)
    net.mover.ip(f"addr del {V4} dev eth0")
    live.finish()
    assert live.silence_ms < PROMPT_MS, live.story()
    assert "fe80::" in (peer.active(mover.keys.public, "remote") or "")
