"""The outer network is IPv6; what is inside the tunnel stays IPv4.

mover                           peer
10.9.0.2 ◄══════ tunnel ══════► 10.9.0.1
eth0 fd00::22 → fd00::2         eth0 fd00::101
"""

import time

import pytest
from ethernet import PEER, PEER_V6, at, ethernet, tunnel, wait_until_moved
from test_move_download import assert_prompt, download

pytestmark = pytest.mark.network

OLD, NEW = "fd00::22/64", "fd00::2/64"


def test_new_address_added_then_old_one_deleted(network) -> None:
    net = ethernet(network, OLD)
    mover, peer = tunnel(net, PEER_V6)
    connection = download(net, peer.inner)
    net.mover.ip(f"addr add {NEW} dev eth0")
    time.sleep(0.3)
    net.mover.ip(f"addr del {OLD} dev eth0")
    assert_prompt(connection)
    wait_until_moved(mover, peer, "fd00::2")


def test_old_address_deleted_then_new_one_added(network) -> None:
    net = ethernet(network, OLD)
    mover, peer = tunnel(net, PEER_V6)
    connection = download(net, peer.inner)
    net.mover.ip(f"addr del {OLD} dev eth0")
    time.sleep(0.5)
    net.mover.ip(f"addr add {NEW} dev eth0")
    assert_prompt(connection, outage=0.5)
    wait_until_moved(mover, peer, "fd00::2")


def test_deprecated_address_is_left_while_it_still_works(network) -> None:
    """What a router does that renumbers its network (RFC 4192): the old prefix is deprecated."""
    net = ethernet(network, OLD)
    mover, peer = tunnel(net, PEER_V6)
    connection = download(net, peer.inner)
    net.mover.ip(f"addr add {NEW} dev eth0")
    net.mover.ip(f"addr change {OLD} dev eth0 preferred_lft 0")
    wait_until_moved(mover, peer, "fd00::2")
    net.mover.ip(f"addr del {OLD} dev eth0")
    assert_prompt(connection)


def test_ipv4_addresses_of_no_concern_cause_no_move(network) -> None:
    net = ethernet(network, OLD)
    mover, peer = tunnel(net, PEER_V6)
    for number in range(5):
        net.mover.ip(f"addr add 192.168.1.{30 + number}/24 dev eth0")
        net.mover.ip(f"addr del 192.168.1.{30 + number}/24 dev eth0")
    mover.reach(peer.inner)
    document = mover.peer(peer.keys.public)
    assert document["moves"] == []
    assert document["local"]["slots"] == [at("fd00::22"), None]
    assert PEER not in str(document["remote"])
