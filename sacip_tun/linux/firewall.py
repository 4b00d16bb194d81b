"""The firewall of a full tunnel: one nftables table for each interface, put in and out as one.

1. Packets to the tunnel's own address that come by another interface are dropped: who is on the
   same link must not find out, nor write into, what runs inside (CVE-2019-14899).
2. The tunnel's own datagrams are marked when they come in, as they are when they go out, so that a
   strict reverse path filter looks them up by the same rules. By their port, not by connection
   tracking as wg-quick does it: that costs every packet of this host.
3. With the kill switch nothing leaves but by the tunnel, whatever the routes say. DHCP and the
   discovery of neighbours do, or there would soon be no network to have a tunnel over.
"""

import socket
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface

from sacip_tun.linux.errors import InterfaceError
from sacip_tun.linux.routes import Network
from sacip_tun.linux.rtnetlink import SOL_NETLINK

Interface = IPv4Interface | IPv6Interface

# Seconds that nft may take; it waits for others that change the ruleset.
PATIENCE = 10.0
# linux/netlink.h, linux/netfilter/nfnetlink.h
NETLINK_NETFILTER, NETLINK_ADD_MEMBERSHIP, NFNLGRP_NFTABLES = 12, 1, 7
INSTALL = "install nftables: its program `nft` does this"
NEIGHBOURS = "nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert, mld2-listener-report"
OUTSIDE = (
    "udp sport 68 udp dport 67 accept",
    "udp sport 546 udp dport 547 accept",
    f"icmpv6 type {{ {NEIGHBOURS} }} accept",
)


@dataclass(frozen=True, slots=True)
class Firewall:
    """What the table of one interface is to hold.

    `excluded` are the networks that the kill switch leaves alone, `also` is the mark that our
    datagrams are about to have, 0 for none.
    """

    interface: str
    addresses: tuple[Interface, ...]
    port: int
    mark: int
    kill_switch: bool = False
    excluded: tuple[Network, ...] = ()
    also: int = 0

    @property
    def text(self) -> str:
        """What nft reads: it replaces the table in one transaction."""
        name = table_name(self.interface)
        body = "\n".join(self._lines())
        return (
            f"add table inet {name}\ndelete table inet {name}\ntable inet {name} {{\n{body}\n}}\n"
        )

    def _lines(self) -> Iterator[str]:
        elsewhere = f'iifname != "{self.interface}"'
        rules = [
            f"{elsewhere} {_ip(address.version)} daddr {address.ip} fib saddr type != local drop"
            for address in self.addresses
        ]
        rules.append(
            f"{elsewhere} udp dport {self.port} fib daddr type local meta mark set {self.mark}"
        )
        yield from _chain(
            "prerouting", "filter hook prerouting priority raw; policy accept;", rules
        )
        if self.kill_switch:
            yield from self._kill_switch()

    def _kill_switch(self) -> Iterator[str]:
        excluded = list(_excluded(self.excluded))
        output = [
            f'oifname {{ "lo", "{self.interface}" }} accept',
            *(f"meta mark {mark} accept" for mark in (self.mark, self.also) if mark),
            *OUTSIDE,
            *excluded,
        ]
        yield from _chain("output", "filter hook output priority filter; policy drop;", output)
        forward = [f'{way} "{self.interface}" accept' for way in ("iifname", "oifname")]
        yield from _chain(
            "forward", "filter hook forward priority filter; policy drop;", [*forward, *excluded]
        )


def table_name(interface: str) -> str:
    """Return the table of an interface; two characters of interfaces' names are none of tables'."""
    return f"sacip-tun-{interface.replace('=', '/3d').replace('+', '/2b')}"


def install(firewall: Firewall) -> None:
    """Put the table in, in place of one that is there.

    Raises InterfaceError where nft is missing or refuses it.
    """
    _nft(["-f", "-"], firewall.text)


def remove(interface: str) -> None:
    """Take the table of an interface out; none will do. Raises InterfaceError."""
    name = table_name(interface)
    _nft(["-f", "-"], f"add table inet {name}\ndelete table inet {name}\n")


def listed(interface: str) -> str:
    """Return what is in the table of an interface as nft tells it, nothing where there is none."""
    try:
        return _nft(["-s", "list", "table", "inet", table_name(interface)])
    except InterfaceError:
        return ""


def watch() -> socket.socket:
    """Return a non-blocking socket that hears of each change of the ruleset. Raises OSError."""
    sock = socket.socket(
        socket.AF_NETLINK,
        socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK,
        NETLINK_NETFILTER,
    )
    try:
        sock.bind((0, 0))
        sock.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, NFNLGRP_NFTABLES)
    except OSError:
        sock.close()
        raise
    return sock


def _nft(arguments: Sequence[str], text: str = "") -> str:
    try:
        done = subprocess.run(
            ["nft", *arguments],
            input=text,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    except FileNotFoundError:
        raise InterfaceError("there is no firewall program", INSTALL, missing=True) from None
    except subprocess.TimeoutExpired:
        raise InterfaceError("nft does not end", "see what else changes the firewall") from None
    if done.returncode:
        why = (done.stderr.strip().splitlines() or ["no word"])[0]
        raise InterfaceError(f"the firewall cannot be set: {why}", "see `nft list ruleset`")
    return done.stdout


def _chain(name: str, head: str, rules: Iterable[str]) -> Iterator[str]:
    yield f"  chain {name} {{"
    yield f"    type {head}"
    yield from (f"    {rule}" for rule in rules)
    yield "  }"


def _excluded(networks: Iterable[Network]) -> Iterator[str]:
    return (f"{_ip(network.version)} daddr {network} accept" for network in networks)


def _ip(version: int) -> str:
    return "ip" if version == 4 else "ip6"
