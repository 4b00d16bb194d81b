"""Interfaces and their addresses, as plain facts."""

from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface, ip_interface

from sacip_tun.protocol.address import Host

# rt_scope_t (linux/rtnetlink.h): how far an address is valid; larger is narrower.
SCOPE_GLOBAL, SCOPE_SITE, SCOPE_LINK, SCOPE_HOST, SCOPE_NOWHERE = 0, 200, 253, 254, 255


@dataclass(frozen=True, slots=True)
class Link:
    """An interface. `kind` is the driver's name where rtnetlink gives one: tun, veth, bridge."""

    index: int
    name: str
    up: bool = True
    carrier: bool = True
    mtu: int = 1500
    kind: str = ""
    loopback: bool = False

    @property
    def usable(self) -> bool:
        """Whether packets can leave by it."""
        return self.up and self.carrier


@dataclass(frozen=True, slots=True)
class Address:
    """An address of an interface.

    `secondary`: IPv4, deleted or promoted together with its primary. `temporary`: IPv6 privacy
    address (RFC 8981). `tentative`: duplicate detection has not finished, or it failed.
    `deprecated`: still valid, but not for new communication (RFC 4862 5.5.4).
    `peer` is the other end of a point-to-point link, else `host` itself.
    """

    host: Host
    prefix_length: int
    interface: int
    scope: int = SCOPE_GLOBAL
    secondary: bool = False
    temporary: bool = False
    tentative: bool = False
    deprecated: bool = False
    label: str = ""
    peer: Host | None = None

    @property
    def key(self) -> tuple[int, Host, int, Host | None]:
        """What makes it one address for the kernel: everything else may change."""
        return (self.interface, self.host, self.prefix_length, self.peer)

    @property
    def with_prefix(self) -> IPv4Interface | IPv6Interface:
        """The same without its interface."""
        return ip_interface(f"{self.host}/{self.prefix_length}")

    def covers(self, host: Host) -> bool:
        """Whether `host` is in this address's subnet."""
        subnet = self.peer or self.host
        if host.version != subnet.version:
            return False
        return (int(host) ^ int(subnet)) >> (subnet.max_prefixlen - self.prefix_length) == 0
