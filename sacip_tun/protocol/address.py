"""Addresses of the outer network: one endpoint, and the two slots with an active index.

The 2007 patch gave each socket two addresses of each kind and an index that says which one is in
use (deck, slides 11-18: sac_daddr[2] and sac_daddr_act, sac_rcv_saddr[2] and sac_rcv_saddr_act).
`AddressPair` is that state: `of` initialises, `added` writes the idle slot, `switched` flips the
index.
It is frozen, so that a flip replaces the value whole and no reader ever sees half of one.
"""

from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Self

from sacip_tun.protocol.errors import LocalError

Host = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One end of an outer path: an address, a UDP port, and the interface where that matters.

    `interface` is a kernel interface index, 0 where the kernel's routing shall choose. For a
    link-local IPv6 address it is the scope (RFC 4007), and then part of the address.
    """

    host: Host
    port: int
    interface: int = 0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `1.2.3.4:51820`, `[2001:db8::1]:51820` or `[fe80::1%3]:51820` (index after `%`).

        Raises LocalError with the reason where the text is none of these.
        """
        host, colon, port = text.rpartition(":")
        if not colon or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
            raise LocalError(f"{text!r} is not ADDRESS:PORT")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif ":" in host:
            raise LocalError(f"an IPv6 address needs brackets: [{host}]:{port}")
        host, _, zone = host.partition("%")
        if zone and not (zone.isascii() and zone.isdigit()):
            raise LocalError(f"zone {zone!r} is not an interface index")
        try:
            return cls(ip_address(host), int(port), int(zone or 0))
        except ValueError:
            raise LocalError(f"{host!r} is not an IP address") from None

    @classmethod
    def from_sockaddr(cls, sockaddr: tuple[str, int] | tuple[str, int, int, int]) -> Self:
        """Take what the socket module gives: (host, port) or (host, port, flow, scope)."""
        host = ip_address(sockaddr[0].partition("%")[0])
        scope = sockaddr[3] if len(sockaddr) == 4 and host.is_link_local else 0
        return cls(host, sockaddr[1], scope)

    @property
    def sockaddr(self) -> tuple[str, int] | tuple[str, int, int, int]:
        """What the socket module takes."""
        if self.host.version == 4:
            return (str(self.host), self.port)
        return (str(self.host), self.port, 0, self.interface)

    @property
    def same_place(self) -> tuple[Host, int]:
        """Address and port alone: what two ends can compare, interface indices being private."""
        return (self.host, self.port)

    def __str__(self) -> str:
        if self.host.version == 4:
            return f"{self.host}:{self.port}"
        zone = f"%{self.interface}" if self.interface and self.host.is_link_local else ""
        return f"[{self.host}{zone}]:{self.port}"


@dataclass(frozen=True, slots=True)
class AddressPair:
    """Two slots and the index of the active one.

    Slots may be empty; a third address evicts the idle one. `active` is the address in use: each
    packet asks for it, so it is looked up once.
    """

    slots: tuple[Endpoint | None, Endpoint | None] = (None, None)
    index: int = 0
    active: Endpoint | None = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "active", self.slots[self.index])

    @classmethod
    def of(cls, endpoint: Endpoint | None) -> Self:
        """Return a pair that starts at `endpoint` (deck: sac_init)."""
        return cls() if endpoint is None else cls((endpoint, None), 0)

    @property
    def idle(self) -> Endpoint | None:
        """The other one: announced and not yet in use, or old and kept as a fallback."""
        return self.slots[1 - self.index]

    def added(self, endpoint: Endpoint) -> Self:
        """Return the pair with `endpoint` in the idle slot (deck: sac_add)."""
        if endpoint == self.active:
            return self
        slots = (self.active, endpoint) if self.index == 0 else (endpoint, self.active)
        return replace(self, slots=slots)

    def switched(self) -> Self:
        """Return the pair with the index flipped (deck: sac_act).

        Raises LocalError where the idle slot is empty: a flip must never lose the only address.
        """
        if self.idle is None:
            raise LocalError("nothing to switch to: the idle slot is empty")
        return replace(self, index=1 - self.index)

    def moved_to(self, endpoint: Endpoint) -> Self:
        """Return the pair with `endpoint` active and the address in use before it idle."""
        if endpoint == self.active:
            return self
        if self.active is None:
            return self.of(endpoint)
        return self.added(endpoint).switched()

    def replaced(self, endpoint: Endpoint) -> Self:
        """Return the pair with `endpoint` in the active slot: the same address, seen better."""
        slots = (endpoint, self.idle) if self.index == 0 else (self.idle, endpoint)
        return replace(self, slots=slots)

    def forgotten(self) -> Self:
        """Return the pair with an empty idle slot."""
        slots = (self.active, None) if self.index == 0 else (None, self.active)
        return replace(self, slots=slots)

    def __contains__(self, endpoint: object) -> bool:
        return endpoint is not None and endpoint in self.slots
