"""The SACIP conversation with one peer: who speaks it, and which frame goes to which machine.

HELLO follows each handshake whose initiator marked its timestamp; see tai64n.py. Every request is
answered once, to where it came from, from the address that it came to, with the sender's observed
address in the answer.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol

from sacip_tun.protocol.address import Endpoint
from sacip_tun.protocol.errors import Drop, RemoteError
from sacip_tun.protocol.events import SpeaksSacip
from sacip_tun.protocol.frames import Code, Frame
from sacip_tun.protocol.liveness import Liveness
from sacip_tun.protocol.local_move import LocalMove
from sacip_tun.protocol.nat_keepalive import NatKeepalive
from sacip_tun.protocol.remote_move import RemoteMove
from sacip_tun.protocol.sacip import Mover
from sacip_tun.protocol.timers import Timer

# HELLO is repeated at 1 s and 5 s after the first (protocol.md 3).
HELLO_PAUSES = (1.0, 4.0)
# An initiator that hears no HELLO within this time, in seconds, speaks to a plain peer.
HELLO_PATIENCE = 10.0


# Addresses of the peer that are remembered beside its two slots.
MAX_KNOWN = 8
# What went out so long ago and did not arrive is lost: 1.5 RTT, at least so many seconds.
LOST_ROUND_TRIPS = 1.5
MIN_LOST_AGE = 0.020

# Answers that say what has arrived.
TELLING = frozenset({Code.CHANGE_ACK, Code.PATH_RESPONSE})
ANSWERS = frozenset({Code.HELLO_ACK, Code.PREPARE_ACK, Code.CHANGE_ACK, Code.PATH_RESPONSE})


class Voice(Mover, Protocol):
    """A Mover that can also answer, and knows its own questions."""

    once_spoke_sacip: bool

    @property
    def must_speak_sacip(self) -> bool:
        """Whether to take this peer for a plain one would be a downgrade."""

    @property
    def heard_in_session(self) -> bool:
        """Whether anything came in the current session."""

    @property
    def liveness(self) -> Liveness:
        """Whether the path in use carries."""

    def answered(self, token: int, *, now: float) -> float | None:
        """Close an open question of ours, and return when it was asked; None if it is none."""

    def relay(self, frame: Frame, source: Endpoint, *, now: float) -> None:
        """Take RELAY or RELAYED. Raises RemoteError where that is not permitted."""

    def seek(self, *, now: float) -> None:
        """Somebody knows where the peer may be: ask there, if it is not where it was."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """How a frame came in.

    `newest` tells that nothing sent later came before it from elsewhere; `session_began` is the
    birth of the session that it came in; `asked` is when the question went out that it answers.
    """

    local: Endpoint
    source: Endpoint
    newest: bool
    session_began: float
    now: float
    asked: float = 0.0


class Exchange:
    """Frames in, answers out; the two state machines decide."""

    __slots__ = (
        "_association",
        "_awaiting_hello",
        "_hellos",
        "_learned_in",
        "_link",
        "candidates",
        "local_move",
        "nat_keepalive",
        "remote_move",
    )

    def __init__(self, link: Voice, *, strict: bool, automatic_keepalive: bool) -> None:
        self._link = link
        self.local_move = LocalMove(link)
        self.remote_move = RemoteMove(link, strict=strict)
        self.nat_keepalive = NatKeepalive(link, automatic=automatic_keepalive)
        self.candidates: tuple[Endpoint, ...] = ()
        self._association: int | None = None
        self._learned_in = 0.0
        self._hellos = 0
        self._awaiting_hello = False

    def receive(self, frame: Frame, arrival: Arrival) -> None:
        """Act on an authenticated frame. Raises RemoteError with the reason to count it under."""
        self._associate(frame, arrival)
        self._set_speaks(speaks=True)
        self._awaiting_hello = False
        if frame.code in ANSWERS:
            asked = self._link.answered(frame.token, now=arrival.now)
            if asked is None:
                raise RemoteError(Drop.STALE_MOVE)
            arrival = replace(arrival, asked=asked)
        handler = self._HANDLERS.get(frame.code)
        if handler is not None:
            handler(self, frame, arrival)
        strange = arrival.source not in self._link.where.destinations and not self._link.strict
        if self.local_move.hunting and strange:
            self.heard_of((arrival.source,))
            self.local_move.found(now=arrival.now)
        active = self._link.path.local.active
        if frame.observed and active is not None and active.host == arrival.local.host:
            self.nat_keepalive.observed(now=arrival.now)

    def handle_timer(self, timer: Timer, *, now: float) -> None:
        """Do what an expired timer of the exchange is for."""
        if timer is Timer.HELLO:
            self.greet(now=now)
        elif timer is Timer.CHALLENGE:
            self.remote_move.ask_again(now=now)
        elif timer is Timer.VERDICT:
            self.remote_move.verdict(now=now)
        else:
            self.local_move.handle_timer(timer, now=now)

    def heard_of(self, endpoints: Iterable[Endpoint | None]) -> None:
        """Take note of where the peer may be too, newest first."""
        possible = [end for end in endpoints if end is not None and self._link.where.may_be_at(end)]
        known = dict.fromkeys((*possible, *self.candidates))
        self.candidates = tuple(known)[:MAX_KNOWN]

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
        seen, others = path.remote.active, self.local_move.candidates
        hello = Frame(Code.HELLO, observed=seen, candidates=others)
        self._link.speech.ask(hello, path.local.active, seen, now=now)
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
        self.candidates = ()
        self.heard_of(frame.candidates)
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
        applied, now = self.remote_move.applied, arrival.now
        accepted = self.remote_move.changed(
            frame, arrival.local, arrival.source, newest=arrival.newest, now=now
        )
        if not accepted:
            return
        self.local_move.contacted_at(arrival.local, moved=True, now=now)
        self._answer(Code.CHANGE_ACK, frame, arrival)
        if frame.candidates:
            self.candidates = ()
            self.heard_of(frame.candidates)
        # What went to the old address is lost unless told otherwise, also what went there in this
        # very moment: an acknowledgement of our own move may have let it go. What went to the new
        # one, between two copies of a CHANGE, may be on its way.
        news = self.remote_move.applied > applied
        slack = self._link.path.round_trips(LOST_ROUND_TRIPS, MIN_LOST_AGE)
        self._link.liveness.heard()
        before = float("inf") if news else now - slack
        self._link.carries(frame.received, before=before, now=now)
        if news:
            self.local_move.found(now=now)

    def _move_ack(self, frame: Frame, arrival: Arrival) -> None:
        now = arrival.now
        if self.local_move.acknowledged(frame, arrival.local, arrival.source, now=now):
            self._link.liveness.heard()
            self._link.carries(frame.received, before=arrival.asked, now=now)

    def _path_challenge(self, frame: Frame, arrival: Arrival) -> None:
        place = self.remote_move.place_to_answer(frame, arrival.source)
        if place is None:
            raise RemoteError(Drop.STRANGE_ENDPOINT)
        self.remote_move.observed_at(frame, arrival.source)
        self._answer(Code.PATH_RESPONSE, frame, replace(arrival, source=place))
        active = self._link.path.local.active
        astray = active is not None and active.host != arrival.local.host
        if astray and not self.local_move.moving:
            # The peer tries another address of ours: it hears nothing over the one in use.
            self._link.liveness.doubt(now=arrival.now)

    def _path_response(self, frame: Frame, arrival: Arrival) -> None:
        now = arrival.now
        self.local_move.proven(frame, now=now)
        self.remote_move.answered(frame, now=now)
        used = self._link.path.pair
        if self._link.liveness.answered(frame.token, frame.observed, now=now):
            # What went out after the question may be under way yet, but not on a path that died.
            died = self._link.path.pair != used
            self._link.carries(frame.received, before=now if died else arrival.asked, now=now)
        if self.nat_keepalive.answered(frame, now=now):
            self.local_move.rebound(now=now)

    def _relay(self, frame: Frame, arrival: Arrival) -> None:
        self._link.relay(frame, arrival.source, now=arrival.now)

    def _answer(
        self,
        code: Code,
        frame: Frame,
        arrival: Arrival,
        candidates: tuple[Endpoint, ...] = (),
    ) -> None:
        told = self._link.received() if code in TELLING else ()
        answer = Frame(
            code,
            number=frame.number,
            token=frame.token,
            observed=arrival.source,
            candidates=candidates,
            received=told,
            mtu=frame.mtu,
        )
        local = None if arrival.local.host.is_multicast else arrival.local
        self._link.speech.answer(answer, local, arrival.source, now=arrival.now)

    _HANDLERS: ClassVar[Mapping[int, Callable[["Exchange", Frame, Arrival], None]]] = {
        Code.HELLO: _hello,
        Code.HELLO_ACK: _hello_ack,
        Code.PREPARE: _prepare,
        Code.PREPARE_ACK: _move_ack,
        Code.CHANGE: _change,
        Code.CHANGE_ACK: _move_ack,
        Code.PATH_CHALLENGE: _path_challenge,
        Code.PATH_RESPONSE: _path_response,
        Code.RELAY: _relay,
        Code.RELAYED: _relay,
    }
