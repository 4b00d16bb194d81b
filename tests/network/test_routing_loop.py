"""A default route into the tunnel, put there by hand, swallows the tunnel's own packets.

laptop 192.168.1.22 ──── nat1 ──── hub 203.0.113.101
"""

import time

import pytest
from behind_nat import HUB, internet
from ethernet import _both_know_sacip, at, wait_until

from sacip_tun.lab.tunnel import LabTunnel, Remote

pytestmark = pytest.mark.network


@pytest.fixture
def ends(network):
    """Both ends up; the laptop lets everything into the tunnel, and routes nothing there."""
    net = internet(network)
    mover = LabTunnel(net.mover, "10.9.0.2/24", options=("--table", "off"))
    hub = LabTunnel(net.hub, "10.9.0.1/24")
    hub.up(Remote(mover.keys.public))
    mover.up(Remote(hub.keys.public, at(HUB), ("0.0.0.0/0",)))
    net.mover.ip(f"route replace 10.9.0.1 dev {mover.name}")
    mover.reach(hub.inner)
    wait_until(lambda: _both_know_sacip(mover, hub), "HELLO was not exchanged")
    return mover, hub


def test_a_second_default_route_is_steered_around(ends) -> None:
    mover, hub = ends
    mover.host.ip("route add default via 192.168.1.1 metric 100")
    mover.host.ip(f"route replace default dev {mover.name}")
    mover.reach(hub.inner)
    assert mover.active(hub.keys.public, "local") == at("192.168.1.22")
    # What was sent before the route was seen may have gone round once, and is told for a while.
    wait_until(lambda: mover.status()["problem"] is None, "it goes on", patience=20.0)


def test_a_loop_is_cut_named_and_over_with_its_cause(ends) -> None:
    mover, hub = ends
    mover.host.ip(f"route replace default dev {mover.name}")
    deadline = time.monotonic() + 1.0
    while time.monotonic() < deadline:
        mover.host.run(["ping", "-c", "1", "-W", "1", hub.inner], check=False)
    status = mover.status()
    assert status["drops"]["our own outer packet, routed into the tunnel"]
    assert f"ip route add {HUB} via GATEWAY" in status["problem"]
    assert mover.command("status", mover.name).stdout.count("problem: packets to") == 1
    wait_until(lambda: mover.events("routing-loop"), "monitor says nothing")
    # Once each: nothing went round.
    assert mover.peer(hub.keys.public)["tx_bytes"] < 50_000
    mover.host.ip(f"route add {HUB} via 192.168.1.1")
    mover.reach(hub.inner)
