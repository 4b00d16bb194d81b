"""Towards wireguard-go, which knows of no SACIP, our side does what one side alone can do.

ours                                       wireguard-go
10.9.0.2 ◄════════════ tunnel ═══════════► 10.9.0.1
eth0 192.168.1.22 → nothing → .2           eth0 192.168.1.101
"""

import time

import pytest
from ethernet import PEER, at, ethernet, wait_until
from live import RUN_IN
from plain_tunnel import PlainTunnel

from sacip_tun.lab.connection import Connection, survived
from sacip_tun.lab.tunnel import LabTunnel, Remote

pytestmark = pytest.mark.network

OLD, NEW = "192.168.1.22/24", "192.168.1.2/24"
PROMPT_MS = 1500.0
# The sender that is behind wireguard-go has a timer that doubles: nobody holds its packets.
BACKED_OFF_MS = 5000.0


def pair(net) -> tuple[LabTunnel, PlainTunnel]:
    ours, plain = LabTunnel(net.mover, "10.9.0.2/24"), PlainTunnel(net.peer, "10.9.0.1/24")
    plain.up(Remote(ours.keys.public, allowed=("10.9.0.2/32",)))
    ours.up(Remote(plain.keys.public, at(PEER)))
    ours.reach(plain.inner)
    return ours, plain


@pytest.mark.parametrize(("flow", "limit"), [("upload", PROMPT_MS), ("download", BACKED_OFF_MS)])
def test_five_seconds_without_an_address(network, flow, limit) -> None:
    """An upload is held by us and goes on at once; a download waits for the other side's timer."""
    net = ethernet(network, OLD)
    ours, plain = pair(net)
    options = ("--direction", flow, "--seconds", "4", "--rate", "8")
    connection = Connection(net.mover, net.peer, plain.inner, *options)
    connection.wait_until_established()
    time.sleep(RUN_IN)
    net.mover.ip(f"addr del {OLD} dev eth0")
    time.sleep(5.0)
    net.mover.ip(f"addr add {NEW} dev eth0")
    usable = time.time()
    wait_until(lambda: plain.endpoint(ours.keys.public) == at("192.168.1.2"), "it did not follow")
    print(f"{flow}: it follows after {(time.time() - usable) * 1000:.0f} ms")
    near, far = connection.finish()
    assert survived(near, far), (near, far)
    receiver = near if flow == "download" else far
    late = (receiver["silent_from_unix"] - usable) * 1000 + receiver["longest_silence_ms"]
    print(f"{flow}: goes on after {late:.0f} ms")
    assert late < limit, ours.events()
    (detached,) = ours.events("detached")
    assert detached["reason"] == "address removed"
    if flow == "upload":
        assert ours.events("recovered")[-1]["released"] > 0


def test_it_was_restarted_while_we_were_away(network) -> None:
    """It knows no session any more, and who moves cannot know that: WireGuard's 15 s count."""
    net = ethernet(network, OLD)
    ours, plain = pair(net)
    net.mover.ip(f"addr del {OLD} dev eth0")
    plain.process.terminate()
    plain.process.wait()
    plain.up(Remote(ours.keys.public, allowed=("10.9.0.2/32",)))
    net.mover.ip(f"addr add {NEW} dev eth0")
    added = time.time()
    ping = ["ping", "-n", "-i", "0.5", "-c", "1", "-w", "25", plain.inner]
    net.mover.run(ping, timeout=30.0)
    took = time.time() - added
    print(f"reached after {took:.1f} s")
    assert took < 17.0
    assert ours.events("frame-sent") == []


def test_the_plain_side_moves_and_its_upload_goes_on(network) -> None:
    """Ours is the fixed side: it follows the first packet, and holds nothing against a silence."""
    net = ethernet(network, OLD)
    plain, ours = PlainTunnel(net.mover, "10.9.0.2/24"), LabTunnel(net.peer, "10.9.0.1/24")
    ours.up(Remote(plain.keys.public))
    plain.up(Remote(ours.keys.public, at(PEER), ("10.9.0.1/32",)))
    options = ("--direction", "upload", "--seconds", "4", "--rate", "8")
    connection = Connection(net.mover, net.peer, ours.inner, *options)
    connection.wait_until_established()
    time.sleep(RUN_IN)
    net.mover.ip(f"addr add {NEW} dev eth0")
    net.mover.ip(f"addr del {OLD} dev eth0")
    plain.set("peer", ours.keys.public, "endpoint", at(PEER))
    near, far = connection.finish()
    assert survived(near, far), (near, far)
    assert ours.active(plain.keys.public, "remote") == at("192.168.1.2")
    assert far["longest_silence_ms"] < PROMPT_MS
