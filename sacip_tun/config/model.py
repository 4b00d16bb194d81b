"""The configuration as frozen values. Secrets are kept out of every repr."""

import re
from dataclasses import dataclass, field, replace
from enum import Enum
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network
from pathlib import Path

from sacip_tun.protocol.address import Host
from sacip_tun.protocol.keys import NO_PRIVATE_KEY

Network = IPv4Network | IPv6Network
Interface = IPv4Interface | IPv6Interface
# A command that sets the private key, as wg-quick(8) shows it for PostUp.
SETS_KEY = re.compile(r"\bwg\s+set\s+\S+\s.*\bprivate-key\b")


class Nat(Enum):
    """Whether a peer may be seen at another address than the one it says it has."""

    ALLOW = "allow"
    STRICT = "strict"


class Offload(Enum):
    """Whether the kernel is asked to cut and merge packets."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"


class LeakProtection(Enum):
    """What a route in the main table can do to a full tunnel."""

    STRICT = "strict"
    """Nothing: only what `ExcludeIPs` names stays outside."""
    COMPAT = "compat"
    """As with wg-quick: every route there but a default one goes before the tunnel."""


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
    """NO_PRIVATE_KEY where there is none, or a PostUp sets it."""
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
    leak_protection: LeakProtection = LeakProtection.STRICT
    kill_switch: bool = False
    """Whether nothing may leave this host but by the tunnel, also while it is broken."""
    exclude_ips: tuple[Network, ...] = ()
    """Networks that stay outside a full tunnel, by whatever route the host has."""
    exclude_local: bool = False
    """Whether private networks stay outside it where this host is in them (`@local`)."""
    sacip: bool = True
    offload: Offload = Offload.AUTO
    hold_megabytes: int = 4
    """MiB of inner packets held for each peer while no path carries."""
    dscp: int | None = 0
    """DSCP of outer datagrams with inner packets, 0 to 63; None is that of the inner packet."""
    resend_megabytes: int = 4
    """MiB of what was sent to each SACIP peer, kept for a moment to be sent again."""

    @property
    def has_key(self) -> bool:
        """Whether there is a private key."""
        return self.private_key != NO_PRIVATE_KEY

    @property
    def commands(self) -> tuple[str, ...]:
        """The keys whose commands this host is to run."""
        lists = {
            "PreUp": self.pre_up,
            "PostUp": self.post_up,
            "PreDown": self.pre_down,
            "PostDown": self.post_down,
            "EventHook": self.event_hooks,
        }
        return tuple(name for name, commands in lists.items() if commands)


@dataclass(frozen=True, slots=True)
class Config:
    """A whole configuration: one interface, its peers, and what the user should be told."""

    interface: InterfaceConfig
    peers: tuple[PeerConfig, ...] = ()
    warnings: tuple[str, ...] = ()
    source: Path | None = field(default=None, compare=False)
    """The file that it was read from, where there is one."""
    no_commands: bool = False
    """Whether the user wants none of its commands run, however often it is read."""
    closed: bool = False
    """Whether the user asked for the kill switch beside the file."""

    def without_commands(self) -> "Config":
        """Return the same configuration, in which this host is to run nothing."""
        interface = replace(
            self.interface, pre_up=(), post_up=(), pre_down=(), post_down=(), event_hooks=()
        )
        return replace(self, interface=interface)

    def asked(self, *, no_commands: bool, kill_switch: bool) -> "Config":
        """Return it with what the user asked for beside the file, and will mean again."""
        config = self.without_commands() if no_commands else self
        interface = config.interface
        if kill_switch:
            interface = replace(interface, kill_switch=True)
        return replace(config, interface=interface, no_commands=no_commands, closed=kill_switch)

    @property
    def routes(self) -> tuple[Network, ...]:
        """Networks to route into the tunnel, longest prefix first as wg-quick adds them.

        Empty with `Table = off`.
        """
        if self.interface.table == "off":
            return ()
        networks = {network for peer in self.peers for network in peer.allowed_ips}
        return tuple(
            sorted(networks, key=lambda n: (-n.prefixlen, n.version, n.network_address.packed))
        )

    @property
    def full_versions(self) -> frozenset[int]:
        """The IP versions of which everything goes through the tunnel, by rules of its own.

        None with another table than `auto`: what leads there is the user's affair.
        """
        if self.interface.table != "auto":
            return frozenset()
        return frozenset(network.version for network in self.routes if not network.prefixlen)
