"""The status document: what `sacip-tun status --json` prints, under a versioned schema.

It never says connected when it is not. From the worst to the best, the first that is so counts:

| state            | because                                                                     |
|------------------|-----------------------------------------------------------------------------|
| held: no address | as the next, and inner packets wait                                         |
| no address       | no address of this host leads to the peer                                   |
| hunting          | a move is not acknowledged: every pair of addresses is tried                |
| unresolved       | the name in `Endpoint` has not resolved yet                                 |
| no endpoint      | the peer has none, and has not called yet                                   |
| silent           | what we sent has gone unanswered for 11 s                                   |
| degraded         | the path in use does not answer, for a shorter time                         |
| moving           | our address has changed, and the peer has not said yet that it knows        |
| connected        | a session is valid, and nothing that we sent waits for an answer for long   |
| connecting       | a handshake is under way, and there is no session                           |
| idle             | there is no session, and nobody wants one                                   |
"""

import time
from collections import Counter
from collections.abc import Iterator
from operator import itemgetter
from typing import Any

from sacip_tun.agreement import STATUS_SCHEMA
from sacip_tun.config import Config, PeerConfig
from sacip_tun.daemon import clock
from sacip_tun.daemon.journal import Journal
from sacip_tun.daemon.surroundings import Surroundings
from sacip_tun.protocol.address import AddressPair
from sacip_tun.protocol.keys import NO_PRESHARED_KEY, to_base64
from sacip_tun.protocol.peer import Peer
from sacip_tun.protocol.pmtu import MtuState
from sacip_tun.protocol.sacip import LocalState
from sacip_tun.protocol.tunnel import Tunnel

Document = dict[str, Any]

# States of peers that nobody needs to look after.
QUIET = frozenset({"idle", "no endpoint"})


def peer_document(peer: Peer, config: PeerConfig, tunnel: Tunnel, journal: Journal) -> Document:
    """Return what there is to say of one peer."""
    now = clock.now()
    configured = None if config.endpoint is None else str(config.endpoint)
    handshake = peer.last_handshake
    return {
        "public_key": to_base64(peer.key),
        "preshared_key": peer.settings.preshared_key != NO_PRESHARED_KEY,
        "endpoint_configured": configured,
        "sacip": peer.speaks_sacip if peer.keypairs.current else None,
        "state": peer_state(peer, configured, now=now),
        "allowed_ips": [str(network) for network in tunnel.networks_of(peer)],
        "latest_handshake_unix": None if handshake is None else clock.unix_time(handshake),
        "handshake_age": None if handshake is None else round(now - handshake, 3),
        "rx_bytes": peer.traffic.rx_bytes,
        "tx_bytes": peer.traffic.tx_bytes,
        "persistent_keepalive": peer.settings.keepalive,
        "keepalive": peer.settings.keepalive or peer.exchange.nat_keepalive.interval,
        "nat": peer.path.behind_nat,
        "relay": peer.settings.relay,
        "local": _pair(peer.path.local),
        "remote": _pair(peer.path.remote),
        "observed": None if peer.path.observed is None else str(peer.path.observed),
        "rtt_milliseconds": None if peer.path.rtt is None else round(peer.path.rtt * 1000, 3),
        "path_mtu": _path_mtu(peer),
        "local_move": peer.exchange.local_move.state.value,
        "remote_move": peer.exchange.remote_move.state.value,
        "held": peer.held,
        "counters": journal.tally(peer.key).document(),
        "moves": journal.moves(peer.key),
    }


def peer_state(peer: Peer, configured: str | None, *, now: float) -> str:
    """Return the first state that is so; see the table above."""
    return next(_states(peer, configured, now=now))


def _states(peer: Peer, configured: str | None, *, now: float) -> Iterator[str]:
    state = peer.exchange.local_move.state
    if state is LocalState.DETACHED:
        yield "held: no address" if peer.held else "no address"
    if state is LocalState.HUNTING:
        yield "hunting"
    if peer.path.remote.active is None:
        yield "unresolved" if configured else "no endpoint"
    if peer.traffic.unanswered(now=now):
        yield "silent"
    if peer.degraded:
        yield "degraded"
    if peer.can_seal(now=now):
        yield "moving" if state is LocalState.CHANGING else "connected"
    yield "connecting" if peer.connecting else "idle"


def line(tunnel: Tunnel, journal: Journal) -> str:
    """Return how it stands in one line, as `systemctl status` shows it."""
    now = clock.now()
    states = Counter(peer_state(peer, None, now=now) for peer in tunnel.peers.met)
    parts = [f"connected to {states.pop('connected', 0)} of {len(tunnel.peers)} peers"]
    parts += [f"{number} {state}" for state, number in states.items() if state not in QUIET]
    moves = [journal.moves(peer.key)[-1] for peer in tunnel.peers.met if journal.moves(peer.key)]
    if moves:
        last = max(moves, key=itemgetter("time_unix"))
        at = time.strftime("%H:%M:%S", time.localtime(last["time_unix"]))
        parts.append(f"last handover took {last['milliseconds']:.0f} ms, at {at}")
    return ", ".join(parts)


def document(
    config: Config,
    tunnel: Tunnel,
    journal: Journal,
    *,
    listen_port: int,
    mtu: int,
    counters: Document,
    offload: Document,
) -> Document:
    """Return the whole status of an interface; `counters` are those of the daemon itself.

    The list of peers is an iterator: with thousands of them it would be megabytes.
    """
    return {
        "schema": STATUS_SCHEMA,
        "interface": config.interface.name,
        "public_key": to_base64(tunnel.public_key),
        "listen_port": listen_port,
        "fwmark": config.interface.fwmark,
        "mtu": mtu,
        "addresses": [str(address) for address in config.interface.addresses],
        "offload": offload,
        **counters,
        "drops": {reason.value: count for reason, count in tunnel.drops.items() if count},
        "peers": (
            peer_document(tunnel.peers.glance(peer.public_key), peer, tunnel, journal)
            for peer in config.peers
            if peer.public_key in tunnel.peers  # it may have been removed while this was read
        ),
    }


def surroundings_document(surroundings: Surroundings) -> Document:
    """Return what is on this host for the tunnel beside its interface; None for what is not."""
    policy, names, firewall = surroundings.policy, surroundings.names, surroundings.firewall
    full = policy and {
        "table": policy.table,
        "fwmark": policy.mark,
        "ip_versions": sorted(policy.versions),
        "kill_switch": policy.closed,
        "firewall": firewall is not None,
    }
    servers = names and {
        "resolver": surroundings.resolver,
        "servers": [str(server) for server in names.servers],
        "search": list(names.search),
        "exclusive": names.exclusive,
    }
    return {"full_tunnel": full, "name_servers": servers}


def _path_mtu(peer: Peer) -> Document:
    """Return bytes of outer IP packets that go through whole, None where nobody has probed."""
    search = peer.path_mtu
    known = search.state is not MtuState.DISABLED
    return {"bytes": search.size if known else None, "state": search.state.value}


def _pair(pair: AddressPair) -> Document:
    slots = [None if slot is None else str(slot) for slot in pair.slots]
    return {"slots": slots, "active": pair.index}
