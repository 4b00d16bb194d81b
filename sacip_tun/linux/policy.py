"""Policy routing of a full tunnel: its rules, and which way each kind of packet takes.

    32100  to a network of ExcludeIPs         lookup main
    32101  not fwmark T  lookup T suppress_prefixlength 0     (only before @local)
    32102  to a private network               lookup main suppress_prefixlength 0
    32103  not fwmark T  lookup T

T is a routing table of the tunnel's own, and the mark of its outer datagrams, which alone pass by
all of this. What is in the main table counts for nobody else: a router that hands out routes by
DHCP (option 121, CVE-2024-3661) writes there. `compat` is wg-quick's way, which lets main go first:

    32102  lookup main suppress_prefixlength 0
    32103  not fwmark T  lookup T

The numbers stand behind rules that the user or another VPN has made, and before main (32766).
"""

from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

from sacip_tun.linux.messages import ALL_BITS, FAMILIES, FIB_RULE_INVERT, Message, codecs
from sacip_tun.linux.routes import TABLE_DEFAULT, TABLE_LOCAL, TABLE_MAIN, Network, RouteKind, Rule
from sacip_tun.linux.rtnetlink import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    RTM_DELROUTE,
    RTM_DELRULE,
    RTM_NEWROUTE,
    RTM_NEWRULE,
    RtnetlinkSocket,
)
from sacip_tun.linux.snapshot import Snapshot

# The origin that rules and routes are marked with: `ip rule show`, `ip route show proto 83`.
PROTOCOL = 83
FIRST = 32100
# Here only while the mark of our datagrams changes.
PASSING = FIRST - 1
EXCLUDED, SPECIFIC, LOCAL, ALL = FIRST, FIRST + 1, FIRST + 2, FIRST + 3
# wg-quick's first table and mark.
FIRST_TABLE = 51820
RESERVED = frozenset({0, TABLE_DEFAULT, TABLE_MAIN, TABLE_LOCAL})
# RFC 1918, 3927, 4193, 4291.
PRIVATE = tuple(
    ip_network(text)
    for text in (
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "169.254.0.0/16",
        "fc00::/7",
        "fe80::/10",
    )
)
ANYWHERE = {4: ip_network("0.0.0.0/0"), 6: ip_network("::/0")}
# The metric of a route that counts only where there is no other.
LAST_RESORT = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Policy:
    """What a full tunnel is to do: of which IP versions, by which table, and what stays outside."""

    versions: frozenset[int]
    table: int
    mark: int
    strict: bool = True
    closed: bool = False
    """Whether the other IP version ends in this table too, and nothing else leads on from it."""
    excluded: tuple[Network, ...] = ()
    local: bool = False

    @property
    def rules(self) -> tuple[Rule, ...]:
        """All of its rules, the strongest first."""
        return tuple(rule for version in sorted(self._caught) for rule in self._rules(version))

    def passing(self, mark: int) -> tuple[Rule, ...]:
        """Rules by which datagrams with another mark pass by all others, for a moment."""
        return tuple(
            Rule(version, PASSING, table=TABLE_MAIN, mark=mark, mask=ALL_BITS)
            for version in sorted(self._caught)
        )

    @property
    def dead_ends(self) -> tuple[Network, ...]:
        """Where nothing may go when the interface is gone: routes that say unreachable."""
        return tuple(ANYWHERE[version] for version in (4, 6)) if self.closed else ()

    @property
    def _caught(self) -> frozenset[int]:
        return frozenset({4, 6}) if self.closed else self.versions

    def _rules(self, version: int) -> Iterator[Rule]:
        for network in self.excluded:
            if network.version == version:
                yield Rule(version, EXCLUDED, destination=network)
        if not self.strict:
            yield Rule(version, LOCAL, suppressed_length=0)
        elif self.local:
            yield self._own(version, SPECIFIC, suppressed_length=0)
            for network in PRIVATE:
                if network.version == version:
                    yield Rule(version, LOCAL, destination=network, suppressed_length=0)
        yield self._own(version, ALL)

    def _own(self, version: int, priority: int, suppressed_length: int = -1) -> Rule:
        return Rule(
            version,
            priority,
            table=self.table,
            mark=self.mark,
            mask=ALL_BITS,
            inverted=True,
            suppressed_length=suppressed_length,
        )


def free_table(
    snapshot: Snapshot, mark: int, *, own: int = 0, before: int = 0, promised: Collection[int] = ()
) -> int:
    """Return the table of a full tunnel: its FwMark, as wg-quick has it, or the first free one.

    `own` is the interface that it is for, whose routes take nothing. `before` is the table of an
    earlier process, 0 for none: it has it still. `promised` are those of tunnels that come up.
    """
    for number in (mark, before):
        if number not in RESERVED:
            return number
    taken = {route.table for route in snapshot.routes if route.interface != own}
    taken |= {number for rule in snapshot.rules for number in (rule.table, rule.mark)}
    taken |= set(promised)
    return next(number for number in range(FIRST_TABLE, ALL_BITS) if number not in taken)


def missing(wanted: Iterable[Rule], there: Iterable[Rule]) -> list[Rule]:
    """Return the rules that are not there."""
    present = set(there)
    return [rule for rule in wanted if rule not in present]


def add_rule(rule: Rule) -> None:
    """Add a rule; one that is there already will do. Raises OSError."""
    with RtnetlinkSocket() as sock, suppress(FileExistsError):
        sock.request(_rule_message(rule), RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL)


def delete_rule(rule: Rule) -> None:
    """Delete a rule of ours; none will do. Raises OSError."""
    with RtnetlinkSocket() as sock, suppress(FileNotFoundError):
        sock.request(_rule_message(rule), RTM_DELRULE)


def add_dead_end(network: Network, table: int) -> None:
    """Let what finds nothing better in a table be told that it is unreachable. Raises OSError."""
    with RtnetlinkSocket() as sock, suppress(FileExistsError):
        sock.request(_dead_end(network, table), RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL)


def delete_dead_end(network: Network, table: int) -> None:
    """Undo `add_dead_end`; none will do. Raises OSError."""
    with RtnetlinkSocket() as sock, suppress(ProcessLookupError):
        sock.request(_dead_end(network, table), RTM_DELROUTE)


def _rule_message(rule: Rule) -> Message:
    message = codecs().rule()
    message["family"] = FAMILIES[rule.version]
    message["action"] = rule.action
    message["flags"] = FIB_RULE_INVERT if rule.inverted else 0
    attributes: list[list[Any]] = [
        ["FRA_PRIORITY", rule.priority],
        ["FRA_TABLE", rule.table],
        ["FRA_PROTOCOL", PROTOCOL],
    ]
    if rule.mask:
        attributes += [["FRA_FWMARK", rule.mark], ["FRA_FWMASK", rule.mask]]
    if rule.destination is not None:
        message["dst_len"] = rule.destination.prefixlen
        attributes.append(["FRA_DST", str(rule.destination.network_address)])
    if rule.suppressed_length >= 0:
        attributes.append(["FRA_SUPPRESS_PREFIXLEN", rule.suppressed_length])
    message["attrs"] = attributes
    return message


def _dead_end(network: Network, table: int) -> Message:
    message = codecs().route()
    message["family"] = FAMILIES[network.version]
    message["dst_len"] = network.prefixlen
    message["proto"] = PROTOCOL
    message["type"] = RouteKind.UNREACHABLE
    message["attrs"] = [
        ["RTA_DST", str(network.network_address)],
        ["RTA_TABLE", table],
        ["RTA_PRIORITY", LAST_RESORT],
    ]
    return message
