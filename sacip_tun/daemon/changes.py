"""Changes of a running interface, as values: readers of requests make them.

    peer = PeerChange(key, endpoint=EndpointName("192.0.2.1", 51820), keepalive=25)
    await service.reconfigurer.apply(Change(listen_port=51820, peers=[peer]))

`apply` does all of it or, where it raises, nothing. `PeerChange.of(peer)` is what makes a peer of a
configuration exactly so, whether it is there or not; `PeerChange(key, remove=True)` ends it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

from sacip_tun.config import EndpointName, Nat, PeerConfig
from sacip_tun.protocol.keys import NO_PRESHARED_KEY
from sacip_tun.protocol.prefix import prefix_of

# An interval that is ours to find.
AUTOMATIC = -1


@dataclass(frozen=True, slots=True)
class PeerChange:
    """What becomes of one peer; None leaves a value as it is.

    A peer that is not there is added, unless it is `update_only` or to `remove`. `preshared_key` of
    zeros is none. `keepalive` is in seconds, 0 never and AUTOMATIC what a NAT on the way needs.
    `allowed_ips` are prefixes to give to it, and where one is negative, ~prefix to take from it, in
    order. With `replace_allowed_ips` it loses all others. Where `sacip`, `nat` or `relay` differ
    from what they are, the peer is begun anew, and its session with it. `call` begins a handshake
    with a new endpoint, as `up` does; WireGuard says nothing before there is something to say.
    """

    public_key: bytes
    remove: bool = False
    update_only: bool = False
    preshared_key: bytes | None = field(default=None, repr=False)
    endpoint: EndpointName | None = None
    keepalive: int | None = None
    replace_allowed_ips: bool = False
    allowed_ips: Sequence[int] = ()
    sacip: bool | None = None
    nat: Nat | None = None
    relay: bool | None = None
    call: bool = False

    @classmethod
    def of(cls, peer: PeerConfig) -> Self:
        """Return what makes a peer the one that is configured."""
        return cls(
            peer.public_key,
            preshared_key=peer.preshared_key or NO_PRESHARED_KEY,
            endpoint=peer.endpoint,
            keepalive=AUTOMATIC if peer.persistent_keepalive is None else peer.persistent_keepalive,
            replace_allowed_ips=True,
            allowed_ips=[prefix_of(network) for network in peer.allowed_ips],
            sacip=peer.sacip,
            nat=peer.nat,
            relay=peer.relay,
            call=True,
        )


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of an interface and its peers; None leaves a value as it is.

    `private_key` of zeros is none. `listen_port` 0 is a random one: a port that was random stays.
    `fwmark` 0 is none. With `replace_peers` all peers go before those named are added.
    """

    private_key: bytes | None = field(default=None, repr=False)
    listen_port: int | None = None
    fwmark: int | None = None
    replace_peers: bool = False
    peers: Sequence[PeerChange] = ()
