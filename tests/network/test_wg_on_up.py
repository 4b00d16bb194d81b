"""`wg` on interfaces that `sacip-tun up` made: seen, and changed while connections go on."""

import os
import signal
from functools import partial

import pytest
from ethernet import at, ethernet, tunnel, wait_until
from plain_tunnel import shown
from uapi_client import many_allowed_ips

from sacip_tun.lab.connection import Connection, survived
from sacip_tun.protocol.keys import to_base64

pytestmark = pytest.mark.network


def test_a_port_changes_and_a_peer_comes_and_goes_under_a_connection(network):
    net = ethernet(network, "192.168.1.2/24")
    mover, peer = tunnel(net)
    found = shown(net.peer, peer.name, "endpoints")
    assert found == {mover.keys.public: at("192.168.1.2")}
    connection = Connection(
        net.mover, net.peer, peer.inner, "--direction", "both", "--seconds", "3", "--rate", "20"
    )
    connection.wait_until_established()
    for end, other, port in ((mover, peer, 6001), (peer, mover, 6002)):
        end.host.run(["wg", "set", end.name, "listen-port", str(port)])
        wait_until(partial(is_told, other, end, port), "the other end is not told", 3)
    stranger = to_base64(os.urandom(32))
    lots = ",".join(f"10.77.{n // 256}.{n % 256}/32" for n in range(2000))
    net.peer.run(["wg", "set", peer.name, "peer", stranger, "allowed-ips", lots])
    assert len(peer.status()["peers"]) == 2
    net.peer.run(["wg", "set", peer.name, "peer", stranger, "remove"])
    assert len(peer.status()["peers"]) == 1
    ends = connection.finish()
    assert survived(*ends), ends
    # It was told, not found out: no other port was ever looked for.
    assert {event["reason"] for event in mover.events("moving")} == {"nat rebound"}


def is_told(asked, about, port: int) -> bool:
    return asked.active(about.keys.public, "remote").endswith(f":{port}")


def test_as_many_allowed_ips_as_wireguard_tests_with_come_and_go_while_packets_do(network):
    net = ethernet(network, "192.168.1.2/24")
    _, peer = tunnel(net)
    stranger = to_base64(os.urandom(32))
    pings = net.mover.start(["ping", "-n", "-i", "0.01", peer.inner])
    many = many_allowed_ips("10.77", "fd77")
    path = net.mover.network.directory / "many.conf"
    lines = "".join(f"AllowedIPs = {text}\n" for text in many)
    path.write_text(f"[Peer]\nPublicKey = {stranger}\n{lines}")
    net.peer.run(["wg", "addconf", peer.name, str(path)])
    found = shown(net.peer, peer.name, "allowed-ips")[stranger].split()
    assert len(found) == len(many) == 130_560
    assert many[-1] in found
    net.peer.run(["wg", "set", peer.name, "peer", stranger, "allowed-ips", "10.77.0.0/16"])
    net.peer.run(["wg", "set", peer.name, "peer", stranger, "remove"])
    pings.send_signal(signal.SIGINT)
    pings.wait(5)
    assert " 0% packet loss" in net.mover.log(pings)


def test_down_removes_the_socket_and_so_does_a_link_that_is_deleted(network):
    net = ethernet(network, "192.168.1.2/24")
    mover, peer = tunnel(net)
    net.mover.ip(f"link delete {mover.name}")
    peer.command("down", peer.name)
    for host, end in ((net.mover, mover), (net.peer, peer)):
        wait_until(
            lambda host=host, end=end: host.run(["wg", "show", end.name], check=False).returncode,
            "its socket is still there",
        )
