"""A new peer of a hub: keys, the next free addresses, and a file that every WireGuard takes."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_interface

from sacip_tun.cli.keys import new_preshared_key, new_private_key, public_key_of
from sacip_tun.config import Config, Network
from sacip_tun.config.model import Interface
from sacip_tun.outcome import Exit, Failure
from sacip_tun.protocol.address import Host
from sacip_tun.protocol.keys import public_key, to_base64

NAME = re.compile(r"[\w.@+-][\w.@+ -]{0,62}", re.ASCII)


@dataclass(frozen=True, slots=True)
class NewPeer:
    """One peer, as both sides are to know it; `addresses` are its own in the tunnel."""

    name: str
    addresses: tuple[Host, ...]
    private: str = field(default_factory=new_private_key, repr=False)
    preshared: str = field(default_factory=new_preshared_key, repr=False)

    @property
    def public(self) -> str:
        """Its public key in base64."""
        return public_key_of(self.private)

    @property
    def allowed(self) -> list[str]:
        """Its addresses as networks of one host."""
        return [f"{address}/{address.max_prefixlen}" for address in self.addresses]

    @property
    def section(self) -> list[str]:
        """Return the lines of the hub's file."""
        return [
            "[Peer]",
            f"# Name = {self.name}",
            f"PublicKey = {self.public}",
            f"PresharedKey = {self.preshared}",
            f"AllowedIPs = {', '.join(self.allowed)}",
        ]


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the new peer's own file shall say."""

    endpoint: str
    """Where the hub is, HOST:PORT."""
    allowed_ips: tuple[str, ...] = ()
    """What it sends to the hub; else the hub's networks."""
    dns: tuple[str, ...] = ()
    keepalive: int | None = None


def checked_name(name: str) -> str:
    """Return a name that can stand in a comment. Raises Failure."""
    if not NAME.fullmatch(name) or name.endswith(" "):
        raise Failure(
            f"{name!r} cannot be the name of a peer",
            "use 1 to 63 letters, digits, spaces or any of _ . @ + -",
            Exit.USAGE,
        )
    return name


def free_addresses(hub: Config, live: Iterable[Network] = ()) -> tuple[Host, ...]:
    """Return the lowest free address in each network of the hub. Raises Failure.

    `live` are the networks of peers that the running tunnel has, with the file or without.
    """
    networks = [own for own in hub.interface.addresses if own.network.num_addresses > 1]
    if not networks:
        raise Failure(
            f"{hub.interface.name} has no network to take addresses from",
            "give its Address a prefix length, such as 10.9.0.1/24",
            Exit.BAD_CONFIGURATION,
        )
    taken = [*live, *(network for peer in hub.peers for network in peer.allowed_ips)]
    taken += [ip_interface(own.ip).network for own in hub.interface.addresses]
    return tuple(_free_address(own, taken) for own in networks)


def _free_address(own: Interface, taken: Sequence[Network]) -> Host:
    """Return the lowest host that is in no network of a peer smaller than the hub's own."""
    inside = sorted(
        (_first(network), _last(network))
        for network in taken
        if network.version == own.version and network.prefixlen > own.network.prefixlen
    )
    first, last = _first(own.network), _last(own.network)
    # RFC 4291 2.6.1: the first is that of all routers; of IPv4 the first and the last are nobody's.
    candidate = first if own.network.prefixlen >= own.max_prefixlen - 1 else first + 1
    last -= own.version == 4 and own.network.prefixlen < 31
    for begin, end in inside:
        if begin <= candidate <= end:
            candidate = end + 1
    if candidate > last:
        raise Failure(
            f"no address is free in {own.network}", "remove a peer, or give Address a longer one"
        )
    return own.network[candidate - first]


def _first(network: Network) -> int:
    return int(network.network_address)


def _last(network: Network) -> int:
    return int(network.broadcast_address)


def file_of(peer: NewPeer, hub: Config, wishes: Wishes) -> str:
    """Return the new peer's own configuration: only what every WireGuard knows."""
    return "".join(f"{line}\n" for line in _file_lines(peer, hub, wishes))


def _file_lines(peer: NewPeer, hub: Config, wishes: Wishes) -> Iterator[str]:
    interface = hub.interface
    networks = [str(own.network) for own in interface.addresses]
    yield "[Interface]"
    yield f"PrivateKey = {peer.private}"
    yield f"Address = {', '.join(peer.allowed)}"
    if wishes.dns:
        yield f"DNS = {', '.join(wishes.dns)}"
    if interface.mtu:
        yield f"MTU = {interface.mtu}"
    yield ""
    yield "[Peer]"
    yield f"PublicKey = {to_base64(public_key(interface.private_key))}"
    yield f"PresharedKey = {peer.preshared}"
    yield f"AllowedIPs = {', '.join(wishes.allowed_ips or networks)}"
    yield f"Endpoint = {wishes.endpoint}"
    if wishes.keepalive:
        yield f"PersistentKeepalive = {wishes.keepalive}"
