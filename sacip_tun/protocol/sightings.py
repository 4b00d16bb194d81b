"""Sightings: from where one peer was heard last, and what follows from it.

A plain peer is followed to wherever its newest message came from (WireGuard paper 2.1); one that
speaks SACIP says where it is, and a message from elsewhere raises a question.
"""

from typing import Protocol

from sacip_tun.protocol.address import Endpoint
from sacip_tun.protocol.context import Context
from sacip_tun.protocol.errors import Drop
from sacip_tun.protocol.exchange import Exchange
from sacip_tun.protocol.path import Path
from sacip_tun.protocol.session import Session
from sacip_tun.protocol.whereabouts import Whereabouts


class Sighted(Protocol):
    """What a sighting needs of the peer that was seen."""

    path: Path
    exchange: Exchange
    where: Whereabouts
    speaks_sacip: bool

    @property
    def must_speak_sacip(self) -> bool:
        """Whether to take this peer for a plain one would be a downgrade."""


class Sightings:
    """The newest message of one peer: when its session began, its counter, and its source."""

    __slots__ = ("_context", "_newest", "_newest_from", "_peer")

    def __init__(self, peer: Sighted, context: Context) -> None:
        self._peer = peer
        self._context = context
        self._newest: tuple[float, int] | None = None
        self._newest_from: Endpoint | None = None

    def is_newest(self, session: Session, counter: int, remote: Endpoint) -> bool:
        """Tell whether nothing sent later came before from another source."""
        if self._newest is None or self._newest_from == remote:
            return True
        return (session.created, counter) > self._newest

    def newest_is(self, session: Session, counter: int, remote: Endpoint) -> None:
        """A frame came from the address in use: what was sent before it and comes late is late."""
        if self._newest is None or (session.created, counter) > self._newest:
            self._newest, self._newest_from = (session.created, counter), remote

    def heard(
        self, session: Session, counter: int, local: Endpoint, remote: Endpoint, *, now: float
    ) -> None:
        """Data or a keepalive came from `remote`: the newest packet tells where the peer is."""
        if self._newest is not None and (session.created, counter) <= self._newest:
            return
        peer = self._peer
        new_session = self._newest is None or session.created > self._newest[0]
        self._newest = (session.created, counter)
        self._newest_from = remote
        if new_session or not (peer.speaks_sacip or peer.must_speak_sacip):
            self.contacted(local, remote, now=now)
            return
        peer.exchange.local_move.contacted_at(local, now=now)
        if remote == peer.path.remote.active:
            return
        if not peer.where.may_be_at(remote):
            self._context.drops[Drop.STRANGE_ENDPOINT] += 1
        else:
            peer.exchange.remote_move.stranger(local, remote, now=now)

    def contacted(self, local: Endpoint, remote: Endpoint, *, now: float) -> None:
        """Follow an authenticated contact without more ado: WireGuard's own roaming (paper 2.1)."""
        peer = self._peer
        if not peer.where.may_be_at(remote):
            self._context.drops[Drop.STRANGE_ENDPOINT] += 1
            return
        peer.exchange.local_move.contacted_at(local, now=now)
        known = peer.path.remote.active
        trusted = known is None or remote in {known, *peer.where.configured}
        if peer.must_speak_sacip and not trusted:
            peer.exchange.remote_move.stranger(local, remote, now=now)
        else:
            peer.exchange.remote_move.followed(remote)
