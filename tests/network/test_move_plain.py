"""One end is wireguard-go, which knows of no SACIP: it follows by WireGuard's own rule.

ours                                  wireguard-go
10.9.0.2 ◄═════════ tunnel ═════════► 10.9.0.1
eth0 192.168.1.22 → 192.168.1.2       eth0 192.168.1.101
"""

import time

import pytest
from capture import Capture
from ethernet import PEER, at, ethernet, wait_until
from plain_tunnel import PlainTunnel
from test_move_download import assert_prompt, download

from sacip_tun.lab.tunnel import LabTunnel, Remote

pytestmark = pytest.mark.network

OLD, NEW = "192.168.1.22/24", "192.168.1.2/24"
# An empty message of type 4: a header of 16 bytes and a tag.
KEEPALIVE = 32
# How far a datagram may be from its time, in seconds: two processes share the processor.
TOLERANCE = 0.04


def plain_peer(net) -> tuple[LabTunnel, PlainTunnel]:
    """Our tunnel on the mover, wireguard-go on the peer."""
    ours, plain = LabTunnel(net.mover, "10.9.0.2/24"), PlainTunnel(net.peer, "10.9.0.1/24")
    plain.up(Remote(ours.keys.public, allowed=("10.9.0.2/32",)))
    ours.up(Remote(plain.keys.public, at(PEER)))
    ours.reach(plain.inner)
    return ours, plain


def test_no_frame_is_ever_sent_to_it(network) -> None:
    net = ethernet(network, OLD)
    ours, plain = plain_peer(net)
    net.mover.ip(f"addr add {NEW} dev eth0")
    net.mover.ip(f"addr del {OLD} dev eth0")
    wait_until(lambda: plain.endpoint(ours.keys.public) == at("192.168.1.2"), "it did not follow")
    ours.reach(plain.inner)
    assert ours.events("frame-sent") == []
    assert not ours.peer(plain.keys.public)["sacip"]


def test_three_keepalives_announce_the_new_address(network) -> None:
    """At 0, 50 and 200 ms, so that a late packet of the old path has not the last word."""
    net = ethernet(network, OLD)
    ours, plain = plain_peer(net)
    net.mover.ip(f"addr add {NEW} dev eth0")
    # What the ping before caused is over: nothing but the announcement is on the wire.
    time.sleep(11)
    capture = Capture(net.mover)
    net.mover.ip(f"addr del {OLD} dev eth0")
    wait_until(lambda: plain.endpoint(ours.keys.public) == at("192.168.1.2"), "it did not follow")
    time.sleep(0.5)
    sent = [packet for packet in capture.stop() if packet.source == "192.168.1.2"]
    datagrams = [packet for packet in sent if packet.destination_port == 51820]
    assert [len(packet.payload) for packet in datagrams] == [KEEPALIVE] * 3, sent
    times = [packet.time - datagrams[0].time for packet in datagrams]
    assert times == pytest.approx([0.0, 0.05, 0.2], abs=TOLERANCE)


@pytest.mark.parametrize("add_first", [True, False], ids=["add then delete", "delete then add"])
def test_download_from_it_goes_on(network, add_first) -> None:
    net = ethernet(network, OLD)
    ours, plain = plain_peer(net)
    connection = download(net, plain.inner)
    commands = [f"addr add {NEW} dev eth0", f"addr del {OLD} dev eth0"]
    for command in commands if add_first else reversed(commands):
        net.mover.ip(command)
    assert_prompt(connection)
    assert plain.endpoint(ours.keys.public) == at("192.168.1.2")
    assert ours.active(plain.keys.public, "local") == at("192.168.1.2")


def test_its_own_roaming_is_honoured(network) -> None:
    """Now the plain end moves. It sends something, and we answer to where that came from."""
    net = ethernet(network, OLD)
    plain, ours = PlainTunnel(net.mover, "10.9.0.2/24"), LabTunnel(net.peer, "10.9.0.1/24")
    ours.up(Remote(plain.keys.public))
    plain.up(Remote(ours.keys.public, at(PEER), ("10.9.0.1/32",)))
    net.mover.run(["ping", "-c", "1", "-W", "5", ours.inner])
    assert ours.active(plain.keys.public, "remote") == at("192.168.1.22")

    net.mover.ip(f"addr add {NEW} dev eth0")
    net.mover.ip(f"addr del {OLD} dev eth0")
    # wireguard-go goes on with the source address that it had, which fails now; to be given the
    # endpoint once more makes it choose again.
    plain.set("peer", ours.keys.public, "endpoint", at(PEER))
    net.mover.run(["ping", "-c", "1", "-W", "5", ours.inner])
    assert ours.active(plain.keys.public, "remote") == at("192.168.1.2")
    ours.reach(plain.inner)
