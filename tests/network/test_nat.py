"""Moves from NAT to NAT, and NATs that move us without a word, under a live connection."""

import time

import pytest
from behind_nat import HUB, MOVER, WAN, internet, is_seen_at, seen_at, tunnels
from ethernet import at, wait_until

from sacip_tun.lab.connection import Connection, survived

pytestmark = pytest.mark.network

# As in test_move_download: far from what happens when nobody notices. In ms.
PROMPT = 1000.0
# A NAT that forgot a mapping is noticed with the next packet from inside; a sender outside can only
# wait for one. Without keepalives of TCP's own that would be the next one of ours.
DIRECTIONS = ["both", "download", "upload"]


def flow(net, hub, direction: str, seconds: float = 4.0, port: int = 5001) -> Connection:
    options = ("--direction", direction, "--seconds", str(seconds), "--rate", "10")
    connection = Connection(net.mover, net.hub, hub.inner, *options, port=port)
    connection.wait_until_established()
    time.sleep(1.0)
    return connection


def assert_prompt(connection: Connection, limit: float = PROMPT) -> None:
    mover, hub = connection.finish()
    assert survived(mover, hub), (mover, hub)
    assert max(end["longest_silence_ms"] for end in (mover, hub)) < limit, (mover, hub)


def test_the_translated_address_is_told_and_shown(network) -> None:
    net = internet(network)
    mover, hub = tunnels(net)
    seen = seen_at(hub, mover)
    assert seen.startswith(WAN["nat1"])
    assert mover.peer(hub.keys.public)["observed"] == seen
    assert mover.active(hub.keys.public, "local") == at(MOVER)
    assert hub.peer(mover.keys.public)["observed"] == at(HUB)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_from_one_nat_to_another_by_another_interface(network, direction) -> None:
    net = internet(network)
    mover, hub = tunnels(net)
    connection = flow(net, hub, direction)
    net.mover.ip("addr add 192.168.2.22/24 dev eth1")
    net.mover.ip("route add default via 192.168.2.1 metric 10")
    time.sleep(0.3)
    net.mover.ip("link set eth0 down")
    net.mover.ip("route replace default via 192.168.2.1")
    assert_prompt(connection)
    wait_until(is_seen_at(hub, mover, WAN["nat2"], 62000), "the hub did not follow to nat2")
    assert mover.peer(hub.keys.public)["observed"] == seen_at(hub, mover)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_rebinding_under_traffic_without_any_local_event(network, direction) -> None:
    net = internet(network)
    mover, hub = tunnels(net)
    connection = flow(net, hub, direction)
    net.nat1.rebind(63000)
    assert_prompt(connection)
    wait_until(is_seen_at(hub, mover, WAN["nat1"], 63000), "the hub did not follow")
