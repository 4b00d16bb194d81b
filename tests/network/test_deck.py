"""The two tests of the 2007 deck (slides 19-21 and 24), with its application.

    mover                        peer                 router
    telnet                       telnetd
    10.9.0.2 ══════ tunnel ═════ 10.9.0.1
    eth0                         eth0                 eth0
      │ 192.168.1.22/24 → .2/24    │ 192.168.1.101/24    │ 192.168.1.4/24     test 1
      │ 192.168.1.2/25 → .222/25   │                     │                    test 2
    ──┴────────────────────────────┴─────────────────────┴──── one Ethernet segment

In 2007 the kernel moved the sockets of telnet itself from one address to the other (slide 21). Here
the socket has an inner address and is never touched; what moves is the tunnel's outer pair.
"""

import os
from ipaddress import ip_address, ip_interface

import pytest
from capture import ICMP, IGMP, UDP, Capture
from ethernet import PEER, ROUTER, at, ethernet, idle, tunnel, wait_until, wait_until_moved
from telnet import Telnet, serve_telnet

from sacip_tun.lab.namespaces import Host

pytestmark = pytest.mark.network

TEST_1 = ("192.168.1.22/24", "192.168.1.2/24")
TEST_2 = ("192.168.1.2/25", "192.168.1.222/25")


def inner_line(host: Host) -> list[str]:
    """What stays of the socket's line in /proc/net/tcp (slide 21): both ends, state and inode."""
    lines = [line.split() for line in host.run(["cat", "/proc/net/tcp"]).stdout.splitlines()]
    return [words[i] for words in lines if words[2].endswith(":0017") for i in (1, 2, 3, 9)]


def assert_only_ciphertext(packets, secrets: list[bytes]) -> None:
    """Nothing but WireGuard messages on the wire, and nothing readable in them."""
    assert packets
    for packet in packets:
        if packet.protocol == IGMP:
            continue  # a kernel that forwards tells the link which groups it is in
        if packet.protocol == ICMP:
            # The router may complain, as routers do; the type of 2007 is not among it.
            assert packet.payload[0] != 20, packet
        elif ":" not in packet.source:
            assert packet.protocol == UDP, packet
            assert packet.payload[0] in {1, 2, 3, 4}, packet
            assert packet.payload[1:4] == bytes(3), packet
            assert not any(secret in packet.payload for secret in secrets), packet


def open_shell(net, peer_tunnel) -> Telnet:
    serve_telnet(net.peer, peer_tunnel.inner)
    return Telnet(net.mover, peer_tunnel.inner)


def assert_flipped(mover, peer, old: str, new: str) -> None:
    """Both ends: the new address active, the old one idle beside it."""
    wait_until_moved(mover, peer, new)
    assert idle(mover, peer.keys.public, "local") == at(old)
    assert idle(peer, mover.keys.public, "remote") == at(old)


def replace_address(host: Host, old: str, new: str) -> None:
    host.ip(f"addr add {new} dev eth0")
    host.ip(f"addr del {old} dev eth0")


@pytest.mark.parametrize(
    ("old", "new", "secondary"), [(*TEST_1, True), (*TEST_2, False)], ids=["test 1", "test 2"]
)
def test_the_shell_answers_on_the_same_connection(network, old, new, secondary) -> None:
    net = ethernet(network, old)
    if not secondary:
        net.mover.ip(f"route add default via {ROUTER} dev eth0 onlink")
    mover, peer = tunnel(net)
    capture = Capture(net.mover)
    with open_shell(net, peer) as shell:
        pid = shell.ask("echo $$")
        before = inner_line(net.mover)
        assert len(before) == 4

        net.mover.ip(f"addr add {new} dev eth0")
        # Slide 20. In test 2 the subnets differ, and both addresses are primary.
        shown = net.mover.ip(f"addr show dev eth0 to {new.partition('/')[0]}")
        assert ("secondary" in shown) is secondary
        net.mover.ip(f"addr del {old} dev eth0")
        shown = net.mover.ip("-4 addr show dev eth0")
        assert new in shown
        assert old not in shown
        assert "secondary" not in shown

        marker = f"written-after-the-move-{os.getpid()}"
        assert shell.ask(f"echo $$ {marker}") == f"{pid} {marker}"
        assert inner_line(net.mover) == before
        hosts = [str(ip_interface(address).ip) for address in (old, new)]
        assert_flipped(mover, peer, *hosts)
        assert {"CHANGE"} <= {event["code"] for event in mover.events("frame-sent")}
    packets = capture.stop()
    assert any(packet.source == hosts[1] for packet in packets)
    readable = [ip_address(host).packed for host in hosts]
    assert_only_ciphertext(packets, [*readable, marker.encode(), b"login", b"echo"])


def test_after_test_2_the_way_there_leads_through_the_router(network) -> None:
    """Slide 24: .101 is on the link of the /25 before the move, and behind .4 after it.

    The way back stays direct, the peer's network being a /24. The router soon sends a redirect;
    here the mover does not listen to it, so that the way stays what it is.
    """
    net = ethernet(network, TEST_2[0])
    for interface in ("all", "eth0"):
        net.mover.write_sysctl(f"ipv4/conf/{interface}/accept_redirects", 0)
    net.mover.ip(f"route add default via {ROUTER} dev eth0 onlink")
    mover, peer = tunnel(net)
    assert ROUTER not in net.mover.ip(f"route get {PEER}")
    capture = Capture(net.router)

    replace_address(net.mover, *TEST_2)
    assert f"via {ROUTER}" in net.mover.ip(f"route get {PEER}")
    wait_until_moved(mover, peer, "192.168.1.222")
    mover.reach(peer.inner)

    forwarded = [packet for packet in capture.stop() if packet.protocol == UDP]
    assert {packet.source for packet in forwarded} == {"192.168.1.222"}


def test_without_promote_secondaries_the_new_address_goes_with_the_old(network) -> None:
    """Slide 7: the kernel deletes the secondary too. The tunnel waits, and so does the shell."""
    net = ethernet(network, TEST_1[0], promote_secondaries=0)
    mover, peer = tunnel(net)
    with open_shell(net, peer) as shell:
        pid = shell.ask("echo $$")
        before = inner_line(net.mover)

        replace_address(net.mover, *TEST_1)
        assert "inet 192.168.1." not in net.mover.ip("addr show dev eth0")
        wait_until(
            lambda: mover.peer(peer.keys.public)["state"].endswith("no address"),
            "the loss of the last address was not seen",
        )
        shell.type("echo typed while there was no address")
        net.mover.ip(f"addr add {TEST_1[1]} dev eth0")

        shell.expect("typed while there was no address")
        assert shell.ask("echo $$") == pid
        assert inner_line(net.mover) == before
        wait_until_moved(mover, peer, "192.168.1.2")


def test_the_address_is_deleted_before_there_is_another(network) -> None:
    """What slide 6 says cannot be done in 2007: no notice while the old address works."""
    net = ethernet(network, TEST_1[0])
    mover, peer = tunnel(net)
    with open_shell(net, peer) as shell:
        pid = shell.ask("echo $$")
        before = inner_line(net.mover)
        net.mover.ip(f"addr del {TEST_1[0]} dev eth0")
        net.mover.ip(f"addr add {TEST_1[1]} dev eth0")
        assert shell.ask("echo $$") == pid
        assert inner_line(net.mover) == before
        wait_until_moved(mover, peer, "192.168.1.2")
