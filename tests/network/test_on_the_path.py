"""Somebody between mover and hub copies, races, rewrites and replays; he has no keys.

mover 203.0.113.22 ── near ── relay (a bridge) ── far ── hub 203.0.113.101
                              203.0.113.66, answering for itself on the hub's side
"""

import subprocess
import sys
import time

import pytest
from behind_nat import HUB, StrictTunnel, seen_at
from capture import Capture
from ethernet import _both_know_sacip, at, wait_until

from sacip_tun.lab.connection import Connection, survived
from sacip_tun.lab.tunnel import LabTunnel, Remote

pytestmark = pytest.mark.network

MOVER, RELAY = "203.0.113.22", "203.0.113.66"


class Attacker:
    def __init__(self, network, near, far) -> None:
        self.host = network.host("relay")
        # Its own address is on the hub's side; the bridge is the process below.
        self.host.plug(near, "eth0")
        self.host.plug(far, "eth1", f"{RELAY}/24")
        command = [sys.executable, "-m", "sacip_tun.lab.relay", "eth0", "eth1", "--as", RELAY]
        self._process = self.host.start(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout.readline() == "ready\n"

    def close(self) -> None:
        self._process.stdin.close()
        self._process.stdout.close()

    def order(self, line: str) -> None:
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == f"{line}\n"


@pytest.fixture
def attacked(network):
    """Return a function that brings both ends up, the hub being of the kind that is asked for."""
    near, far = network.segment("near"), network.segment("far")
    mover_host, hub_host = network.host("mover"), network.host("hub")
    attacker = Attacker(network, near, far)
    mover_host.plug(near, "eth0", f"{MOVER}/24")
    hub_host.plug(far, "eth0", f"{HUB}/24")

    def up(kind=LabTunnel):
        mover, hub = LabTunnel(mover_host, "10.9.0.2/24"), kind(hub_host, "10.9.0.1/24")
        hub.up(Remote(mover.keys.public, allowed=("10.9.0.2/32",)))
        mover.up(Remote(hub.keys.public, at(HUB)))
        mover.reach(hub.inner)
        wait_until(lambda: _both_know_sacip(mover, hub), "HELLO was not exchanged")
        return mover, hub, attacker

    yield up
    attacker.close()


def flow(mover, hub, seconds=4.0) -> Connection:
    options = ("--seconds", str(seconds), "--rate", "5")
    connection = Connection(mover.host, hub.host, hub.inner, *options)
    connection.wait_until_established()
    time.sleep(0.5)
    return connection


def test_a_racing_copier_moves_a_strict_hub_nowhere(attacked) -> None:
    mover, hub, attacker = attacked(StrictTunnel)
    connection = flow(mover, hub)
    capture = Capture(attacker.host, "eth1")
    attacker.order("race 10")
    time.sleep(2.0)
    attacker.order("pass")
    assert survived(*connection.finish())
    assert not [packet for packet in capture.stop() if packet.destination == RELAY]
    assert hub.events("moved") == []
    assert hub.events("move-refused")
    assert seen_at(hub, mover) == at(MOVER)


def test_a_racing_copier_is_left_when_it_stops(attacked) -> None:
    mover, hub, attacker = attacked()
    connection = flow(mover, hub)
    attacker.order("race 10")
    time.sleep(1.5)
    attacker.order("pass")
    stopped = time.time()
    mover_saw, hub_saw = connection.finish()
    assert survived(mover_saw, hub_saw), (mover_saw, hub_saw)
    assert seen_at(hub, mover) == at(MOVER)
    late = [e for e in hub.events("moved") if e["time_unix"] > stopped]
    # Three round trips are below the least time of a check, 100 ms; a processor is shared.
    assert all(event["time_unix"] - stopped < 1.0 for event in late)


def test_who_rewrites_is_taken_for_a_nat_and_left_when_gone(attacked) -> None:
    mover, hub, attacker = attacked()
    connection = flow(mover, hub, seconds=6.0)
    attacker.order("rewrite")
    wait_until(lambda: seen_at(hub, mover) == at(RELAY), "it is not taken for a NAT")
    attacker.order("pass")
    wait_until(lambda: seen_at(hub, mover) == at(MOVER), "the relay is not left")
    assert survived(*connection.finish())


@pytest.mark.parametrize("how", ["replay", "replay as-is"])
def test_a_replay_of_everything_moves_nothing(attacked, how) -> None:
    """Twice: the second time after the mover has left, from the address that it had."""
    mover, hub, attacker = attacked()
    assert survived(*flow(mover, hub, seconds=1.5).finish())
    attacker.order(how)
    assert hub.events("moved") == []
    mover.host.ip("addr add 203.0.113.23/24 dev eth0")
    mover.host.ip(f"addr del {MOVER}/24 dev eth0")
    wait_until(lambda: seen_at(hub, mover) == at("203.0.113.23"), "no move")
    moves = len(hub.events("moved"))
    capture = Capture(attacker.host, "eth1")
    attacker.order(how)
    mover.reach(hub.inner)
    time.sleep(0.5)
    answers = [p for p in capture.stop() if p.source == HUB and p.destination in {RELAY, MOVER}]
    assert not [packet for packet in answers if packet.destination_port == 51820]
    assert len(hub.events("moved")) == moves
    assert seen_at(hub, mover) == at("203.0.113.23")
    assert hub.status()["drops"]["counter seen or too old"] > 500


@pytest.mark.parametrize("order", ["reorder 8", "delay 40"])
def test_disorder_moves_nothing_and_breaks_nothing(attacked, order) -> None:
    mover, hub, attacker = attacked()
    connection = flow(mover, hub)
    attacker.order(order)
    time.sleep(1.5)
    attacker.order("pass")
    assert survived(*connection.finish())
    assert hub.events("moved") == []
