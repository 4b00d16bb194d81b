"""Setting up the TUN interface: addresses, MTU, link state and routes, in wg-quick's order."""

import errno
import socket
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from ipaddress import IPv4Interface, IPv6Interface
from pathlib import Path
from struct import Struct

from sacip_tun.linux.addresses import SCOPE_GLOBAL, SCOPE_LINK, SCOPE_NOWHERE
from sacip_tun.linux.errors import InterfaceError
from sacip_tun.linux.messages import AF_INET6, FAMILIES, IFF_UP, Message, address_of, codecs
from sacip_tun.linux.policy import PROTOCOL
from sacip_tun.linux.routes import TABLE_MAIN, Network, RouteKind
from sacip_tun.linux.rtnetlink import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    RTM_DELADDR,
    RTM_DELROUTE,
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_NEWROUTE,
    RtnetlinkSocket,
    present,
)
from sacip_tun.linux.snapshot import Snapshot
from sacip_tun.protocol.address import Host

Interface = IPv4Interface | IPv6Interface

# What IPv4 hosts must take (RFC 791), what IPv6 links must carry (RFC 8200 section 5), the most an
# IP packet can be; in bytes.
MIN_MTU, MIN_MTU_IPV6, MAX_MTU = 576, 1280, 65535
# Super-packets that wait in the TUN: a short queue leaves the dropping to us (datapath.md 11.4).
TRANSMIT_QUEUE = 128
# Where iproute2 has the names of routing tables.
RT_TABLES = (Path("/etc/iproute2/rt_tables"), Path("/usr/share/iproute2/rt_tables"))
# Settings of IPv6, by interface; there are none where the kernel has no IPv6.
IPV6 = Path("/proc/sys/net/ipv6/conf")
# struct rtmsg with neither source nor table nor flags, and attributes (linux/rtnetlink.h).
RTMSG, RTATTR, RTA_U32 = Struct("=BBxxxBBBxxxx"), Struct("=HH"), Struct("=HHI")
RTA_DST, RTA_OIF, RTA_TABLE = 1, 4, 15
# struct ifinfomsg with an index only (linux/rtnetlink.h), a number in an attribute.
IFINFO = Struct("=4xi8x")
# linux/if_link.h, socket.h
IFLA_MTU, IFLA_TXQLEN, IFLA_AF_SPEC, IFLA_INET6_ADDR_GEN_MODE = 4, 13, 26, 8
# linux/if_addr.h and if_link.h
IFA_F_NODAD, IFA_F_NOPREFIXROUTE, ADDR_GEN_MODE_NONE = 0x02, 0x200, 1


def interface_index(name: str) -> int:
    """Return the index of the interface `name`. Raises OSError where there is none."""
    return socket.if_nametoindex(name)


def route_mtu(remotes: Iterable[Host], exclude: Collection[int] = (), *, mark: int = 0) -> int:
    """Return the smallest MTU of the routes to `remotes`, in bytes; see Snapshot.route_mtu."""
    return Snapshot.taken().route_mtu(remotes, exclude, mark=mark)


def configure(
    index: int, addresses: Sequence[Interface], mtu: int, *, connected: bool = True
) -> None:
    """Give the interface its addresses and MTU, and bring it up.

    With `connected` the main table leads to the addresses' networks, as the kernel has it. Raises
    InterfaceError; what was done until then disappears when the TUN is closed.
    """
    _check_mtu(mtu, addresses)
    with RtnetlinkSocket() as sock:
        _check_free(sock, index, addresses)
        _silence(sock, index)
        for address in addresses:
            _add_address(sock, index, address, 0 if connected else IFA_F_NOPREFIXROUTE)
        _bring_up(sock, index, mtu)


def add_routes(
    index: int,
    routes: Iterable[Network],
    table: int,
    connected: Collection[Interface] = (),
    *,
    gateways: bool = True,
) -> None:
    """Send `routes` into an interface that is up, by a routing table.

    Those inside the subnet of an address in `connected` exist already. A /0 in the main table would
    catch the tunnel's own outer packets: the caller gives another one. Those of IPv6 are left out
    where that is off. Raises InterfaceError.

    Without `gateways` the kernel looks for no IPv4 gateway there: it takes routes of scope link for
    that. Where rules let this table go first, `ip route add ... via GATEWAY` would find the tunnel
    instead of the link that the gateway is on.
    """
    with RtnetlinkSocket() as sock:
        scope = SCOPE_LINK if gateways else SCOPE_GLOBAL
        _add_routes(sock, index, _wanted(carried(index, routes), connected), table, scope)


def carried(index: int, networks: Iterable[Network]) -> list[Network]:
    """Return the networks of the IP versions that an interface has."""
    try:
        switch = IPV6 / socket.if_indextoname(index) / "disable_ipv6"
        ipv6 = switch.read_text().strip() == "0"
    except OSError:
        ipv6 = False
    return [network for network in networks if ipv6 or network.version == 4]


def prune(
    index: int, addresses: Collection[Interface], routes: Mapping[int, Iterable[Network]]
) -> None:
    """Take away what an interface has from an earlier time, and nobody gave it now.

    `routes` are by the number of their table. Raises OSError.
    """
    wanted = {(network, table) for table, networks in routes.items() for network in networks}
    with RtnetlinkSocket() as sock:
        for there in present(address_of, sock.addresses()):
            if there.interface == index and there.with_prefix not in addresses:
                sock.request(address_message(index, there.with_prefix), RTM_DELADDR)
        stale = [
            route_body(index, route.destination, route.table, SCOPE_NOWHERE)
            for route in sock.routes()
            if route.interface == index and (route.destination, route.table) not in wanted
        ]
        # Those that the kernel made for the addresses have another origin, and are not found.
        sock.request_each(stale, RTM_DELROUTE, 0)


def prepare(index: int, mtu: int) -> None:
    """Give the interface its MTU and nothing else: it is for others to bring up.

    Raises InterfaceError. Packed here and not by pyroute2, whose import takes longer than all else.
    """
    mode = _attribute(IFLA_INET6_ADDR_GEN_MODE, bytes((ADDR_GEN_MODE_NONE,)))
    silent = _attribute(IFLA_AF_SPEC, _attribute(AF_INET6, mode))
    numbers = {IFLA_MTU: mtu, IFLA_TXQLEN: TRANSMIT_QUEUE}
    sized = b"".join(RTA_U32.pack(RTA_U32.size, kind, value) for kind, value in numbers.items())
    bodies = [IFINFO.pack(index) + attributes for attributes in (silent, sized)]
    with RtnetlinkSocket() as sock:
        # Without IPv6 there is nothing to silence, and that is refused.
        _, refused = sock.request_each(bodies, RTM_NEWLINK, 0)
    if refused is not None:
        raise _explained(f"the interface cannot have MTU {mtu}", refused) from refused


def _attribute(kind: int, value: bytes) -> bytes:
    length = RTATTR.size + len(value)
    return RTATTR.pack(length, kind) + value + bytes(-length % 4)


def change_addresses(
    index: int, old: Collection[Interface], new: Sequence[Interface], *, connected: bool = True
) -> None:
    """Give an interface that is up the new addresses, then take the others away.

    Raises InterfaceError, OSError.
    """
    flags = 0 if connected else IFA_F_NOPREFIXROUTE
    with RtnetlinkSocket() as sock:
        _check_free(sock, index, new)
        for address in new:
            _add_address(sock, index, address, flags)
        gone = set(old) - set(new)
        for address in gone:
            with suppress(OSError):  # it is gone already
                sock.request(address_message(index, address), RTM_DELADDR)
        for address in new if gone else ():  # some may have been secondary to what is gone
            _add_address(sock, index, address, flags)


def set_mtu(index: int, mtu: int, addresses: Iterable[Interface]) -> None:
    """Change the MTU of an interface with these addresses. Raises InterfaceError."""
    _check_mtu(mtu, addresses)
    with RtnetlinkSocket() as sock:
        _bring_up(sock, index, mtu)


def delete_routes(index: int, routes: Iterable[Network], table: int) -> None:
    """Send networks into an interface no more; those that are gone already will do."""
    with RtnetlinkSocket() as sock:
        bodies = (route_body(index, network, table, SCOPE_NOWHERE) for network in routes)
        sock.request_each(bodies, RTM_DELROUTE, 0)


def _check_mtu(mtu: int, addresses: Iterable[Interface]) -> None:
    ipv6 = any(address.version == 6 for address in addresses)
    minimum = MIN_MTU_IPV6 if ipv6 else MIN_MTU
    if not minimum <= mtu <= MAX_MTU:
        reason = ", because there is an IPv6 address" if ipv6 and mtu < minimum else ""
        raise InterfaceError(
            f"an MTU of {mtu} bytes cannot be", f"set one from {minimum} to {MAX_MTU}{reason}"
        )


def _check_free(sock: RtnetlinkSocket, index: int, addresses: Iterable[Interface]) -> None:
    wanted = {address.ip for address in addresses}
    for there in present(address_of, sock.addresses()):
        if there.host in wanted and there.interface != index:
            name = socket.if_indextoname(there.interface)
            raise InterfaceError(
                f"the address {there.host} is in use: {name} has it",
                f"choose another Address, or see `ip address show dev {name}`",
            )


def table_number(name: str) -> int:
    """Return the number of a routing table: a number, or a name of iproute2's rt_tables.

    Raises InterfaceError where there is no such table.
    """
    if name == "main":
        return TABLE_MAIN
    if name.isascii() and name.isdigit() and 0 < int(name) < 1 << 32:
        return int(name)
    for path in RT_TABLES:
        with suppress(OSError):
            for line in path.read_text().splitlines():
                words = line.partition("#")[0].split()
                if len(words) == 2 and words[1] == name and words[0].isdigit():
                    return int(words[0])
    raise InterfaceError(
        f"there is no routing table {name!r}",
        f"give its number, or name it in {RT_TABLES[0]}; Table = auto is the main one",
    )


def _wanted(routes: Iterable[Network], addresses: Collection[Interface]) -> list[Network]:
    connected = [address.network for address in addresses]
    wanted = {route for route in routes if not any(_covers(c, route) for c in connected)}
    return sorted(wanted, key=lambda route: (-route.prefixlen, str(route)))


def _covers(network: Network, part: Network) -> bool:
    return (
        network.version == part.version
        and network.prefixlen <= part.prefixlen
        and part.network_address in network
    )


def _silence(sock: RtnetlinkSocket, index: int) -> None:
    """Keep the kernel from a link-local address of its own, and the chatter that comes with it."""
    message = _link(index)
    mode = ["IFLA_INET6_ADDR_GEN_MODE", ADDR_GEN_MODE_NONE]
    message["attrs"] = [["IFLA_AF_SPEC", {"attrs": [["AF_INET6", {"attrs": [mode]}]]}]]
    with suppress(OSError):  # without IPv6 there is none
        sock.request(message, RTM_NEWLINK)


def add_address(index: int, address: Interface) -> None:
    """Add an address to any interface. Raises OSError: FileExistsError where it is there."""
    with RtnetlinkSocket() as sock:
        sock.request(address_message(index, address), RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL)


def delete_address(index: int, address: Interface) -> None:
    """Delete an address from an interface. Raises OSError: EADDRNOTAVAIL where it is not there."""
    with RtnetlinkSocket() as sock:
        sock.request(address_message(index, address), RTM_DELADDR)


def _add_address(sock: RtnetlinkSocket, index: int, address: Interface, flags: int) -> None:
    try:
        message = address_message(index, address)
        if address.version == 6:
            flags |= IFA_F_NODAD  # nobody else is on a TUN
        message["attrs"].append(["IFA_FLAGS", flags])
        sock.request(message, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE)
    except OSError as error:
        raise _address_error(address, error) from error


def address_message(index: int, address: Interface) -> Message:
    """Return what RTM_NEWADDR and RTM_DELADDR say about an address of an interface."""
    message = codecs().address()
    message["family"] = FAMILIES[address.version]
    message["prefixlen"] = address.network.prefixlen
    message["index"] = index
    message["attrs"] = [["IFA_LOCAL", str(address.ip)], ["IFA_ADDRESS", str(address.ip)]]
    return message


def _address_error(address: Interface, error: OSError) -> InterfaceError:
    if address.version == 6 and error.errno in {errno.EACCES, errno.EPERM, errno.EOPNOTSUPP}:
        return InterfaceError(
            f"the address {address} cannot be set: {error.strerror}",
            "IPv6 may be off: `sysctl net.ipv6.conf.default.disable_ipv6=0`, or remove the address",
        )
    return _explained(f"the address {address} cannot be set", error)


def _bring_up(sock: RtnetlinkSocket, index: int, mtu: int) -> None:
    message = _link(index)
    message["flags"] = message["change"] = IFF_UP
    message["attrs"] = [["IFLA_MTU", mtu], ["IFLA_TXQLEN", TRANSMIT_QUEUE]]
    try:
        sock.request(message, RTM_NEWLINK)
    except OSError as error:
        raise _explained(f"the interface cannot be brought up with MTU {mtu}", error) from error


def _link(index: int) -> Message:
    message = codecs().link()
    message["index"] = index
    return message


def _add_routes(
    sock: RtnetlinkSocket, index: int, networks: Sequence[Network], table: int, scope: int
) -> None:
    bodies = (route_body(index, network, table, scope) for network in networks)
    refusals = sock.request_each(bodies, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL)
    ours: set[Network] | None = None
    for network, error in zip(networks, refusals, strict=True):
        if error is None:
            continue
        if error.errno != errno.EEXIST:
            raise _explained(f"the route {network} cannot be set", error) from error
        # After a crash, and when a file is read again, all are there already: asked for once.
        ours = _routed(sock, index, table) if ours is None else ours
        if network not in ours:
            raise InterfaceError(
                f"there is another route for {network}",
                f"see `ip route show {network}`; change AllowedIPs, or set Table = off",
            )


def route_body(index: int, network: Network, table: int, scope: int) -> bytes:
    """Return what RTM_NEWROUTE says about a network behind an interface, without its header.

    `scope` is IPv4's; SCOPE_NOWHERE stands for any in RTM_DELROUTE. Packed here and not by
    pyroute2, which takes 150 us for each of what may be thousands.
    """
    head = RTMSG.pack(
        FAMILIES[network.version],
        network.prefixlen,
        PROTOCOL,
        scope if network.version == 4 else SCOPE_GLOBAL,
        RouteKind.UNICAST,
    )
    destination = network.network_address.packed
    return b"".join(
        (
            head,
            RTATTR.pack(RTATTR.size + len(destination), RTA_DST),
            destination,
            RTA_U32.pack(RTA_U32.size, RTA_OIF, index),
            RTA_U32.pack(RTA_U32.size, RTA_TABLE, table),
        )
    )


def _routed(sock: RtnetlinkSocket, index: int, table: int) -> set[Network]:
    """Return what is sent into an interface by a table."""
    there = sock.routes()
    return {r.destination for r in there if r.interface == index and r.table == table}


def _explained(what: str, error: OSError) -> InterfaceError:
    if error.errno in {errno.EPERM, errno.EACCES}:
        return InterfaceError(
            f"{what}: {error.strerror}",
            "run as root or with CAP_NET_ADMIN (container: `--cap-add NET_ADMIN`)",
            missing=True,
        )
    if error.errno == errno.ENODEV:
        return InterfaceError(f"{what}: the interface is gone", "see who deletes it: `ip monitor`")
    return InterfaceError(f"{what}: {error.strerror}", "see `ip address` and `ip route`")
