"""The configuration as frozen values. Secrets are kept out of every repr."""

from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network
from pathlib import Path

from sacip_tun.protocol.address import Host

Network = IPv4Network | IPv6Network
Interface = IPv4Interface | IPv6Interface


class Nat(Enum):
    """Whether a peer may be seen at another address than the one it says it has."""

    ALLOW = "allow"
    STRICT = "strict"


class Offload(Enum):
    """Whether the kernel is asked to cut and merge packets."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class EndpointName:
    """A peer's outer address as written: a name or an address, with its zone, and a UDP port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class EventHook:
    """A command that is run for events of these kinds (sacip_tun.agreement)."""

    kinds: tuple[str, ...]
    # May hold a secret, as any hook.
    command: tuple[str, ...] = field(repr=False)
    """The program's path and its arguments; `%i` in them is the interface."""


@dataclass(frozen=True, slots=True)
class PeerConfig:
    """One [Peer] section."""

    public_key: bytes
    preshared_key: bytes | None = field(default=None, repr=False)
    allowed_ips: tuple[Network, ...] = ()
    endpoint: EndpointName | None = None
    persistent_keepalive: int | None = None
    """Seconds; 0 is off; None leaves it to what a NAT on the way needs."""
    nat: Nat = Nat.ALLOW
    relay: bool = False
    """Whether notices of moves may be handed on by this peer for us, and by us for it."""
    sacip: bool = True
    """The peer's own `Sacip`, or the interface's where the peer has none."""


@dataclass(frozen=True, slots=True)
class InterfaceConfig:
    """The [Interface] section."""

    name: str
    private_key: bytes = field(repr=False)
    addresses: tuple[Interface, ...] = ()
    listen_port: int = 0
    """UDP port; 0 lets the kernel choose."""
    fwmark: int = 0
    """SO_MARK of the outer sockets; 0 is none."""
    mtu: int | None = None
    """Bytes; None derives it from the routes to the peers."""
    table: str = "auto"
    """`auto`, `off`, or the number or name of a routing table."""
    dns_servers: tuple[Host, ...] = ()
    dns_search: tuple[str, ...] = ()
    # A hook may set a key with `wg set`: kept out of the repr like one.
    pre_up: tuple[str, ...] = field(default=(), repr=False)
    post_up: tuple[str, ...] = field(default=(), repr=False)
    pre_down: tuple[str, ...] = field(default=(), repr=False)
    post_down: tuple[str, ...] = field(default=(), repr=False)
    event_hooks: tuple[EventHook, ...] = ()
    save_config: bool = False
    sacip: bool = True
    offload: Offload = Offload.AUTO
    hold_megabytes: int = 4
    """MiB of inner packets held for each peer while no path carries."""
    dscp: int | None = 0
    """DSCP of outer datagrams with inner packets, 0 to 63; None is that of the inner packet."""
    resend_megabytes: int = 4
    """MiB of what was sent to each SACIP peer, kept for a moment to be sent again."""


@dataclass(frozen=True, slots=True)
class Config:
    """A whole configuration: one interface, its peers, and what the user should be told."""

    interface: InterfaceConfig
    peers: tuple[PeerConfig, ...] = ()
    warnings: tuple[str, ...] = ()
    source: Path | None = field(default=None, compare=False)
    """The file that it was read from, where there is one."""

    @property
    def routes(self) -> tuple[Network, ...]:
        """Networks to route into the tunnel, longest prefix first as wg-quick adds them.

        Empty with `Table = off`. A /0 is left out: routed plainly it would catch the tunnel's own
        outer packets.
        """
        if self.interface.table == "off":
            return ()
        networks = {
            network for peer in self.peers for network in peer.allowed_ips if network.prefixlen
        }
        return tuple(
            sorted(networks, key=lambda n: (-n.prefixlen, n.version, n.network_address.packed))
        )
