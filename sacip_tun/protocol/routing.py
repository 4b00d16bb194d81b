"""Crypto-routing: which peer an inner address belongs to (WireGuard 2).

One dictionary for each prefix length in use. Tunnels have a handful of lengths, so that a lookup is
a handful of dictionary accesses, whatever the number of peers.
"""

from collections.abc import Hashable
from ipaddress import IPv4Network, IPv6Network
from typing import Generic, TypeVar

Network = IPv4Network | IPv6Network
Owner = TypeVar("Owner", bound=Hashable)


class _Family(Generic[Owner]):
    """Prefixes of one IP version, `bits` long addresses."""

    __slots__ = ("bits", "tables")

    def __init__(self, bits: int) -> None:
        self.bits = bits
        # (host bits, {address >> host bits: owner}), longest prefix first.
        self.tables: list[tuple[int, dict[int, Owner]]] = []

    def table(self, host_bits: int) -> dict[int, Owner]:
        for bits, table in self.tables:
            if bits == host_bits:
                return table
        added = dict[int, Owner]()
        self.tables.append((host_bits, added))
        self.tables.sort(key=lambda entry: entry[0])
        return added

    def remove(self, host_bits: int, prefix: int) -> None:
        table = self.table(host_bits)
        del table[prefix]
        if not table:
            self.tables.remove((host_bits, table))


class AllowedIPs(Generic[Owner]):
    """A table of networks, each with one owner."""

    __slots__ = ("_families", "_owned")

    def __init__(self) -> None:
        # By the length in bytes of a packed address.
        self._families: dict[int, _Family[Owner]] = {4: _Family(32), 16: _Family(128)}
        # A list for each owner, who has few: a dictionary takes three times as much.
        self._owned: dict[Owner, list[Network]] = {}

    def insert(self, network: Network, value: Owner) -> None:
        """Give `network` to `value`; whoever had exactly this network loses it."""
        table, prefix = self._place(network)
        before = table.get(prefix)
        if before is not None:
            self._disown(before, network)
        table[prefix] = value
        self._owned.setdefault(value, []).append(network)

    def remove_value(self, value: Owner) -> None:
        """Take everything from `value`; harmless where it has nothing."""
        for network in self._owned.pop(value, ()):
            family = self._families[network.max_prefixlen // 8]
            host_bits = family.bits - network.prefixlen
            family.remove(host_bits, int(network.network_address) >> host_bits)

    def lookup(self, address: bytes) -> Owner | None:
        """Return the owner of the longest prefix that holds `address`, 4 or 16 bytes packed.

        None where nobody has it, or where it is of another length.
        """
        family = self._families.get(len(address))
        if family is None:
            return None
        number = int.from_bytes(address, "big")
        for host_bits, table in family.tables:
            owner = table.get(number >> host_bits)
            if owner is not None:
                return owner
        return None

    def holds(self, address: bytes) -> bool:
        """Tell whether a network less than everything (a /0) holds `address`."""
        family = self._families.get(len(address))
        number = int.from_bytes(address, "big")
        return family is not None and any(
            number >> host_bits in table
            for host_bits, table in family.tables
            if host_bits < family.bits
        )

    def networks_of(self, value: Owner) -> list[Network]:
        """Return the networks of `value`, in the order in which they were inserted."""
        return list(self._owned.get(value, ()))

    def _place(self, network: Network) -> tuple[dict[int, Owner], int]:
        family = self._families[network.max_prefixlen // 8]
        host_bits = family.bits - network.prefixlen
        return family.table(host_bits), int(network.network_address) >> host_bits

    def _disown(self, owner: Owner, network: Network) -> None:
        networks = self._owned[owner]
        networks.remove(network)
        if not networks:
            del self._owned[owner]
