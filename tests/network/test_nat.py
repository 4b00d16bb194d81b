"""Moves from NAT to NAT, and NATs that move us without a word, under a live connection."""

import time

import pytest
from behind_nat import HUB, MOVER, WAN, StrictTunnel, internet, is_seen_at, seen_at, tunnels
from capture import UDP, Capture
from ethernet import at, wait_until

from sacip_tun.lab.connection import Connection, survived
from sacip_tun.protocol.remote_move import CHECKS_SPAN

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


@pytest.mark.parametrize(("pause", "times"), [(1.0, 4), (0.3, 8), (0.1, 12)])
def test_rebinding_again_and_again(network, pause, times) -> None:
    """Faster than strangers are checked, too (CHECKS_SPAN): then the last one counts."""
    net = internet(network)
    mover, hub = tunnels(net)
    connection = flow(net, hub, "download", seconds=pause * times + 4.0)
    for count in range(times):
        net.nat1.rebind(63000 + 100 * count)
        time.sleep(pause)
    assert_prompt(connection, CHECKS_SPAN * 1000 + PROMPT)
    last = 63000 + 100 * (times - 1)
    wait_until(is_seen_at(hub, mover, WAN["nat1"], last), "the hub did not follow")
    moves = [event for event in hub.events("moved") if event["side"] == "remote"]
    # A NAT that is being set up anew may show two faces.
    assert 0 < len(moves) <= 2 * times, moves


def test_rebinding_while_idle_is_noticed_by_the_next_packet_of_either_side(network) -> None:
    net = internet(network)
    mover, hub = tunnels(net)
    net.nat1.rebind(63000)
    mover.host.run(["ping", "-c", "1", "-W", "2", hub.inner], check=False)
    wait_until(is_seen_at(hub, mover, WAN["nat1"], 63000), "the hub did not follow")
    hub.reach(mover.inner)


def test_another_gateway_on_the_same_link_and_the_old_one_dies(network) -> None:
    """The mover keeps its address: only its packets tell the hub that another NAT is there."""
    net = internet(network)
    mover, hub = tunnels(net)
    net.nat2.host.plug(net.lan1, "eth2", "192.168.1.2/24")
    connection = flow(net, hub, "both")
    net.mover.ip("route replace default via 192.168.1.2")
    net.nat1.host.ip("link set eth0 down")
    assert_prompt(connection)
    wait_until(is_seen_at(hub, mover, WAN["nat2"], 62000), "the hub did not follow to nat2")


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_both_behind_a_nat(network, direction) -> None:
    """The hub is found by a port forward; the mover's NAT moves it meanwhile."""
    net = internet(network, hub_inside=True)
    mover, hub = tunnels(net, WAN["nat3"])
    assert hub.peer(mover.keys.public)["observed"] == at(WAN["nat3"])
    assert hub.peer(mover.keys.public)["nat"] is True
    connection = flow(net, hub, direction)
    net.nat1.rebind(63000)
    assert_prompt(connection)
    wait_until(is_seen_at(hub, mover, WAN["nat1"], 63000), "the hub did not follow")


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_from_a_nat_to_a_public_address_and_back(network, direction) -> None:
    net = internet(network)
    net.mover.plug(net.wan, "eth2")
    mover, hub = tunnels(net)
    assert mover.peer(hub.keys.public)["nat"] is True
    connection = flow(net, hub, direction, seconds=6.0)
    net.mover.ip("addr add 203.0.113.50/24 dev eth2")
    wait_until(lambda: seen_at(hub, mover) == at("203.0.113.50"), "no move to the public address")
    assert mover.peer(hub.keys.public)["nat"] is False
    time.sleep(0.5)
    net.mover.ip("addr del 203.0.113.50/24 dev eth2")
    assert_prompt(connection)
    wait_until(is_seen_at(hub, mover, WAN["nat1"], 61000), "no way back")
    wait_until(lambda: mover.peer(hub.keys.public)["nat"] is True, "the NAT was not seen again")


def test_strict_refuses_a_rebinding_and_says_so(network) -> None:
    net = internet(network)
    mover, hub = tunnels(net, kind=StrictTunnel)
    before = seen_at(hub, mover)
    net.nat1.rebind(63000)
    mover.host.run(["ping", "-c", "3", "-i", "0.3", "-W", "1", hub.inner], check=False)
    (refused, *_) = hub.events("move-refused")
    assert refused["observed"].startswith(f"{WAN['nat1']}:63")
    assert "strict" in refused["why"]
    assert seen_at(hub, mover) == before


def test_strict_refuses_a_change_that_claims_what_is_not_seen(network) -> None:
    net = internet(network)
    mover, hub = tunnels(net, kind=StrictTunnel)
    before = seen_at(hub, mover)
    net.mover.ip("addr add 192.168.1.23/24 dev eth0")
    net.mover.ip(f"addr del {MOVER}/24 dev eth0")
    wait_until(lambda: mover.events("hunting"), "the mover got an answer")
    claims = [event for event in hub.events("move-refused") if event["claimed"]]
    assert claims[0]["claimed"] == at("192.168.1.23")
    assert claims[0]["observed"].startswith(WAN["nat1"])
    assert seen_at(hub, mover) == before


def test_a_victim_gets_at_most_three_times_what_its_address_sent(network) -> None:
    """The mover lies about its source, and moves there, while the hub sends 20 Mbit/s."""
    net = internet(network)
    victim = network.host("victim")
    victim.plug(net.wan, "eth0", "203.0.113.66/24")
    mover, hub = tunnels(net)
    options = ("--direction", "download", "--seconds", "4", "--rate", "20")
    connection = Connection(net.mover, net.hub, hub.inner, *options)
    connection.wait_until_established()
    time.sleep(1.0)
    at_hub, at_victim = Capture(net.hub), Capture(victim)
    net.nat1.pretend("203.0.113.66")
    for last in range(40, 46):
        net.mover.ip(f"addr add 192.168.1.{last}/24 dev eth0")
        net.mover.ip(
            f"addr del 192.168.1.{MOVER.rpartition('.')[2] if last == 40 else last - 1}/24 dev eth0"
        )
        time.sleep(0.5)
    time.sleep(1.5)
    came = [p for p in at_hub.stop() if p.source == "203.0.113.66" and p.protocol == UDP]
    went = [p for p in at_victim.stop() if p.source == HUB and p.protocol == UDP]
    received, sent = (sum(len(packet.payload) for packet in side) for side in (came, went))
    assert came
    assert went, "no trial was made"
    # Credit of the first trial: what the peer sent from its own address in the last two seconds.
    assert sent <= 3 * received + 64 * 1024, (sent, received)
    verdicts = {event["verdict"] for event in hub.events("path-checked")}
    assert "the new address never answered: back to the old" in verdicts
    assert "the new address answered" not in verdicts
    net.nat1.masquerade(61000)
    net.nat1.forget()
    mover.reach(hub.inner)
    connection.finish()


@pytest.mark.alone
def test_a_nat_that_forgets_after_seconds_is_kept_open(network) -> None:
    """18 s: below the first interval, so that it has to be found. No inner packet helps.

    A question that is answered late tells nothing, and the next one is most of a minute away.
    """
    net = internet(network)
    net.nat1.forget_after(18)
    mover, hub = tunnels(net)
    assert mover.peer(hub.keys.public)["keepalive"] == 25

    def found() -> bool:
        return mover.peer(hub.keys.public)["keepalive"] < 18

    wait_until(found, "the interval does not come down", patience=180)
    wait_until(lambda: mover.peer(hub.keys.public)["remote_move"] == "settled", "no end")
    moves = len(hub.peer(mover.keys.public)["moves"])
    time.sleep(20)
    hub.host.run(["ping", "-c", "1", "-W", "2", mover.inner])
    assert len(hub.peer(mover.keys.public)["moves"]) == moves
