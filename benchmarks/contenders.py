"""What the benchmarks compare: sacip-tun, wireguard-go, boringtun, OpenVPN, and no tunnel.

Each is configured as its manual tells a user who moves, and not helped afterwards.
"""

import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "network"))

from openvpn import OpenVpn
from places import Place
from plain_tunnel import BORINGTUN, WIREGUARD_GO, PlainTunnel, Program

from sacip_tun.lab.namespaces import Host
from sacip_tun.lab.tunnel import LabTunnel, Remote
from sacip_tun.linux.errors import SetupError

Event = dict[str, Any]
HUB, MOVER = "10.9.0.1", "10.9.0.2"
# Where the mover is in the places of the benchmark of throughput.
MOVER_AT = "192.168.1.22"
# How long the two ends may take until both know that the other speaks SACIP, in seconds.
PATIENCE = 10.0
# OpenVPN: ping each 5 s, restart after 15 s without one (30 s at the hub). Its manual's example is
# 10 60; a user who moves makes it prompter. The other options keep the inner interface meanwhile.
FLOATING = ("--float", "--keepalive", "5", "15", "--persist-tun", "--persist-key")


@dataclass(frozen=True)
class Tunnel:
    """One that stands: where the hub is inside it, and how to look at it."""

    inner: str
    processes: tuple[int, ...] = ()
    """The daemons: the hub's, then the mover's."""
    mover_interface: str | None = None
    ends: tuple[LabTunnel, ...] = ()

    @property
    def mover_process(self) -> int | None:
        return self.processes[-1] if self.processes else None

    def events(self) -> list[Event]:
        """Return what ours reported at both ends; `who` is the host."""
        return [{**event, "who": end.host.name} for end in self.ends for event in end.events()]


@dataclass(frozen=True)
class Contender:
    """One that is measured."""

    name: str
    up: Callable[[Place], Tunnel]
    patience: float = 40.0
    """How long it is given to recover after the network has, in seconds."""


def sacip_tun(place: Place) -> Tunnel:
    return ours(place)


def offloads_off(place: Place) -> Tunnel:
    return ours(place, lines=("Offload = off",))


def ours(place: Place, crowd: tuple[Remote, ...] = (), lines: tuple[str, ...] = ()) -> Tunnel:
    """Bring ours up; a `crowd` is known to the hub, `lines` are in both [Interface] sections."""
    hub, mover = LabTunnel(place.hub, f"{HUB}/24"), LabTunnel(place.mover, f"{MOVER}/24")
    hub.up_from_file(Remote(mover.keys.public, allowed=(f"{MOVER}/32",)), *crowd, lines=lines)
    endpoint = f"{place.hub_at}:51820"
    there = Remote(hub.keys.public, endpoint, (f"{HUB}/32",), keepalive=place.keepalive)
    mover.up_from_file(there, lines=lines)
    mover.reach(HUB)
    _wait_for_sacip(hub, mover)
    return Tunnel(HUB, _process_ids(hub, mover), mover.name, (mover, hub))


def _process_ids(*ends: LabTunnel) -> tuple[int, ...]:
    return tuple(end.process_id for end in ends if end.process_id is not None)


def _wait_for_sacip(hub: LabTunnel, mover: LabTunnel) -> None:
    deadline = time.monotonic() + PATIENCE
    while not (hub.peer(mover.keys.public)["sacip"] and mover.peer(hub.keys.public)["sacip"]):
        if time.monotonic() > deadline:
            raise SetupError("HELLO was not exchanged", f"the hub said: {hub.log}")
        time.sleep(0.05)


def wireguard_go(place: Place) -> Tunnel:
    try:
        return _plain(place, WIREGUARD_GO)
    except AssertionError:
        # Where two of them start in one moment, one may end with "Failed to listen on uapi socket:
        # no such file or directory". That says nothing about moves.
        return _plain(place, WIREGUARD_GO)


def boringtun(place: Place) -> Tunnel:
    return _plain(place, BORINGTUN)


def _plain(place: Place, program: Program) -> Tunnel:
    ends = (
        PlainTunnel(place.hub, f"{HUB}/24", program),
        PlainTunnel(place.mover, f"{MOVER}/24", program),
    )
    hub, mover = ends
    hub.up(Remote(mover.keys.public, allowed=(f"{MOVER}/32",)))
    endpoint = f"{place.hub_at}:51820"
    mover.up(Remote(hub.keys.public, endpoint, allowed=(f"{HUB}/32",), keepalive=place.keepalive))
    place.mover.run(["ping", "-c", "1", "-W", "10", HUB])
    processes = tuple(end.process.pid for end in ends if end.process is not None)
    return Tunnel(HUB, processes, mover.name)


def openvpn(place: Place) -> Tunnel:
    made = OpenVpn(place.hub, place.mover, place.hub_at, *FLOATING)
    return Tunnel(made.inner, tuple(process.pid for process in made.processes))


def least(place: Place) -> Tunnel:
    """Two ends of the yardstick (least.py)."""
    program = str(Path(__file__).with_name("least.py"))
    ends = ((place.hub, place.mover, HUB), (place.mover, place.hub, MOVER))
    for host, other, inner in ends:
        at = place.hub_at if other is place.hub else MOVER_AT
        host.start([sys.executable, program, at, f"{inner}/24"])
    place.mover.run(
        ["sh", "-c", f"until ping -c 1 -W 1 {HUB}; do sleep 0.1; done"], timeout=PATIENCE
    )
    return Tunnel(HUB)


def nothing(place: Place) -> Tunnel:
    return Tunnel(place.hub_at)


def cut(place: Place) -> Tunnel:
    """Ours where no batch of UDP_SEGMENT passes the veth whole. Raises SetupError."""
    for host in (place.hub, place.mover):
        _ethtool(host, "eth0", "tx-udp-segmentation", "off", "gro", "off")
    return sacip_tun(place)


def gathered(place: Place) -> Tunnel:
    """As `cut`, and the receiver's GRO gathers what it can, as it does behind a network card."""
    for host in (place.hub, place.mover):
        _ethtool(host, "eth0", "tx-udp-segmentation", "off", "gro", "on")
    # A veth gives only that to GRO which comes from a device without TSO.
    segment = place.others["lan"]
    for line in segment.ip("-brief link show type veth").splitlines():
        _ethtool(segment, line.partition("@")[0], "tso", "off")
    return sacip_tun(place)


def _ethtool(host: Host, interface: str, *features: str) -> None:
    if shutil.which("ethtool") is None:
        raise SetupError("the command `ethtool` is missing", "tools/system-packages bench")
    host.run(["ethtool", "-K", interface, *features])


def _by_name(*contenders: Contender) -> dict[str, Contender]:
    return {contender.name: contender for contender in contenders}


OURS = "sacip-tun"
# Of these one TCP flow is measured, and nothing else; of the yardstick the idle round trip.
CUT, GATHERED = "sacip-tun, cut before the wire", "sacip-tun, cut and gathered by GRO"
LEAST = "the least in Python"
WIREGUARD, OPENVPN, BARE = "wireguard-go", "openvpn", "no tunnel"
_OURS, _GO, _OPENVPN = (
    Contender(OURS, sacip_tun),
    Contender(WIREGUARD, wireguard_go),
    Contender(OPENVPN, openvpn),
)
# Nothing in TCP or in the kernel looks for another address: there is nothing to wait for.
_NOTHING = Contender(BARE, nothing, patience=10)
# Of the handover benchmark.
CONTENDERS = _by_name(_OURS, _GO, _OPENVPN, _NOTHING)
# Of the benchmark of throughput.
CARRIERS = _by_name(
    _OURS,
    Contender("sacip-tun, offloads off", offloads_off),
    _GO,
    _OPENVPN,
    Contender("boringtun", boringtun),
    _NOTHING,
    Contender(CUT, cut),
    Contender(GATHERED, gathered),
    Contender(LEAST, least),
)
