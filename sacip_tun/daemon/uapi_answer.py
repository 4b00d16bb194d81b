"""Answers of the UAPI to `get=1`: all that `wg show` prints, and our own under `sacip_` names."""

from collections.abc import Iterable, Iterator
from socket import AF_INET, AF_INET6, inet_ntop

from sacip_tun.config import Config, PeerConfig
from sacip_tun.daemon import clock
from sacip_tun.daemon.status import peer_state
from sacip_tun.protocol.keys import NO_PRESHARED_KEY
from sacip_tun.protocol.peer import Peer
from sacip_tun.protocol.pmtu import MtuState
from sacip_tun.protocol.prefix import Prefix, packed
from sacip_tun.protocol.tunnel import Tunnel

# Allowed IPs in one part of an answer: some 0.3 ms.
PREFIXES_A_PART = 512


class Answers:
    """Writes how one interface stands.

    Times of handshakes are kept once they were told: reckoned anew each time they would tremble.
    """

    def __init__(self, tunnel: Tunnel) -> None:
        self._tunnel = tunnel
        self._told: dict[bytes, tuple[float, float]] = {}

    def parts(self, config: Config, port: int, mtu: int) -> Iterator[str]:
        """Yield the lines of an answer but the last, in parts that take some 0.3 ms each.

        Which peers there are, with which allowed IPs, is what it was when this was called.
        """
        peers = [(peer, self._tunnel.prefixes_of(peer.public_key)) for peer in config.peers]
        there = self._tunnel.peers
        self._told = {key: told for key, told in self._told.items() if key in there}
        return self._lines(config, peers, port, mtu)

    def _lines(
        self, config: Config, peers: list[tuple[PeerConfig, list[Prefix]]], port: int, mtu: int
    ) -> Iterator[str]:
        interface = config.interface
        lines = []
        if interface.has_key:
            lines.append(f"private_key={interface.private_key.hex()}")
        lines.append(f"listen_port={port}")
        if interface.fwmark:
            lines.append(f"fwmark={interface.fwmark}")
        lines.append(f"sacip_mtu={mtu}")
        yield _joined(lines)
        for peer, prefixes in peers:
            if peer.public_key in self._tunnel.peers:
                yield _joined(self._peer(peer))
                for start in range(0, len(prefixes), PREFIXES_A_PART):
                    yield _joined(map(allowed_ip, prefixes[start : start + PREFIXES_A_PART]))

    def _peer(self, config: PeerConfig) -> Iterator[str]:
        key = config.public_key
        yield f"public_key={key.hex()}"
        yield f"preshared_key={(config.preshared_key or NO_PRESHARED_KEY).hex()}"
        yield "protocol_version=1"
        met = self._tunnel.peers.is_met(key)
        peer = self._tunnel.peers.glance(key) if met else None
        yield from _STRANGER if peer is None else self._figures(peer)
        yield f"persistent_keepalive_interval={config.persistent_keepalive or 0}"
        if peer is not None:
            yield from _own(peer, None if config.endpoint is None else str(config.endpoint))

    def _figures(self, peer: Peer) -> Iterator[str]:
        remote = peer.path.remote.active
        if remote is not None:
            yield f"endpoint={remote}"
        nanoseconds = round(self._handshake(peer) * 1e9)
        yield f"last_handshake_time_sec={nanoseconds // 1_000_000_000}"
        yield f"last_handshake_time_nsec={nanoseconds % 1_000_000_000}"
        yield f"tx_bytes={peer.traffic.tx_bytes}"
        yield f"rx_bytes={peer.traffic.rx_bytes}"

    def _handshake(self, peer: Peer) -> float:
        """Return when the last handshake was, in seconds since 1970; 0 for never."""
        if peer.last_handshake is None:
            return 0.0
        moment, unix = self._told.get(peer.key, (0.0, 0.0))
        if moment != peer.last_handshake:
            unix = clock.unix_time(peer.last_handshake)
            self._told[peer.key] = peer.last_handshake, unix
        return unix


# What is told of a peer that nobody has dealt with yet.
_STRANGER = (
    "last_handshake_time_sec=0",
    "last_handshake_time_nsec=0",
    "tx_bytes=0",
    "rx_bytes=0",
)


def _own(peer: Peer, configured: str | None) -> Iterator[str]:
    """Yield what WireGuard has no name for; `wg` ignores what it does not know."""
    yield f"sacip_state={peer_state(peer, configured, now=clock.now())}"
    yield f"sacip_speaks={int(peer.speaks_sacip)}"
    if peer.path.local.active is not None:
        yield f"sacip_local={peer.path.local.active}"
    if peer.path.observed is not None:
        yield f"sacip_observed={peer.path.observed}"
    if peer.path.rtt is not None:
        yield f"sacip_rtt_usec={round(peer.path.rtt * 1e6)}"
    if peer.path_mtu.state is not MtuState.DISABLED:
        yield f"sacip_path_mtu={peer.path_mtu.size}"
    yield f"sacip_held={peer.held}"


def allowed_ip(code: Prefix) -> str:
    """Return the line of one allowed IP."""
    address, length = packed(code)
    kind = AF_INET if len(address) == 4 else AF_INET6
    return f"allowed_ip={inet_ntop(kind, address)}/{length}"


def _joined(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
