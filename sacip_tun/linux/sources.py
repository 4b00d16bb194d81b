"""Which of this host's addresses can be the source of a datagram to a remote, best first.

First comes what the kernel would choose by itself: the route it looks up, with that route's source
or the best address by the rules of inet_select_addr (IPv4) or RFC 6724 section 5 (IPv6). Then come
the other addresses of interfaces that have a route to the remote.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network

from sacip_tun.linux.addresses import SCOPE_LINK, Address, Link
from sacip_tun.linux.routes import Route, RouteKind, RoutingTables
from sacip_tun.protocol.address import Host

# The policy table of Linux (net/ipv6/addrlabel.c), longest prefixes first.
LABELS = tuple(
    (IPv6Network(prefix), label)
    for prefix, label in (
        ("::1/128", 0),
        ("::/96", 3),
        ("::ffff:0:0/96", 4),
        ("2001::/32", 6),
        ("2001:10::/28", 7),
        ("2002::/16", 2),
        ("fc00::/7", 5),
        ("::/0", 1),
    )
)


@dataclass(frozen=True, slots=True)
class Source:
    """A usable local address.

    `on_kernel_route`: its interface is the one the kernel's routing takes, so that the address
    alone is enough; elsewhere the datagram must be steered to `interface`. `gateway` is the next
    hop from this address, None on the remote's own link.
    """

    host: Host
    interface: int
    deprecated: bool = False
    on_kernel_route: bool = False
    gateway: Host | None = None


@dataclass(frozen=True)
class SourceChooser:
    """Chooses sources from one state of this host."""

    links: Mapping[int, Link]
    addresses: tuple[Address, ...]
    routing: RoutingTables
    mark: int = 0
    exclude: frozenset[int] = frozenset()

    def towards(self, remote: Host, interface: int = 0) -> list[Source]:
        """Return the sources for `remote`, best first; `interface` is a link-local one's scope."""
        kernel = self.kernel_route(remote, interface)
        first = self.kernel_source(remote, kernel) if kernel else None
        found = [first] if first else []
        found += (
            other
            for other in self._others(remote, kernel, interface)
            if first is None or other.host != first.host
        )
        # Deprecated addresses last, each group in the order it has.
        return sorted(dict.fromkeys(found), key=lambda source: source.deprecated)

    def kernel_route(self, remote: Host, interface: int = 0) -> Route | None:
        """Return the route that the kernel takes for a datagram without a chosen source."""
        return self.routing.lookup(remote, interface=interface, mark=self.mark)

    def kernel_source(self, remote: Host, route: Route) -> Source | None:
        """Return the kernel's source on `route`; None where that cannot carry our datagrams."""
        if not self._carries(route.interface):
            return None
        address = self._address_of(route) or self._selected(remote, route)
        if address is None or address.tentative:
            return None
        # Rules may send a datagram another way once its source is chosen.
        way = self.routing.lookup(
            remote, source=address.host, interface=route.interface, mark=self.mark
        )
        return Source(
            address.host,
            address.interface,
            address.deprecated,
            on_kernel_route=True,
            gateway=(way or route).gateway,
        )

    def _carries(self, interface: int) -> bool:
        link = self.links.get(interface)
        return link is not None and link.usable and interface not in self.exclude

    def _address_of(self, route: Route) -> Address | None:
        """Return the address that `route` names as its source."""
        named = [address for address in self.addresses if address.host == route.source]
        if route.kind == RouteKind.LOCAL and not named:
            # IPv6 names no source for an address of this host: it is the destination itself.
            named = [
                address
                for address in self.addresses
                if address.host == route.destination.network_address
                and route.destination.prefixlen == route.destination.max_prefixlen
            ]
        return named[0] if named else None

    def _selected(self, remote: Host, route: Route) -> Address | None:
        if isinstance(remote, IPv6Address):
            suited = (a for a in self._usable(6) if _suits(a, remote, self.links[a.interface]))
            return select_ipv6(remote, route.interface, suited)
        return select_ipv4(route, [a for a in self.addresses if a.host.version == 4])

    def _usable(self, version: int) -> Iterator[Address]:
        return (
            address
            for address in self.addresses
            if address.host.version == version
            and not address.tentative
            and self._carries(address.interface)
        )

    def _others(self, remote: Host, kernel: Route | None, interface: int) -> Iterator[Source]:
        """Yield the candidates, those beside the kernel's choice first, then by metric."""
        here = kernel.interface if kernel else 0
        ranked = []
        for address in self._usable(remote.version):
            route = self._route_from(address, remote, interface)
            if route is None or not _suits(address, remote, self.links[address.interface]):
                continue
            on_route = address.interface == here
            rank = (
                not on_route,
                -route.destination.prefixlen,
                route.metric,
                -_fitness(address, remote, route),
            )
            source = Source(
                address.host, address.interface, address.deprecated, on_route, route.gateway
            )
            ranked.append((rank, source))
        ranked.sort(key=lambda entry: entry[0])
        return (source for _, source in ranked)

    def _route_from(self, address: Address, remote: Host, interface: int) -> Route | None:
        if interface and address.interface != interface:
            return None
        return self.routing.lookup(
            remote, source=address.host, interface=address.interface, mark=self.mark
        )


def _suits(address: Address, remote: Host, link: Link) -> bool:
    """Whether the scopes fit: link-local with link-local, loopback with loopback."""
    if remote.is_loopback:
        return link.loopback
    if remote.is_link_local:
        return address.host.is_link_local
    return address.scope < SCOPE_LINK


def _fitness(address: Address, remote: Host, route: Route) -> int:
    """Rank addresses of one interface: larger is better."""
    if isinstance(address.host, IPv6Address) and isinstance(remote, IPv6Address):
        same_label = _label(address.host) == _label(remote)
        return (same_label << 9) + (address.temporary << 8) + _common(address.host, remote)
    return int(address.covers(route.gateway or remote))


def select_ipv4(route: Route, addresses: Iterable[Address]) -> Address | None:
    """Choose as inet_select_addr does (net/ipv4/devinet.c).

    The first primary address of the interface, one in the gateway's subnet before others; where the
    interface has none, the first address of any other.
    """
    wide = [address for address in addresses if address.scope <= route.scope]
    own = [a for a in wide if a.interface == route.interface and not a.secondary]
    matching = [a for a in own if route.gateway is not None and a.covers(route.gateway)]
    elsewhere = [a for a in wide if not a.secondary and a.scope < SCOPE_LINK]
    return next(iter((*matching, *own, *elsewhere)), None)


def select_ipv6(
    remote: IPv6Address, interface: int, addresses: Iterable[Address]
) -> Address | None:
    """Choose by RFC 6724 section 5, without rule 4 (no Mobile IP) and as if use_tempaddr were 2."""

    def merit(address: Address) -> tuple[bool, tuple[bool, int], bool, bool, bool, bool, int]:
        host = address.host
        scope, wanted = _scope(host), _scope(remote)
        return (
            host == remote,
            (scope >= wanted, -scope if scope >= wanted else scope),
            not address.deprecated,
            address.interface == interface,
            _label(host) == _label(remote),
            address.temporary,
            min(_common(host, remote), address.prefix_length),
        )

    candidates = [
        address
        for address in addresses
        if not remote.is_link_local or address.interface == interface
    ]
    return max(candidates, key=merit, default=None)


def _scope(host: Host) -> int:
    if host.is_loopback or host.is_link_local:
        return 2
    return 14


def _label(host: Host) -> int:
    return next((label for network, label in LABELS if host in network), 1)


def _common(one: Host, other: Host) -> int:
    """Return the length of the common prefix in bits."""
    return one.max_prefixlen - (int(one) ^ int(other)).bit_length()
