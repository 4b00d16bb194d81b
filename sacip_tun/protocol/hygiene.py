"""Which addresses can be the other end of an outer path, whoever names them.

1. What is nobody's address can be no endpoint: port 0, unspecified, multicast, loopback, broadcast,
   reserved (240.0.0.0/4, 0.0.0.0/8), IPv4 written as IPv6.
2. An address of this host, or one that the tunnel itself carries, leads back to us. What the user
   configured is an exception: two tunnels on one host are his to want.
3. Global addresses are not taken for inner ones: AllowedIPs that are nearly everything cover the
   places where the peer really is.
"""

from collections.abc import Callable
from enum import Enum
from ipaddress import IPv4Network, IPv6Address

from sacip_tun.protocol.address import Endpoint, Host

# "This host on this network" (RFC 1122 3.2.1.3): never a destination.
THIS_NETWORK = IPv4Network("0.0.0.0/8")


class Fault(Enum):
    """Why an address cannot be an endpoint."""

    NOBODYS = "it can be nobody's address"
    OURS = "it is an address of this host"
    INNER = "it is an address inside the tunnel"


class Hygiene:
    """Judges endpoints. `is_inner` tells of a packed address whether the tunnel carries it."""

    def __init__(self, is_inner: Callable[[bytes], bool]) -> None:
        self._is_inner = is_inner
        self.present: frozenset[Host] = frozenset()
        """Every address of this host."""
        self.broadcasts: frozenset[Host] = frozenset()
        """The broadcast addresses of its networks."""

    def fault(self, endpoint: Endpoint) -> Fault | None:
        """Return what is wrong with an endpoint that nobody configured, None where nothing is."""
        host = endpoint.host
        if not is_anybodys(endpoint):
            return Fault.NOBODYS
        if host in self.present:
            return Fault.OURS
        if host in self.broadcasts:
            return Fault.NOBODYS
        return Fault.INNER if not host.is_global and self._is_inner(host.packed) else None


def is_anybodys(endpoint: Endpoint) -> bool:
    """Tell whether an address can be the end of an outer path to somebody else at all."""
    host = endpoint.host
    if isinstance(host, IPv6Address):
        odd = host.ipv4_mapped is not None
    else:
        odd = host.is_reserved or host in THIS_NETWORK
    nobodys = host.is_multicast or host.is_unspecified or host.is_loopback or odd
    return endpoint.port != 0 and not nobodys
