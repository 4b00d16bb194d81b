"""Facts about this host's addresses: what the network monitor knows, as plain values."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sacip_tun.protocol.address import Endpoint, Host
from sacip_tun.protocol.frames import Reason


@dataclass(frozen=True, slots=True)
class Source:
    """A local address from which a peer can be reached now.

    `endpoint.interface` is set only where packets must be steered to an interface that the kernel's
    routing would not choose by itself; `interface` always names the one that has the address.
    `preferred` marks the kernel's own choice for the peer. `gateway` is the next hop, None on the
    peer's own link: another gateway may mean another NAT, so that the same address is told anew.
    """

    endpoint: Endpoint
    interface: int
    deprecated: bool = False
    preferred: bool = False
    gateway: Host | None = None


@dataclass(frozen=True, slots=True)
class LocalFacts:
    """The state of this host after a change.

    `sources` gives for each peer (public key) its usable sources, of the family in use first and
    best first in each; no entry means no change. `present` holds every address that some interface
    of this host still has. `reasons` says why an address of the previous state is not usable any
    more. `candidates` are the addresses of this host at which a peer may find it, best first.
    `broadcasts` are the broadcast addresses of its networks.
    """

    sources: Mapping[bytes, tuple[Source, ...]]
    present: frozenset[Host] = frozenset()
    reasons: Mapping[Host, Reason] = field(default_factory=dict)
    candidates: tuple[Host, ...] = ()
