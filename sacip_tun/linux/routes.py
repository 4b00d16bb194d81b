"""Routes, rules, and the lookup that the kernel does with them.

The lookup follows Linux: rules in order of priority; in a table the longest prefix, and for that
the lowest metric. It is done here and not by RTM_GETROUTE, because it is asked for every peer on
every change, and because a pure function of dumped tables can be tested.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from ipaddress import IPv4Network, IPv6Network
from typing import Self

from sacip_tun.linux.addresses import SCOPE_GLOBAL
from sacip_tun.protocol.address import Host

Network = IPv4Network | IPv6Network

TABLE_DEFAULT, TABLE_MAIN, TABLE_LOCAL = 253, 254, 255
# rtnh_flags: the next hop's interface is down; it has no carrier.
NEXTHOP_DEAD, NEXTHOP_LINKDOWN = 1, 16


class RouteKind(IntEnum):
    """rtm_type of linux/rtnetlink.h."""

    UNICAST = 1
    LOCAL = 2
    BROADCAST = 3
    ANYCAST = 4
    MULTICAST = 5
    BLACKHOLE = 6
    UNREACHABLE = 7
    PROHIBIT = 8
    THROW = 9


REFUSING = frozenset({RouteKind.BLACKHOLE, RouteKind.UNREACHABLE, RouteKind.PROHIBIT})


class RuleAction(IntEnum):
    """fib_rule actions of linux/fib_rules.h."""

    TABLE = 1
    GOTO = 2
    NOTHING = 3
    BLACKHOLE = 6
    UNREACHABLE = 7
    PROHIBIT = 8


@dataclass(frozen=True, slots=True)
class Route:
    """One route by one next hop; a multipath route is several of these.

    `source` is the source address that the route prefers, `mtu` is 0 where the interface's counts,
    `preference` is the router preference of RFC 4191: 1 high, 0 medium, -1 low.
    """

    destination: Network
    interface: int
    gateway: Host | None = None
    source: Host | None = None
    metric: int = 0
    table: int = TABLE_MAIN
    kind: RouteKind = RouteKind.UNICAST
    scope: int = SCOPE_GLOBAL
    mtu: int = 0
    preference: int = 0
    flags: int = 0
    tos: int = 0

    @property
    def place(self) -> tuple[int, Network, int, int]:
        """Where it stands in the kernel: what a replacing route takes over."""
        return (self.table, self.destination, self.tos, self.metric)

    @property
    def alive(self) -> bool:
        """Whether the kernel would use it; lost carrier alone does not stop the kernel."""
        return not self.flags & NEXTHOP_DEAD


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of policy routing, for what this host sends itself.

    `exotic`: it asks for something that our own UDP datagrams do not have, such as a user, a port
    or an incoming interface.
    """

    version: int
    priority: int
    action: int = RuleAction.TABLE
    table: int = TABLE_MAIN
    source: Network | None = None
    destination: Network | None = None
    mark: int = 0
    mask: int = 0
    inverted: bool = False
    exotic: bool = False
    suppressed_length: int = -1
    target: int = 0

    def matches(self, remote: Host, source: Host | None, mark: int) -> bool:
        """Whether the rule applies to a datagram to `remote`; None is a source not yet chosen."""
        fits = (
            not self.exotic
            and (self.destination is None or remote in self.destination)
            and (self.source is None or (source is not None and source in self.source))
            and (mark ^ self.mark) & self.mask == 0
        )
        return fits != self.inverted


DEFAULT_RULES = tuple(
    Rule(version, priority, table=table)
    for version in (4, 6)
    for priority, table in ((0, TABLE_LOCAL), (32766, TABLE_MAIN), (32767, TABLE_DEFAULT))
)


# The routes of one prefix length: how far to shift an address, and the routes by what is left.
Level = tuple[int, Mapping[int, tuple[Route, ...]]]


@dataclass(frozen=True)
class RoutingTables:
    """All routes and rules of this host, ready for lookups: longest prefixes first."""

    rules: tuple[Rule, ...]
    tables: Mapping[tuple[int, int], tuple[Level, ...]] = field(repr=False)

    @classmethod
    def of(cls, routes: Iterable[Route], rules: Iterable[Rule] = DEFAULT_RULES) -> Self:
        """Sort `routes` into tables. Routes of one prefix are tried in order of their metric."""
        tables: dict[tuple[int, int], dict[int, dict[int, tuple[Route, ...]]]] = {}
        for route in sorted(routes, key=lambda route: (route.metric, -route.preference)):
            network = route.destination
            shift = network.max_prefixlen - network.prefixlen
            table = tables.setdefault((network.version, route.table), {})
            level = table.setdefault(shift, {})
            prefix = int(network.network_address) >> shift
            level[prefix] = (*level.get(prefix, ()), route)
        ordered = {key: tuple(sorted(table.items())) for key, table in tables.items()}
        return cls(tuple(sorted(rules, key=lambda rule: rule.priority)), ordered)

    def lookup(
        self, remote: Host, *, source: Host | None = None, interface: int = 0, mark: int = 0
    ) -> Route | None:
        """Return the route by which a datagram to `remote` leaves; None where there is none.

        `interface` asks for routes by that one only.
        """
        skip_to = -1
        for rule in self.rules:
            if rule.version != remote.version or rule.priority < skip_to:
                continue
            if not rule.matches(remote, source, mark):
                continue
            if rule.action == RuleAction.GOTO:
                skip_to = rule.target
            elif rule.action == RuleAction.TABLE:
                route = self._in_table(rule.table, remote, interface)
                if route is not None and route.destination.prefixlen > rule.suppressed_length:
                    return None if route.kind in REFUSING else route
            elif rule.action != RuleAction.NOTHING:
                return None
        return None

    def _in_table(self, table: int, remote: Host, interface: int) -> Route | None:
        bits = int(remote)
        for shift, prefixes in self.tables.get((remote.version, table), ()):
            for route in prefixes.get(bits >> shift, ()):
                if route.kind == RouteKind.THROW:
                    return None
                if route.kind in REFUSING:
                    return route
                if route.alive and interface in {0, route.interface}:
                    return route
        return None
