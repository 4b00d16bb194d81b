"""Which addresses of this host a peer may try when it has lost us, best first.

A peer that is told an address too many only asks in vain; one that is told an inner address might
send the tunnel through itself. So what other tunnels have is left out, and what containers and
virtual machines have where the host itself goes out by something else.
"""

from collections.abc import Collection, Iterable, Mapping
from itertools import chain, zip_longest

from sacip_tun.linux.addresses import SCOPE_LINK, Address, Link
from sacip_tun.linux.routes import Route, RouteKind
from sacip_tun.protocol.address import Host

# Two of each family on two uplinks: more would only make hunting slower.
MAX_CANDIDATES = 8
# Drivers of what runs over other links, as IFLA_INFO_KIND names them.
TUNNELS = frozenset({"ovpn", "ovpn-dco", "tun", "wireguard"})
# Drivers of what often has no way out of this host: docker0, virbr0, a pod's end.
INTERNAL = frozenset({"bridge", "dummy", "veth", "vxlan"})
# Behind every real metric, which is 32 bits wide.
NO_DEFAULT_ROUTE = 1 << 32

# The best metric of the default routes by an interface, for each family.
Uplinks = Mapping[tuple[int, int], int]


def candidates(
    links: Mapping[int, Link],
    addresses: Iterable[Address],
    routes: Iterable[Route],
    exclude: Collection[int] = (),
    versions: Collection[int] = (4, 6),
) -> tuple[Host, ...]:
    """Return at most MAX_CANDIDATES addresses, those with a default route first.

    `exclude` holds the tunnel's own interfaces, `versions` the families of its sockets. The
    families take turns, so that a peer that has one alone finds some of it early.
    """
    uplinks = _uplinks(links, routes, exclude)
    usable = [
        address
        for address in addresses
        if address.host.version in versions
        and address.interface not in exclude
        and _can_be_found(address, links.get(address.interface), uplinks)
    ]
    usable.sort(key=lambda address: _rank(address, uplinks))
    families = ([a.host for a in usable if a.host.version == version] for version in (6, 4))
    turns = chain.from_iterable(zip_longest(*families))
    found = dict.fromkeys(host for host in turns if host is not None)
    return tuple(found)[:MAX_CANDIDATES]


def _uplinks(
    links: Mapping[int, Link], routes: Iterable[Route], exclude: Collection[int]
) -> Uplinks:
    metrics: dict[tuple[int, int], int] = {}
    for route in routes:
        if route.destination.prefixlen or route.kind != RouteKind.UNICAST or not route.alive:
            continue
        link = links.get(route.interface)
        if link is None or not link.usable or link.kind in TUNNELS or link.index in exclude:
            continue
        place = (route.interface, route.destination.version)
        metrics[place] = min(route.metric, metrics.get(place, NO_DEFAULT_ROUTE))
    return metrics


def _can_be_found(address: Address, link: Link | None, uplinks: Uplinks) -> bool:
    host = address.host
    if link is None or not link.usable or link.kind in TUNNELS:
        return False
    if address.tentative or address.deprecated or address.scope >= SCOPE_LINK:
        return False
    if host.is_loopback or host.is_link_local or host.is_multicast or host.is_unspecified:
        return False
    leads_out = any(interface == link.index for interface, _ in uplinks)
    return leads_out or not uplinks or link.kind not in INTERNAL


def _rank(address: Address, uplinks: Uplinks) -> tuple[int, bool]:
    place = (address.interface, address.host.version)
    return (uplinks.get(place, NO_DEFAULT_ROUTE), address.temporary)
