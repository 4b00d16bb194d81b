"""rtnetlink messages: pyroute2's codecs, and what their messages say as plain facts.

pyroute2 decodes lazily and is untyped; nothing of it leaves this file and rtnetlink.py.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from ipaddress import ip_address, ip_network
from types import ModuleType
from typing import Any, NamedTuple

from sacip_tun.linux.addresses import Address, Link
from sacip_tun.linux.routes import Network, Route, RouteKind, Rule
from sacip_tun.protocol.address import Host

# A decoded pyroute2 message: a dict of header fields with get_attr() for attributes.
Message = Any

# linux/socket.h
AF_INET, AF_INET6 = 2, 10
VERSIONS = {AF_INET: 4, AF_INET6: 6}
FAMILIES = {4: AF_INET, 6: AF_INET6}
# net_device_flags (linux/if.h)
IFF_UP, IFF_LOOPBACK, IFF_LOWER_UP, IFF_DORMANT = 1, 8, 0x10000, 0x20000
# linux/if_addr.h; the first bit means secondary for IPv4 and temporary for IPv6.
IFA_F_SECONDARY, IFA_F_OPTIMISTIC, IFA_F_DADFAILED = 0x01, 0x04, 0x08
IFA_F_DEPRECATED, IFA_F_TENTATIVE = 0x20, 0x40
# linux/rtnetlink.h: a cached exception such as a learnt path MTU, not a route.
RTM_F_CLONED = 0x200
# linux/fib_rules.h
FIB_RULE_INVERT = 2
ALL_BITS = 0xFFFFFFFF
# RTA_PREF (linux/icmpv6.h, RFC 4191): medium, high, reserved, low.
PREFERENCES = {0: 0, 1: 1, 3: -1}
EXOTIC_SELECTORS = (
    "FRA_IIFNAME",
    "FRA_OIFNAME",
    "FRA_L3MDEV",
    "FRA_UID_RANGE",
    "FRA_TUN_ID",
    "FRA_IP_PROTO",
    "FRA_SPORT_RANGE",
    "FRA_DPORT_RANGE",
)


class Codecs(NamedTuple):
    """pyroute2's classes, loaded on first use."""

    marshal: Any
    link: Any
    address: Any
    route: Any
    rule: Any


@cache
def codecs() -> Codecs:
    """Import of pyroute2 what is needed: 8 ms, the first time."""
    with _without_its_front("pyroute2"):
        return _imported()


@contextmanager
def _without_its_front(package: str) -> Iterator[None]:
    """Let modules of a package be imported without its `__init__`, which would import them all.

    pyroute2's takes 8 MB and 40 ms more, for what nobody here calls.
    """
    spec = find_spec(package)
    if package in sys.modules or spec is None:
        yield
        return
    front = ModuleType(package)
    front.__path__ = list(spec.submodule_search_locations or ())
    sys.modules[package] = front
    try:
        yield
    finally:
        del sys.modules[package]


def _imported() -> Codecs:
    from pyroute2.netlink import rtnl  # noqa: PLC0415  lazy: start-up counts
    from pyroute2.netlink.marshal import Marshal  # noqa: PLC0415
    from pyroute2.netlink.rtnl.fibmsg import fibmsg  # noqa: PLC0415
    from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg  # noqa: PLC0415
    from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg  # noqa: PLC0415
    from pyroute2.netlink.rtnl.rtmsg import rtmsg  # noqa: PLC0415

    # pyroute2's own MarshalRtnl also knows queueing disciplines and more: 20 ms of start-up.
    marshal = Marshal()
    marshal.msg_map = {
        rtnl.RTM_NEWLINK: ifinfmsg,
        rtnl.RTM_DELLINK: ifinfmsg,
        rtnl.RTM_NEWADDR: ifaddrmsg,
        rtnl.RTM_DELADDR: ifaddrmsg,
        rtnl.RTM_NEWROUTE: rtmsg,
        rtnl.RTM_DELROUTE: rtmsg,
        rtnl.RTM_NEWRULE: fibmsg,
        rtnl.RTM_DELRULE: fibmsg,
    }
    return Codecs(marshal, ifinfmsg, ifaddrmsg, rtmsg, fibmsg)


def decoded(data: bytes) -> Iterator[Message]:
    """Decode the messages of one datagram from the kernel."""
    messages: Iterator[Message] = codecs().marshal.parse(data)
    return messages


def link_of(message: Message) -> Link | None:
    """Return the interface that RTM_NEWLINK or RTM_DELLINK speaks of.

    None for the messages of a bridge about its ports: their RTM_DELLINK deletes no interface.
    """
    if message["family"] != 0:
        return None
    flags = message["flags"]
    linkinfo = message.get_attr("IFLA_LINKINFO")
    return Link(
        index=message["index"],
        name=message.get_attr("IFLA_IFNAME") or "",
        up=bool(flags & IFF_UP),
        # Not IFF_RUNNING, which says the same up to a second later (net/core/link_watch.c).
        carrier=bool(flags & IFF_LOWER_UP and not flags & IFF_DORMANT),
        mtu=message.get_attr("IFLA_MTU") or 0,
        kind=(linkinfo and linkinfo.get_attr("IFLA_INFO_KIND")) or "",
        loopback=bool(flags & IFF_LOOPBACK),
    )


def address_of(message: Message) -> Address | None:
    """Return the address that RTM_NEWADDR or RTM_DELADDR speaks of; None for other families."""
    version = VERSIONS.get(message["family"])
    local = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
    if version is None or local is None:
        return None
    peer = message.get_attr("IFA_ADDRESS") or local
    flags = message.get_attr("IFA_FLAGS")
    if flags is None:
        flags = message["flags"]
    waiting = flags & IFA_F_TENTATIVE and not flags & IFA_F_OPTIMISTIC
    return Address(
        host=ip_address(local),
        prefix_length=message["prefixlen"],
        interface=message["index"],
        scope=message["scope"],
        secondary=version == 4 and bool(flags & IFA_F_SECONDARY),
        temporary=version == 6 and bool(flags & IFA_F_SECONDARY),
        tentative=bool(waiting or flags & IFA_F_DADFAILED),
        deprecated=bool(flags & IFA_F_DEPRECATED),
        label=message.get_attr("IFA_LABEL") or "",
        peer=None if peer == local else ip_address(peer),
    )


def routes_of(message: Message) -> list[Route]:
    """Return the next hops of the route that RTM_NEWROUTE or RTM_DELROUTE speaks of."""
    version = VERSIONS.get(message["family"])
    if version is None or message["flags"] & RTM_F_CLONED or message["src_len"]:
        return []
    if message["type"] not in set(RouteKind):
        return []
    hops = message.get_attr("RTA_MULTIPATH") or [None]
    return [_route(message, hop, version) for hop in hops]


def _route(message: Message, hop: Message | None, version: int) -> Route:
    metrics = message.get_attr("RTA_METRICS")
    source = message.get_attr("RTA_PREFSRC")
    return Route(
        destination=_network(message.get_attr("RTA_DST"), message["dst_len"], version),
        interface=(hop["oif"] if hop else message.get_attr("RTA_OIF")) or 0,
        gateway=_gateway(hop or message),
        source=ip_address(source) if source else None,
        metric=message.get_attr("RTA_PRIORITY") or 0,
        table=message.get_attr("RTA_TABLE") or message["table"],
        kind=RouteKind(message["type"]),
        scope=message["scope"],
        mtu=(metrics and metrics.get_attr("RTAX_MTU")) or 0,
        preference=PREFERENCES.get(message.get_attr("RTA_PREF") or 0, 0),
        flags=(hop or message)["flags"],
        tos=message["tos"],
    )


def _gateway(message: Message) -> Host | None:
    via = message.get_attr("RTA_VIA")
    gateway = via["addr"] if via else message.get_attr("RTA_GATEWAY")
    return ip_address(gateway) if gateway else None


def _network(destination: str | None, length: int, version: int) -> Network:
    nowhere = "0.0.0.0" if version == 4 else "::"  # noqa: S104  a prefix, not a bind
    return ip_network((destination or nowhere, length))


def rule_of(message: Message) -> Rule | None:
    """Return the rule that RTM_NEWRULE or RTM_DELRULE speaks of; None for other families."""
    version = VERSIONS.get(message["family"])
    if version is None:
        return None
    mark = message.get_attr("FRA_FWMARK")
    mask = message.get_attr("FRA_FWMASK")
    suppressed = message.get_attr("FRA_SUPPRESS_PREFIXLEN")
    return Rule(
        version=version,
        priority=message.get_attr("FRA_PRIORITY") or 0,
        action=message["action"],
        table=message.get_attr("FRA_TABLE") or message["table"],
        source=_selector(message.get_attr("FRA_SRC"), message["src_len"], version),
        destination=_selector(message.get_attr("FRA_DST"), message["dst_len"], version),
        mark=mark or 0,
        mask=(ALL_BITS if mask is None else mask) if mark is not None else 0,
        inverted=bool(message["flags"] & FIB_RULE_INVERT),
        exotic=bool(message["tos"]) or any(map(message.get_attr, EXOTIC_SELECTORS)),
        suppressed_length=-1 if suppressed in {None, ALL_BITS} else suppressed,
        target=message.get_attr("FRA_GOTO") or 0,
    )


def _selector(prefix: str | None, length: int, version: int) -> Network | None:
    return _network(prefix, length, version) if length else None
