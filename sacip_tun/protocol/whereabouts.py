"""Whereabouts: every address at which one peer may be, and every pair of addresses to try."""

from ipaddress import ip_address
from itertools import product
from typing import Protocol

from sacip_tun.protocol.address import Endpoint
from sacip_tun.protocol.choice import Choice
from sacip_tun.protocol.facts import Source
from sacip_tun.protocol.hygiene import Hygiene
from sacip_tun.protocol.path import Path

# All hosts of a link (RFC 1112, RFC 4291 2.7.1): each listens without having joined anything.
ALL_HOSTS = {4: ip_address("224.0.0.1"), 6: ip_address("ff02::1")}


Pair = tuple[Endpoint | None, Endpoint]
# Pairs of addresses tried in one round (protocol.md 5 and 12).
PAIRS_A_ROUND = 8


class Conversation(Protocol):
    """Where the addresses come from that the peer told."""

    candidates: tuple[Endpoint, ...]


class Whereabouts:
    """What is known of where one peer is; `configured` are the addresses of its `Endpoint`."""

    __slots__ = (
        "_choice",
        "_conversation",
        "_hygiene",
        "_path",
        "configured",
    )

    def __init__(
        self,
        path: Path,
        conversation: Conversation,
        choice: Choice,
        hygiene: Hygiene,
        configured: Endpoint | None,
    ) -> None:
        self.configured: tuple[Endpoint, ...] = () if configured is None else (configured,)
        self._path = path
        self._conversation = conversation
        self._choice = choice
        self._hygiene = hygiene

    def may_be_at(self, remote: Endpoint) -> bool:
        """Whether to send to this address: the user said so, or nothing speaks against it."""
        if any(remote.host == place.host for place in self.configured):
            return True
        return self._hygiene.fault(remote) is None

    @property
    def destinations(self) -> tuple[Endpoint, ...]:
        """Every address at which the peer might be, the active one first."""
        remote = self._path.remote
        known = (remote.active, remote.idle, *self.configured, *self._conversation.candidates)
        return tuple(dict.fromkeys(endpoint for endpoint in known if endpoint is not None))

    def destinations_for(self, local: Endpoint | None) -> tuple[Endpoint, ...]:
        """Return the addresses at which the peer may be, of the family of `local`, best first."""
        return tuple(
            remote
            for remote in self.destinations
            if local is None or remote.host.version == local.host.version
        )

    def pairs(self) -> list[Pair]:
        """Return every pair of addresses of one family, the one in use first."""
        active = self._path.local.active
        sources = (source.endpoint for source in self._choice.sources)
        ours = {local.host: local for local in (active, *sources) if local is not None}
        if not ours:
            return [(None, remote) for remote in self.destinations]
        return [
            (local, remote)
            for remote, local in product(self.destinations, ours.values())
            if local.host.version == remote.host.version
        ]

    def pairs_in_turn(self, turn: int) -> list[Pair]:
        """Return at most PAIRS_A_ROUND pairs: the first one, and the others turn by turn."""
        first, others = self.pairs()[:1], self.pairs()[1:]
        at_once = PAIRS_A_ROUND - 1
        start = turn * at_once % len(others) if len(others) > at_once else 0
        return first + (others[start:] + others[:start])[:at_once]

    def groups_on(self, source: Source) -> tuple[Endpoint, ...]:
        """Return where everybody on the link of `source` hears us on the peer's port."""
        version = source.endpoint.host.version
        scope = source.interface if version == 6 else 0
        ports = dict.fromkeys(remote.port for remote in self.destinations)
        return tuple(Endpoint(ALL_HOSTS[version], port, scope) for port in ports)[:2]
