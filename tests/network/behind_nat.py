"""A mover behind one or two translating routers, and a hub on the internet or behind its own.

mover                    nat1 .1 ── 203.0.113.1 ─┐
eth0  192.168.1.22 ──────┤                       ├── hub eth0 203.0.113.101
eth1  192.168.2.22 ──── nat2 .1 ── 203.0.113.2 ──┘       (or behind nat3, 203.0.113.3)
"""

from dataclasses import dataclass

from ethernet import _both_know_sacip, at, wait_until
from written import WrittenTunnel

from sacip_tun.lab.namespaces import Host, Network, Segment
from sacip_tun.lab.nat import Nat
from sacip_tun.lab.tunnel import LabTunnel, Remote

HUB = "203.0.113.101"
MOVER = "192.168.1.22"
WAN = {"nat1": "203.0.113.1", "nat2": "203.0.113.2", "nat3": "203.0.113.3"}


@dataclass(frozen=True)
class Internet:
    network: Network
    wan: Segment
    lan1: Segment
    lan2: Segment
    mover: Host
    hub: Host
    nat1: Nat
    nat2: Nat


def router(network: Network, wan: Segment, lan: Segment, name: str, inside: str) -> Nat:
    host = network.host(name)
    host.plug(lan, "eth0", inside)
    host.plug(wan, "eth1", f"{WAN[name]}/24")
    return Nat(host, outside="eth1")


def internet(network: Network, *, hub_inside: bool = False) -> Internet:
    """Build it: the mover's default route leads through nat1, and eth1 has no address."""
    wan, lan1, lan2 = network.segment("wan"), network.segment("lan1"), network.segment("lan2")
    mover, hub = network.host("mover"), network.host("hub")
    nat1 = router(network, wan, lan1, "nat1", "192.168.1.1/24")
    nat2 = router(network, wan, lan2, "nat2", "192.168.2.1/24")
    nat1.masquerade(61000)
    nat2.masquerade(62000)
    mover.plug(lan1, "eth0", f"{MOVER}/24")
    mover.plug(lan2, "eth1")
    mover.ip("route add default via 192.168.1.1")
    if hub_inside:
        lan3 = network.segment("lan3")
        nat3 = router(network, wan, lan3, "nat3", "192.168.3.1/24")
        nat3.masquerade()
        nat3.forward(51820, "192.168.3.101")
        hub.plug(lan3, "eth0", "192.168.3.101/24")
        hub.ip("route add default via 192.168.3.1")
    else:
        hub.plug(wan, "eth0", f"{HUB}/24")
    return Internet(network, wan, lan1, lan2, mover, hub, nat1, nat2)


def tunnels(
    net: Internet, towards: str = HUB, kind: type[LabTunnel] = LabTunnel
) -> tuple[LabTunnel, LabTunnel]:
    """Our tunnel on both ends, up; the mover calls. `kind` is the hub's."""
    mover, hub = LabTunnel(net.mover, "10.9.0.2/24"), kind(net.hub, "10.9.0.1/24")
    hub.up(Remote(mover.keys.public, allowed=("10.9.0.2/32",)))
    mover.up(Remote(hub.keys.public, at(towards)))
    mover.reach(hub.inner)
    wait_until(lambda: _both_know_sacip(mover, hub), "HELLO was not exchanged")
    return mover, hub


class StrictTunnel(WrittenTunnel):
    """Our tunnel with `Nat = strict`."""

    def __init__(self, host: Host, address: str) -> None:
        super().__init__(host, address, ("Nat = strict",))


def seen_at(hub: LabTunnel, mover: LabTunnel) -> str:
    """Where the hub sends to."""
    return hub.active(mover.keys.public, "remote") or ""


def is_seen_at(hub: LabTunnel, mover: LabTunnel, host: str, ports: int):
    """Tell whether the hub sends to `host`, to a port of the range that begins with `ports`."""

    def so() -> bool:
        seen, _, port = seen_at(hub, mover).rpartition(":")
        return seen == host and ports <= int(port) < ports + 100

    return so
