"""Entries to a Config: values are read, then what only shows with all of them together is checked.

A key that may be written several times adds up; of any other the last one counts, as with
wg-quick. Command line options take the same way in as a file's lines: they are entries whose place
is an option.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sacip_tun.config import values
from sacip_tun.config.errors import ConfigError, place_of, placed
from sacip_tun.config.grammar import Entry, Key, Section, entries_of, row_of
from sacip_tun.config.model import (
    SETS_KEY,
    Config,
    InterfaceConfig,
    LeakProtection,
    Nat,
    Network,
    PeerConfig,
)
from sacip_tun.protocol.address import Host
from sacip_tun.protocol.keys import NO_PRIVATE_KEY, public_key

NAMES = {
    "exclude": "ExcludeIPs",
    "kill_switch": "KillSwitch",
    "leak_protection": "LeakProtection",
}
NO_FULL_TUNNEL = "there is no full tunnel in this file for it to have an effect on"
HALF = (
    "only IPv{} goes through the tunnel: what is sent by IPv{} leaves this host as before; add {} "
    "to AllowedIPs, or KillSwitch = yes to [Interface]"
)
NO_WAY_ROUND = (
    "a route in the main table does not lead round this tunnel: name the network in ExcludeIPs, or "
    "set LeakProtection = compat"
)
LOOP = (
    "what is sent there would go into the tunnel itself; write the peer's outer address, or take "
    "that network out of AllowedIPs"
)


def parse(text: str, name: str, source: str = "") -> Config:
    """Parse a file's text; `name` is the interface, `source` the file as messages call it.

    Raises ConfigError, and nothing else, whatever the text is.
    """
    return assemble(entries_of(text, source), name, source)


def assemble(entries: Iterable[Entry], name: str, source: str = "") -> Config:
    """Build the Config of interface `name`; raises ConfigError."""
    try:
        values.interface_name(name)
    except ConfigError as error:
        raise error.at(None, source) from None
    interface, peers = _drafts(entries, source)
    if interface is not None and _gets_its_key_later(interface):
        interface.fields.setdefault("private_key", NO_PRIVATE_KEY)
    if interface is None or "private_key" not in interface.fields:
        raise ConfigError(
            "there is no PrivateKey" if interface else "there is no [Interface] section",
            f"add [Interface] with PrivateKey = ...: {values.GET_PRIVATE_KEY}",
            where=interface.where if interface else None,
            source=source,
        )
    _check_addresses(interface)
    peers = _checked(interface, peers)
    sacip = interface.fields.get("sacip", True)
    warnings = [
        placed(text, where, source)
        for draft in (interface, *peers)
        for where, text in draft.warnings
    ]
    told = (
        *_inner_warnings(peers),
        *_endpoint_warnings(peers),
        *_full_tunnel_warnings(interface, peers),
    )
    warnings += [placed(text, where, source) for where, text in told]
    return Config(
        InterfaceConfig(name, **_interface_fields(interface)),
        tuple(PeerConfig(**{"sacip": sacip, **_peer_fields(peer)}) for peer in peers),
        tuple(warnings),
    )


class _Draft:
    """One section while it is being read: dataclass fields, and where each was written."""

    def __init__(self, where: int | str, source: str) -> None:
        self.where = where
        self.source = source
        self.fields: dict[str, Any] = {}
        self.places: dict[str, int | str] = {}
        # Of each value of a key that adds up.
        self.each_place: dict[str, list[int | str]] = {}
        self.warnings: list[tuple[int | str, str]] = []

    def read(self, entry: Entry) -> None:
        """Read one value; raises ConfigError with its place."""
        row = row_of(entry.section, entry.key)
        try:
            found = [row.read(part) for part in _parts(row, entry.value)]
        except ConfigError as error:
            raise error.at(entry.where, self.source) from None
        if row.many:
            self.each_place.setdefault(row.field, []).extend([entry.where] * len(found))
            found = [*self.fields.get(row.field, ()), *found]
        elif row.field in self.fields:
            self.warnings.append((entry.where, f"{row.name} is given again; this one counts"))
        self.fields[row.field] = tuple(found) if row.many else found[0]
        self.places[row.field] = entry.where

    def error(self, field: str, cause: str, fix: str) -> ConfigError:
        """Return an error at the place of `field`, or of the section where it is missing."""
        where = self.places.get(field, self.where)
        return ConfigError(cause, fix, where=where, source=self.source)


def _parts(row: Key, value: str) -> Sequence[str]:
    if row.many and not row.hook:
        return value.replace(",", " ").split()
    if not value:
        raise ConfigError(f"{row.name} has no value", "write one, or leave it out")
    return (value,)


def _drafts(entries: Iterable[Entry], source: str) -> tuple[_Draft | None, list[_Draft]]:
    """Read every entry; a second [Interface] section goes on with the first, as in wg(8)."""
    interface: _Draft | None = None
    peers: list[_Draft] = []
    for entry in entries:
        if entry.section is Section.INTERFACE:
            draft = interface = interface or _Draft(entry.where, source)
        elif not entry.key:
            draft = _Draft(entry.where, source)
            peers.append(draft)
        else:
            draft = peers[-1]
        if entry.key:
            draft.read(entry)
    return interface, peers


def _gets_its_key_later(interface: _Draft) -> bool:
    """Tell whether a PostUp sets the private key, as wg-quick(8) shows it."""
    return any(SETS_KEY.search(line) for line in interface.fields.get("post_up", ()))


def _check_addresses(interface: _Draft) -> None:
    addresses = interface.fields.get("addresses", ())
    if len({address.ip for address in addresses}) < len(addresses):
        raise interface.error("addresses", "an address is given twice", "delete one of them")
    small = interface.fields.get("mtu", values.MIN_IPV6_MTU) < values.MIN_IPV6_MTU
    if small and any(address.version == 6 for address in addresses):
        raise interface.error(
            "mtu",
            f"an MTU of {interface.fields['mtu']} is too small for an IPv6 address",
            f"use {values.MIN_IPV6_MTU} or more, or leave the IPv6 address out",
        )


def _checked(interface: _Draft, peers: Sequence[_Draft]) -> list[_Draft]:
    """Return the peers but this host itself, which one list for many hosts may name, as wg does."""
    private, seen = interface.fields["private_key"], dict[bytes, _Draft]()
    own = None if private == NO_PRIVATE_KEY else public_key(private)
    for peer in peers:
        key = peer.fields.get("public_key")
        if key is None:
            raise peer.error(
                "public_key", "this peer has no PublicKey", f"add one: {values.GET_PUBLIC_KEY}"
            )
        if key == own:
            _leave_out(interface, peer)
            continue
        if key in seen:
            _go_on_with(interface, seen[key], peer)
        seen[key] = peer
        _check_sacip(peer, sacip=interface.fields.get("sacip", True))
    return list(seen.values())


def _leave_out(interface: _Draft, peer: _Draft) -> None:
    """Warn of a section that is about this host; on a command line it can only be a mistake."""
    cause = "this peer has the public key of this host itself"
    where = peer.places["public_key"]
    if isinstance(where, str):
        raise peer.error("public_key", cause, f"write the other side's: {values.GET_PUBLIC_KEY}")
    interface.warnings.append((where, f"{cause}: it is left out"))


def _go_on_with(interface: _Draft, earlier: _Draft, peer: _Draft) -> None:
    """Take over what a second section about a peer does not say; its AllowedIPs are all there are.

    That is what wg does with it; on a command line it can only be a mistake.
    """
    cause = f"this peer is already there ({place_of(earlier.places['public_key'])})"
    where = peer.places["public_key"]
    if isinstance(where, str):
        raise peer.error("public_key", cause, "merge the two into one")
    interface.warnings.append((where, f"{cause}: what is said here counts"))
    peer.fields = {**earlier.fields, "allowed_ips": (), **peer.fields}
    peer.places = earlier.places | peer.places
    peer.warnings = earlier.warnings + peer.warnings


def _check_sacip(peer: _Draft, *, sacip: bool) -> None:
    """Refuse what would be without any effect towards plain WireGuard."""
    if peer.fields.get("sacip", sacip):
        return
    wanted = {
        "nat": ("Nat = strict", peer.fields.get("nat") is Nat.STRICT),
        "relay": ("Relay = yes", peer.fields.get("relay", False)),
    }
    for field, (line, is_so) in wanted.items():
        if is_so:
            raise peer.error(
                field,
                f"{line} needs SACIP, and it is off for this peer",
                f"take {line} away, or set Sacip = on",
            )


def _interface_fields(draft: _Draft) -> dict[str, Any]:
    fields = dict(draft.fields)
    dns = fields.pop("dns", ())
    fields["dns_servers"] = tuple(entry for entry in dns if not isinstance(entry, str))
    excluded = fields.pop("exclude", ())
    fields["exclude_ips"] = tuple(network for network in excluded if network is not None)
    fields["exclude_local"] = None in excluded
    fields["dns_search"] = tuple(entry for entry in dns if isinstance(entry, str))
    return fields


def _peer_fields(draft: _Draft) -> dict[str, Any]:
    networks = (network for network, _ in draft.fields.get("allowed_ips", ()))
    return {**draft.fields, "allowed_ips": tuple(dict.fromkeys(networks))}


def _inner_warnings(peers: Sequence[_Draft]) -> Iterator[tuple[int | str, str]]:
    """Point at inner addresses that are legal and probably not what was meant."""
    owners: dict[Network, _Draft] = {}
    for peer in peers:
        where = peer.places.get("allowed_ips", peer.where)
        if not peer.fields.get("allowed_ips"):
            yield where, "this peer has no AllowedIPs: no inner packet can go to it or come from it"
        for network, cleared in peer.fields.get("allowed_ips", ()):
            if cleared:
                yield where, f"host bits in AllowedIPs are cleared: {network}"
            if owners.setdefault(network, peer) is not peer:
                yield where, f"{network} belonged to an earlier peer and now belongs to this one"


def _full_tunnel_warnings(
    interface: _Draft, peers: Sequence[_Draft]
) -> Iterator[tuple[int | str, str]]:
    """Point at what would leave this host beside a full tunnel, and at what needs one."""
    fields, places = interface.fields, interface.places
    full = {
        network.version: where
        for peer in peers
        for (network, _), where in zip(
            peer.fields.get("allowed_ips", ()),
            peer.each_place.get("allowed_ips", ()),
            strict=True,
        )
        if not network.prefixlen
    }
    if fields.get("table", "auto") != "auto" or not full:
        for field, name in NAMES.items():
            if fields.get(field):
                yield places[field], f"{name} does nothing here: {NO_FULL_TUNNEL}"
        return
    if len(full) == 1 and not fields.get("kill_switch"):
        ((version, where),) = full.items()
        other, missing = (6, "::/0") if version == 4 else (4, "0.0.0.0/0")
        yield where, HALF.format(version, other, missing)
    strict = fields.get("leak_protection", LeakProtection.STRICT) is LeakProtection.STRICT
    for field in ("pre_up", "post_up"):
        if strict and any("route add" in hook for hook in fields.get(field, ())):
            yield places[field], NO_WAY_ROUND


def _endpoint_warnings(peers: Sequence[_Draft]) -> Iterator[tuple[int | str, str]]:
    """Point at endpoints that lead back here: into the tunnel itself, or to this host."""
    holding = _Holding(
        network for peer in peers for network, _ in peer.fields.get("allowed_ips", ())
    )
    for peer in peers:
        endpoint = peer.fields.get("endpoint")
        host = values.host_of(endpoint.host) if endpoint else None
        if host is None:
            continue
        where = peer.places["endpoint"]
        if host.is_loopback:
            yield where, f"Endpoint {host} reaches nothing but a tunnel on this same host"
        for network in holding.networks(host):
            yield where, f"Endpoint {host} is inside AllowedIPs {network}: {LOOP}"


class _Holding:
    """Finds the networks that hold an address, but a /0, among as many as there may be."""

    def __init__(self, networks: Iterable[Network]) -> None:
        # By family and host bits, then by prefix: the networks with their places in the file.
        self._levels: dict[tuple[int, int], dict[int, list[tuple[int, Network]]]] = {}
        for place, network in enumerate(networks):
            host_bits = network.max_prefixlen - network.prefixlen
            level = self._levels.setdefault((network.version, host_bits), {})
            prefix = int(network.network_address) >> host_bits
            level.setdefault(prefix, []).append((place, network))

    def networks(self, host: Host) -> list[Network]:
        """Return them in the order in which they were written."""
        found = [
            entry
            for (version, host_bits), level in self._levels.items()
            if version == host.version and host_bits < host.max_prefixlen
            for entry in level.get(int(host) >> host_bits, ())
        ]
        return [network for _, network in sorted(found, key=lambda entry: entry[0])]
