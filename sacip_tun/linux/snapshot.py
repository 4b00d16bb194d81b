"""The state of this host's network at one moment, and how it follows the kernel's messages."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Self

from sacip_tun.linux import messages, rtnetlink
from sacip_tun.linux.addresses import SCOPE_LINK, Address, Link
from sacip_tun.linux.candidates import candidates
from sacip_tun.linux.messages import Message
from sacip_tun.linux.routes import Route, RoutingTables, Rule
from sacip_tun.linux.rtnetlink import RtnetlinkSocket, present
from sacip_tun.linux.sources import Source, SourceChooser
from sacip_tun.protocol.address import Host

# MTU where neither a route nor an interface tells one, in bytes (wg-quick's fallback).
ETHERNET_MTU = 1500
ANYWHERE: tuple[Host, ...] = (IPv4Address(0), IPv6Address(0))


@dataclass(frozen=True)
class Snapshot:
    """Interfaces by index, addresses in the kernel's order, routes and rules."""

    links: Mapping[int, Link] = field(default_factory=dict)
    addresses: tuple[Address, ...] = ()
    routes: tuple[Route, ...] = ()
    rules: tuple[Rule, ...] = ()

    @classmethod
    def taken(cls) -> Self:
        """Ask the kernel. Raises OSError."""
        tables = Tables()
        tables.load()
        return cls(*tables.contents())

    @cached_property
    def routing(self) -> RoutingTables:
        """The routes, ready for lookups."""
        return RoutingTables.of(self.routes, self.rules)

    @cached_property
    def hosts(self) -> frozenset[Host]:
        """Every address that some interface has, usable or not."""
        return frozenset(address.host for address in self.addresses)

    @cached_property
    def broadcasts(self) -> frozenset[Host]:
        """The broadcast addresses of this host's IPv4 networks (RFC 3021: none in a /31)."""
        networks = (
            ip_network(f"{address.host}/{address.prefix_length}", strict=False)
            for address in self.addresses
            if address.host.version == 4 and address.prefix_length < 31
        )
        return frozenset(network.broadcast_address for network in networks)

    def sources_towards(
        self,
        remote: Host,
        exclude: Collection[int] = (),
        *,
        interface: int = 0,
        mark: int = 0,
    ) -> list[Source]:
        """Return the addresses from which `remote` can be reached, best first.

        `exclude` holds interfaces that cannot carry outer packets: our own TUN. `interface` is the
        scope of a link-local remote, `mark` the FwMark of our sockets.
        """
        chooser = SourceChooser(self.links, self.addresses, self.routing, mark, frozenset(exclude))
        return chooser.towards(remote, interface)

    def candidates(
        self, exclude: Collection[int] = (), versions: Collection[int] = (4, 6)
    ) -> tuple[Host, ...]:
        """Return where a peer may find this host, best first; see candidates.py."""
        return candidates(self.links, self.addresses, self.routes, frozenset(exclude), versions)

    def route_mtu(
        self, remotes: Iterable[Host], exclude: Collection[int] = (), *, mark: int = 0
    ) -> int:
        """Return the smallest MTU of the routes to `remotes`, in bytes.

        Without any it is the default route's, else 1500 (wg-quick's rule, before its minus 80).
        """
        for hosts in (remotes, ANYWHERE):
            routes = [self.routing.lookup(host, mark=mark) for host in hosts]
            found = [
                self._mtu(route) for route in routes if route and route.interface not in exclude
            ]
            if any(found):
                return min(filter(None, found))
        return ETHERNET_MTU

    def _mtu(self, route: Route) -> int:
        link = self.links.get(route.interface)
        return route.mtu or (link.mtu if link else 0)


@dataclass(frozen=True)
class Change:
    """What is different between two snapshots.

    An address that only changed its flags is in `altered`.
    """

    gained: tuple[Address, ...]
    lost: tuple[Address, ...]
    altered: tuple[Address, ...]
    links: tuple[Link, ...]
    routes: bool

    @classmethod
    def between(cls, old: Snapshot, new: Snapshot) -> Self:
        """Compare two snapshots. Links that are gone are listed as they were."""
        before = {address.key: address for address in old.addresses}
        after = {address.key: address for address in new.addresses}
        links = [link for link in new.links.values() if old.links.get(link.index) != link]
        links += [link for link in old.links.values() if link.index not in new.links]
        return cls(
            gained=tuple(address for key, address in after.items() if key not in before),
            lost=tuple(address for key, address in before.items() if key not in after),
            altered=tuple(a for key, a in after.items() if before.get(key, a) != a),
            links=tuple(links),
            routes=_differ(old.routes, new.routes) or _differ(old.rules, new.rules),
        )

    def __bool__(self) -> bool:
        return bool(self.gained or self.lost or self.altered or self.links or self.routes)


def _differ(old: tuple[object, ...], new: tuple[object, ...]) -> bool:
    return old != new and set(old) != set(new)


class Tables:
    """The tables as they are now: loaded whole, then kept up by messages."""

    def __init__(self) -> None:
        self._links: dict[int, Link] = {}
        self._addresses: dict[object, Address] = {}
        self._routes: dict[object, Route] = {}
        self._rules: dict[Rule, None] = {}

    def load(self) -> None:
        """Ask the kernel for everything. Raises OSError."""
        with RtnetlinkSocket() as sock:
            links = present(messages.link_of, sock.links())
            addresses = present(messages.address_of, sock.addresses())
            routes, rules = sock.routes(), sock.rules()
        self._links = {link.index: link for link in links}
        self._addresses = {address.key: address for address in addresses}
        self._routes = {_hop(route): route for route in routes}
        self._rules = dict.fromkeys(rules)

    def contents(
        self,
    ) -> tuple[dict[int, Link], tuple[Address, ...], tuple[Route, ...], tuple[Rule, ...]]:
        """Return what a Snapshot is made of."""
        return (
            dict(self._links),
            tuple(self._addresses.values()),
            tuple(self._routes.values()),
            tuple(self._rules),
        )

    def apply(self, message: Message) -> None:
        """Follow one message; messages of other kinds change nothing."""
        kind = message["header"]["type"]
        if kind in {rtnetlink.RTM_NEWLINK, rtnetlink.RTM_DELLINK}:
            self._apply_link(message, gone=kind == rtnetlink.RTM_DELLINK)
        elif kind in {rtnetlink.RTM_NEWADDR, rtnetlink.RTM_DELADDR}:
            self._apply_address(message, gone=kind == rtnetlink.RTM_DELADDR)
        elif kind in {rtnetlink.RTM_NEWROUTE, rtnetlink.RTM_DELROUTE}:
            self._apply_routes(message, gone=kind == rtnetlink.RTM_DELROUTE)
        elif kind in {rtnetlink.RTM_NEWRULE, rtnetlink.RTM_DELRULE}:
            self._apply_rule(message, gone=kind == rtnetlink.RTM_DELRULE)

    def _apply_link(self, message: Message, *, gone: bool) -> None:
        link = messages.link_of(message)
        if link is None:
            return
        if gone:
            self._links.pop(link.index, None)
            self._addresses = {
                key: address
                for key, address in self._addresses.items()
                if address.interface != link.index
            }
        else:
            self._links[link.index] = link
        if gone or not link.up:
            self._forget_routes(lambda route: route.interface == link.index)

    def _apply_address(self, message: Message, *, gone: bool) -> None:
        address = messages.address_of(message)
        if address is None:
            return
        old = self._addresses.get(address.key)
        if gone or (old is not None and old.secondary and not address.secondary):
            # A promoted secondary stands behind the other primaries, as in the kernel's list.
            self._addresses.pop(address.key, None)
        if not gone:
            self._put_address(address)
        elif address.host.version == 4:
            self._forget_silently_deleted(address)

    def _put_address(self, address: Address) -> None:
        """Keep the order of the kernel's lists: the newest global IPv6 address is its first."""
        new = address.key not in self._addresses
        self._addresses[address.key] = address
        if new and address.host.version == 6 and address.scope < SCOPE_LINK:
            self._addresses = {address.key: address, **self._addresses}

    def _forget_silently_deleted(self, address: Address) -> None:
        """Delete the routes that Linux deletes with an IPv4 address, mostly without a message.

        See fib_sync_down_addr and fib_disable_ip (net/ipv4/fib_frontend.c).
        """
        ours = [other for other in self._addresses.values() if other.host.version == 4]
        if all(other.host != address.host for other in ours):
            self._forget_routes(lambda route: route.source == address.host)
        if all(other.interface != address.interface for other in ours):
            self._forget_routes(
                lambda route: (
                    route.interface == address.interface and route.destination.version == 4
                )
            )

    def _forget_routes(self, doomed: Callable[[Route], bool]) -> None:
        self._routes = {hop: route for hop, route in self._routes.items() if not doomed(route)}

    def _apply_routes(self, message: Message, *, gone: bool) -> None:
        routes = messages.routes_of(message)
        if gone:
            for route in routes:
                self._routes.pop(_hop(route), None)
            return
        if message["header"]["flags"] & rtnetlink.NLM_F_REPLACE:
            places = {route.place for route in routes}
            self._forget_routes(lambda route: route.place in places)
        self._routes.update((_hop(route), route) for route in routes)

    def _apply_rule(self, message: Message, *, gone: bool) -> None:
        rule = messages.rule_of(message)
        if rule is None:
            return
        if gone:
            self._rules.pop(rule, None)
        else:
            self._rules[rule] = None

    @property
    def route_count(self) -> int:
        """The number of next hops in all tables."""
        return len(self._routes)


def _hop(route: Route) -> object:
    return (route.place, route.interface, route.gateway, route.kind)
