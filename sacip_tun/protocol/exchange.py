"""The SACIP conversation with one peer: who speaks it, and which frame goes to which machine.

HELLO follows each handshake whose initiator marked its timestamp; see tai64n.py. Every request is
answered once, to where it came from, from the address that it came to, with the sender's observed
address in the answer.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from sacip_tun.protocol.address import Endpoint
from sacip_tun.protocol.errors import Drop, RemoteError
from sacip_tun.protocol.events import SpeaksSacip
from sacip_tun.protocol.frames import Code, Frame
from sacip_tun.protocol.local_move import LocalMove
from sacip_tun.protocol.remote_move import RemoteMove, is_possible
from sacip_tun.protocol.sacip import Link
from sacip_tun.protocol.timers import Timer

# HELLO is repeated at 1 s and 5 s after the first (protocol.md 3).
HELLO_PAUSES = (1.0, 4.0)
# An initiator that hears no HELLO within this time, in seconds, speaks to a plain peer.
HELLO_PATIENCE = 10.0


ANSWERS = frozenset({Code.HELLO_ACK, Code.PREPARE_ACK, Code.CHANGE_ACK, Code.PATH_RESPONSE})


class Voice(Link, Protocol):
    """A Link that can also answer, and knows its own questions."""

    once_spoke_sacip: bool

    @property
    def must_speak_sacip(self) -> bool:
        """Whether to take this peer for a plain one would be a downgrade."""

    @property
    def heard_in_session(self) -> bool:
        """Whether anything came in the current session."""

    def answer(self, frame: Frame, local: Endpoint, remote: Endpoint, *, now: float) -> None:
        """Send an answer over the path that the question took."""

    def answered(self, token: int, *, now: float) -> bool:
        """Tell whether `token` is of an open question of ours, and close that question."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """How a frame came in.

    `newest` tells that nothing sent later came before it from elsewhere; `session_began` is the
    birth of the session that it came in.
    """

    local: Endpoint
    source: Endpoint
    newest: bool
    session_began: float
    now: float


class Exchange:
    """Frames in, answers out; the two state machines decide."""

    def __init__(self, link: Voice, *, strict: bool) -> None:
        self._link = link
        self.local_move = LocalMove(link)
        self.remote_move = RemoteMove(link, strict=strict)
        self.candidates: tuple[Endpoint, ...] = ()
        self._association: int | None = None
        self._learned_in = 0.0
        self._hellos = 0
        self._awaiting_hello = False
        self._handlers: Mapping[int, Callable[[Frame, Arrival], None]] = {
            Code.HELLO: self._hello,
            Code.HELLO_ACK: self._hello_ack,
            Code.PREPARE: self._prepare,
            Code.PREPARE_ACK: self._move_ack,
            Code.CHANGE: self._change,
            Code.CHANGE_ACK: self._move_ack,
            Code.PATH_CHALLENGE: self._path_challenge,
            Code.PATH_RESPONSE: self._path_response,
        }

    def receive(self, frame: Frame, arrival: Arrival) -> None:
        """Act on an authenticated frame. Raises RemoteError with the reason to count it under."""
        self._associate(frame, arrival)
        self._set_speaks(speaks=True)
        self._awaiting_hello = False
        if frame.code in ANSWERS and not self._link.answered(frame.token, now=arrival.now):
            raise RemoteError(Drop.STALE_MOVE)
        handler = self._handlers.get(frame.code)
        if handler is not None:
            handler(frame, arrival)

    def session_ready(self, *, initiator: bool, marked: bool, now: float) -> None:
        """A session can carry frames; `marked` tells that the initiator's timestamp said SACIP."""
        if initiator:
            self._awaiting_hello = True
            self._link.arm(Timer.HELLO, now + HELLO_PATIENCE)
        else:
            self._set_speaks(speaks=marked)
            self._awaiting_hello = False
            self._hellos = 0
            if marked:
                self.greet(now=now)
        self.local_move.session_ready(now=now)

    def greet(self, *, now: float) -> None:
        """Send HELLO, and arm its repetition (Timer.HELLO)."""
        if self._awaiting_hello:
            self._give_up_hello(now=now)
            return
        path = self._link.path
        hello = Frame(Code.HELLO, candidates=self.local_move.candidates)
        self._link.ask(hello, path.local.active, path.remote.active, now=now)
        if self._hellos < len(HELLO_PAUSES):
            self._link.arm(Timer.HELLO, now + HELLO_PAUSES[self._hellos])
        self._hellos += 1

    def _give_up_hello(self, *, now: float) -> None:
        """Take the peer for a plain one, if it was heard at all and may be one."""
        if self._link.heard_in_session and not self._link.must_speak_sacip:
            self._set_speaks(speaks=False)
            self._awaiting_hello = False
        elif self._link.can_seal(now=now):
            self._link.arm(Timer.HELLO, now + HELLO_PATIENCE)

    def _associate(self, frame: Frame, arrival: Arrival) -> None:
        """Move numbers count within one start of the peer's tunnel; a new session may restart."""
        if frame.association == self._association:
            return
        if self._association is not None and arrival.session_began <= self._learned_in:
            raise RemoteError(Drop.STALE_MOVE)
        self._association = frame.association
        self._learned_in = arrival.session_began
        self.remote_move.restarted()

    def _set_speaks(self, *, speaks: bool) -> None:
        if speaks and not self._link.speaks_sacip:
            self._link.emit(SpeaksSacip(self._link.key))
        self._link.speaks_sacip = speaks
        self._link.once_spoke_sacip |= speaks

    def _acquainted(self, frame: Frame, arrival: Arrival) -> None:
        self._link.disarm(Timer.HELLO)
        self.candidates = tuple(filter(is_possible, frame.candidates))
        self._link.path.observed = frame.observed or self._link.path.observed
        self.local_move.reconsider(now=arrival.now)

    def _hello(self, frame: Frame, arrival: Arrival) -> None:
        self._answer(Code.HELLO_ACK, frame, arrival, candidates=self.local_move.candidates)
        self._acquainted(frame, arrival)

    def _hello_ack(self, frame: Frame, arrival: Arrival) -> None:
        self._acquainted(frame, arrival)

    def _prepare(self, frame: Frame, arrival: Arrival) -> None:
        self.remote_move.announced(frame, now=arrival.now)
        self._answer(Code.PREPARE_ACK, frame, arrival)

    def _change(self, frame: Frame, arrival: Arrival) -> None:
        accepted = self.remote_move.changed(
            frame, arrival.local, arrival.source, newest=arrival.newest, now=arrival.now
        )
        if accepted:
            self._answer(Code.CHANGE_ACK, frame, arrival)

    def _move_ack(self, frame: Frame, arrival: Arrival) -> None:
        self.local_move.acknowledged(frame, arrival.local, now=arrival.now)

    def _path_challenge(self, frame: Frame, arrival: Arrival) -> None:
        self.remote_move.observed_at(frame, arrival.source)
        self._answer(Code.PATH_RESPONSE, frame, arrival)

    def _path_response(self, frame: Frame, arrival: Arrival) -> None:
        self.local_move.proven(frame, now=arrival.now)
        self.remote_move.answered(frame)

    def _answer(
        self,
        code: Code,
        frame: Frame,
        arrival: Arrival,
        candidates: tuple[Endpoint, ...] = (),
    ) -> None:
        answer = Frame(
            code,
            number=frame.number,
            token=frame.token,
            observed=arrival.source,
            candidates=candidates,
            mtu=frame.mtu,
        )
        self._link.answer(answer, arrival.local, arrival.source, now=arrival.now)
