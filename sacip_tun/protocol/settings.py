"""What the user says about a peer."""

from dataclasses import dataclass, field

from sacip_tun.protocol.address import Endpoint
from sacip_tun.protocol.hold import HOLD_BYTES
from sacip_tun.protocol.keys import NO_PRESHARED_KEY
from sacip_tun.protocol.ring import RING_BYTES


@dataclass(frozen=True, slots=True)
class PeerSettings:
    """Settings of one peer. Keys are 32 bytes.

    `keepalive` is in seconds, 0 is off, and None leaves it to us: as often as a NAT between us and
    a SACIP peer needs it.
    `named` says that the endpoint is a name, which somebody resolves and tells to `resolved`.
    `relay` permits this peer to hand notices to others for us, and us to do so for it.
    `hold_bytes` and `ring_bytes` bound the hold queue and the send ring.
    """

    public_key: bytes
    preshared_key: bytes = field(default=NO_PRESHARED_KEY, repr=False)
    endpoint: Endpoint | None = None
    named: bool = False
    keepalive: int | None = None
    sacip: bool = True
    strict_nat: bool = False
    relay: bool = False
    hold_bytes: int = HOLD_BYTES
    ring_bytes: int = RING_BYTES
