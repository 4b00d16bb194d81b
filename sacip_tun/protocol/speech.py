"""Speech: what one peer is told in messages that carry no inner packet.

Keepalives (WireGuard 6.5), frames of the address exchange, probes of the path's MTU, and notices
that other peers hand over.
"""

from dataclasses import replace
from typing import Protocol

from sacip_tun.protocol.address import Endpoint
from sacip_tun.protocol.context import Context, Datagram
from sacip_tun.protocol.events import Event, FrameSent
from sacip_tun.protocol.frames import Code, Frame, code_name
from sacip_tun.protocol.messages import OVERHEAD
from sacip_tun.protocol.path import Path
from sacip_tun.protocol.questions import Questions
from sacip_tun.protocol.session import Keypairs, Session


class Speaker(Protocol):
    """What speech needs of the peer that it belongs to."""

    keypairs: Keypairs
    path: Path
    speaks_sacip: bool

    @property
    def key(self) -> bytes:
        """The peer's public key."""

    @property
    def detached(self) -> bool:
        """Whether no local address leads to the peer."""

    def start_handshake(self, *, now: float, urgent: bool = False) -> None:
        """Begin a handshake."""

    def sealed(self, length: int, session: Session, *, now: float) -> None:
        """A message of `length` bytes goes out under `session`."""

    def emit(self, event: Event) -> None:
        """Tell the program that runs us."""


class Speech:
    """The messages without inner packets to one peer, and its open questions."""

    __slots__ = ("_context", "_peer", "_questions")

    def __init__(self, peer: Speaker, context: Context) -> None:
        self._peer = peer
        self._context = context
        self._questions = Questions()

    def keepalive(self, *, now: float) -> None:
        """Send an empty message over the active path; begin a handshake where no session is."""
        peer = self._peer
        if peer.detached:
            return
        session = self._session(now)
        if session is None:
            peer.start_handshake(now=now)
        elif peer.path.remote.active is not None:
            local = peer.path.local.active if peer.path.matched else None
            self._send(b"", session, local, peer.path.remote.active, now)

    def probe(self, size: int, *, now: float) -> int:
        """Challenge by an unfragmented datagram of `size` bytes; return its token, 0 if unsent."""
        path = self._peer.path
        if self._peer.detached or not path.affords(size) or not path.may_carry(size):
            return 0
        frame = Frame(Code.PATH_CHALLENGE, mtu=size)
        return self.ask(frame, path.local.active, path.remote.active, now=now)

    def ask(
        self, frame: Frame, local: Endpoint | None, remote: Endpoint | None, *, now: float
    ) -> int:
        """Send a frame that wants an answer, under a new token; return it, 0 if unsent."""
        token = self._new_question(now)
        return token if self._say(frame, token, local, remote, now=now) else 0

    def asked(self, token: int, *, now: float) -> float | None:
        """Close an open question of ours, and return when it was asked; None if it is none."""
        return self._questions.answered(token, now=now)

    def answer(self, frame: Frame, local: Endpoint | None, remote: Endpoint, *, now: float) -> None:
        """Send an answer over the path that the question took."""
        self._say(frame, frame.token, local, remote, now=now)

    def tell(self, frame: Frame, *, now: float) -> None:
        """Send a frame that wants no answer over the path in use."""
        path = self._peer.path
        self._say(frame, 0, path.local.active, path.remote.active, now=now)

    def ask_relays(self, notice: Frame, *, now: float) -> None:
        """Have other peers hand over a sealed notice, where both ends permit it."""
        session = self._session(now)
        if session is None:
            return
        token = self._new_question(now)
        bare = replace(
            notice, association=self._context.association, token=token, received=(), candidates=()
        )
        self._context.relay.ask(self._peer.key, lambda: session.seal(bare.encode_short()), now=now)

    def _session(self, now: float) -> Session | None:
        session = self._peer.keypairs.current
        return session if session is not None and session.may_send(now=now) else None

    def _new_question(self, now: float) -> int:
        token = self._context.random_u64()
        self._questions.ask(token, now=now)
        return token

    def _say(
        self,
        frame: Frame,
        token: int,
        local: Endpoint | None,
        remote: Endpoint | None,
        *,
        now: float,
    ) -> bool:
        session = self._session(now)
        if session is None or remote is None or not self._peer.speaks_sacip:
            return False
        named = replace(frame, association=self._context.association, token=token)
        if frame.mtu:
            self._say_mtu(named, session, local, remote, now)
            return True
        self._send(named.encode(), session, local, remote, now)
        told = FrameSent(self._peer.key, code_name(frame.code), frame.number, local, remote)
        self._peer.emit(told)
        return True

    def _say_mtu(
        self, frame: Frame, session: Session, local: Endpoint | None, remote: Endpoint, now: float
    ) -> None:
        """Send a probe of the path's MTU in its full size, and the answer to one as any frame."""
        probe = frame.code == Code.PATH_CHALLENGE
        size = frame.mtu - OVERHEAD[remote.host.version] if probe else 0
        self._send(frame.encode(size), session, local, remote, now, unfragmented=probe)

    def _send(
        self,
        plaintext: bytes,
        session: Session,
        local: Endpoint | None,
        remote: Endpoint,
        now: float,
        *,
        unfragmented: bool = False,
    ) -> None:
        # The size of a probe is exact; everything else is padded to 16 bytes.
        data = session.seal(plaintext, len(plaintext) if unfragmented else 0)
        self._context.outbox.append(Datagram(data, local, remote, unfragmented=unfragmented))
        self._peer.sealed(len(data), session, now=now)
