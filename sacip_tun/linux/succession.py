"""Succession: one address of an interface goes, and another takes over what hung on it.

Left to itself, Linux deletes with a primary IPv4 address its secondaries (promote_secondaries is
off by default), the routes that prefer it as their source, and the routes through gateways that
only it made reachable. A planned move must take nothing along but the address.
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sacip_tun.linux.interface import Interface, address_message
from sacip_tun.linux.messages import Message, codecs
from sacip_tun.linux.rtnetlink import (
    NLM_F_CREATE,
    NLM_F_REPLACE,
    RTM_DELADDR,
    RTM_NEWROUTE,
    RtnetlinkSocket,
)
from sacip_tun.protocol.address import Host

SYSCTLS = Path("/proc/sys/net/ipv4/conf")
# linux/rtnetlink.h: routes that the kernel makes with an address, and makes anew for its heir.
RTPROT_KERNEL = 2
# What the kernel reports of a route and takes from nobody.
REPORTED = frozenset({"RTA_CACHEINFO", "RTA_PREFSRC"})


def replace_address(index: int, old: Interface, new: Host) -> None:
    """Delete `old` from an interface; `new`, which this host has, becomes the source of its routes.

    Raises OSError: EADDRNOTAVAIL where the old address is not there.
    """
    with RtnetlinkSocket() as sock, _promoting(index):
        for route in sock.route_messages():
            if route.get_attr("RTA_PREFSRC") == str(old.ip) and route["proto"] != RTPROT_KERNEL:
                with suppress(
                    OSError
                ):  # a route that the new address cannot serve goes with the old
                    sock.request(
                        _with_source(route, new), RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE
                    )
        sock.request(address_message(index, old), RTM_DELADDR)


def _with_source(route: Message, source: Host) -> Message:
    """Return the same route with another preferred source."""
    message = codecs().route()
    for name in ("family", "dst_len", "src_len", "tos", "table", "proto", "scope", "type", "flags"):
        message[name] = route[name]
    kept = [[name, value] for name, value in route["attrs"] if name not in REPORTED]
    message["attrs"] = [*kept, ["RTA_PREFSRC", str(source)]]
    return message


@contextmanager
def _promoting(index: int) -> Iterator[None]:
    """Let the secondaries of an interface outlive their primary address, for this moment."""
    path = SYSCTLS / socket.if_indextoname(index) / "promote_secondaries"
    try:
        before = path.read_text()
        path.write_text("1")
    except OSError:  # no IPv4, or /proc/sys is read-only: then the kernel's own rule stands
        yield
        return
    try:
        yield
    finally:
        with suppress(OSError):  # the interface may be gone by now
            path.write_text(before)
