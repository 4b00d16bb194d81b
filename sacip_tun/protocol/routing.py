"""Crypto-routing: which peer an inner address belongs to (WireGuard 2).

One dictionary for each prefix length in use. Tunnels have a handful of lengths, so that a lookup is
a handful of dictionary accesses, whatever the number of peers.
"""

from collections.abc import Hashable
from typing import Generic, TypeVar

from sacip_tun.protocol.prefix import Network, Prefix, network_of, prefix_of

Owner = TypeVar("Owner", bound=Hashable)


class _Family(Generic[Owner]):
    """Prefixes of one IP version, `bits` long addresses."""

    __slots__ = ("bits", "tables")

    def __init__(self, bits: int) -> None:
        self.bits = bits
        # (host bits, {address >> host bits: owner}), longest prefix first.
        self.tables: list[tuple[int, dict[int, Owner]]] = []

    def table(self, host_bits: int, *, add: bool = True) -> dict[int, Owner]:
        for bits, table in self.tables:
            if bits == host_bits:
                return table
        added = dict[int, Owner]()
        if add:
            self.tables.append((host_bits, added))
            self.tables.sort(key=lambda entry: entry[0])
        return added

    def remove(self, host_bits: int, prefix: int) -> None:
        table = self.table(host_bits)
        del table[prefix]
        if not table:
            self.tables.remove((host_bits, table))


# Up to so many prefixes of one owner are a list: a dictionary takes three times as much. One that
# has more must not be searched to lose one.
FEW = 16

Owned = list[Prefix] | dict[Prefix, None]


class AllowedIPs(Generic[Owner]):
    """A table of networks, each with one owner."""

    __slots__ = ("_families", "_owned")

    def __init__(self) -> None:
        # By the length in bytes of a packed address.
        self._families: dict[int, _Family[Owner]] = {4: _Family(32), 16: _Family(128)}
        self._owned: dict[Owner, Owned] = {}

    def insert(self, network: Network, value: Owner) -> None:
        """Give `network` to `value`; whoever had exactly this network loses it."""
        self.give(prefix_of(network), value)

    def give(self, code: Prefix, value: Owner) -> None:
        """Give a network to `value`, as its latest; whoever had exactly this network loses it."""
        family, host_bits, bits = self._place(code)
        table = family.table(host_bits)
        before = table.get(bits)
        if before is not None:
            self._disown(before, code)
        table[bits] = value
        owned = self._owned.get(value)
        if owned is None:
            self._owned[value] = [code]
        elif isinstance(owned, dict):
            owned[code] = None
        elif len(owned) < FEW:
            owned.append(code)
        else:
            self._owned[value] = dict.fromkeys((*owned, code))

    def take(self, code: Prefix, value: Owner) -> None:
        """Take a network from `value`; harmless where it does not have exactly this one."""
        family, host_bits, bits = self._place(code)
        if family.table(host_bits, add=False).get(bits) == value:
            family.remove(host_bits, bits)
            self._disown(value, code)

    def remove_value(self, value: Owner) -> None:
        """Take everything from `value`; harmless where it has nothing."""
        for code in self._owned.pop(value, ()):
            family, host_bits, bits = self._place(code)
            family.remove(host_bits, bits)

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

    def prefixes_of(self, value: Owner) -> list[Prefix]:
        """Return the networks of `value`, in the order in which they were inserted."""
        return list(self._owned.get(value, ()))

    def networks_of(self, value: Owner) -> list[Network]:
        """Return the same as networks."""
        return [network_of(code) for code in self._owned.get(value, ())]

    def _place(self, code: Prefix) -> tuple[_Family[Owner], int, int]:
        return self._families[16 if code & 1 else 4], code >> 1 & 0xFF, code >> 9

    def _disown(self, owner: Owner, code: Prefix) -> None:
        owned = self._owned[owner]
        if isinstance(owned, dict):
            del owned[code]
        else:
            owned.remove(code)
        if not owned:
            del self._owned[owner]
