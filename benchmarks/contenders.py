"""What is compared in the handover benchmark: sacip-tun, wireguard-go, OpenVPN, and no tunnel.

Each is configured as its manual tells a user who moves, and not helped afterwards.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "network"))

from openvpn import OpenVpn
from places import Place
from plain_tunnel import PlainTunnel

from sacip_tun.lab.tunnel import LabTunnel, Remote
from sacip_tun.linux.errors import SetupError

Event = dict[str, Any]
HUB, MOVER = "10.9.0.1", "10.9.0.2"
# How long the two ends may take until both know that the other speaks SACIP, in seconds.
PATIENCE = 10.0
# OpenVPN: ping each 5 s, restart after 15 s without one (30 s at the hub). Its manual's example is
# 10 60; a user who moves makes it prompter. The other options keep the inner interface meanwhile.
FLOATING = ("--float", "--keepalive", "5", "15", "--persist-tun", "--persist-key")


@dataclass(frozen=True)
class Tunnel:
    """One that stands: where the hub is inside it, and how to look at it."""

    inner: str
    mover_interface: str | None = None
    mover_process: int | None = None
    ends: tuple[LabTunnel, ...] = ()

    def events(self) -> list[Event]:
        """Return what ours reported at both ends; `who` is the host."""
        return [{**event, "who": end.host.name} for end in self.ends for event in end.events()]


@dataclass(frozen=True)
class Contender:
    """One column of the table."""

    name: str
    up: Callable[[Place], Tunnel]
    patience: float
    """How long it is given to recover after the network has, in seconds."""


def sacip_tun(place: Place) -> Tunnel:
    hub, mover = LabTunnel(place.hub, f"{HUB}/24"), LabTunnel(place.mover, f"{MOVER}/24")
    hub.up(Remote(mover.keys.public))
    mover.up(Remote(hub.keys.public, f"{place.hub_at}:51820", keepalive=place.keepalive))
    mover.reach(HUB)
    _wait_for_sacip(hub, mover)
    return Tunnel(HUB, mover.name, mover.process_id, (mover, hub))


def _wait_for_sacip(hub: LabTunnel, mover: LabTunnel) -> None:
    deadline = time.monotonic() + PATIENCE
    while not (hub.peer(mover.keys.public)["sacip"] and mover.peer(hub.keys.public)["sacip"]):
        if time.monotonic() > deadline:
            raise SetupError("HELLO was not exchanged", f"the hub said: {hub.log}")
        time.sleep(0.05)


def wireguard_go(place: Place) -> Tunnel:
    try:
        return _wireguard_go(place)
    except AssertionError:
        # Where two of them start in one moment, one may end with "Failed to listen on uapi socket:
        # no such file or directory". That says nothing about moves.
        return _wireguard_go(place)


def _wireguard_go(place: Place) -> Tunnel:
    hub, mover = PlainTunnel(place.hub, f"{HUB}/24"), PlainTunnel(place.mover, f"{MOVER}/24")
    hub.up(Remote(mover.keys.public, allowed=(f"{MOVER}/32",)))
    endpoint = f"{place.hub_at}:51820"
    mover.up(Remote(hub.keys.public, endpoint, allowed=(f"{HUB}/32",), keepalive=place.keepalive))
    place.mover.run(["ping", "-c", "1", "-W", "10", HUB])
    return Tunnel(HUB, mover.name, mover.process.pid)


def openvpn(place: Place) -> Tunnel:
    made = OpenVpn(place.hub, place.mover, place.hub_at, *FLOATING)
    return Tunnel(made.inner, mover_process=made.processes[1].pid)


def nothing(place: Place) -> Tunnel:
    return Tunnel(place.hub_at)


OURS = "sacip-tun"
CONTENDERS = {
    contender.name: contender
    for contender in (
        Contender(OURS, sacip_tun, 40),
        Contender("wireguard-go", wireguard_go, 40),
        Contender("openvpn", openvpn, 40),
        # Nothing in TCP or in the kernel looks for another address: there is nothing to wait for.
        Contender("no tunnel", nothing, 10),
    )
}
