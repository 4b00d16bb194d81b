"""The peer's address moves: write the idle slot, flip the index, and never believe blindly.

1. Only authenticated packets come here. The destination is always an observed source; an address
   that is merely claimed is a check and a candidate.
2. A change applies once, in the order of move numbers. An equal number is acknowledged again.
3. Claimed equals observed, or the slot was announced: flip at once. Else flip with a byte budget
   and a challenge in parallel; no answer in time flips back.
4. A newest packet from a source that nobody announced may be a NAT rebinding or a relay: old and
   new are asked, and the old one is left only when it is silent and the new one answers.
5. Every acceptance and refusal is one event.
"""

from sacip_tun.protocol.address import Endpoint
from sacip_tun.protocol.errors import Drop, RemoteError
from sacip_tun.protocol.events import Kind, Moved, MoveRefused, PathChecked, Prepared, Side
from sacip_tun.protocol.frames import Code, Frame, Reason
from sacip_tun.protocol.path import MIN_VALIDATION_TIME
from sacip_tun.protocol.sacip import (
    REMOTE_TRANSITIONS,
    Link,
    RemoteState,
    RemoteTrigger,
    following,
)
from sacip_tun.protocol.timers import Timer

# How long an old and a new path may take to answer after an unannounced change: long enough for a
# second challenge, short enough that a NAT rebinding hardly shows.
MIN_CHECK_TIME = 0.1
CHECK_ROUND_TRIPS = 3.0


class RemoteMove:
    """The state of one peer's address, and how far it is believed."""

    def __init__(self, link: Link, *, strict: bool) -> None:
        self._link = link
        self._strict = strict
        self.state = RemoteState.SETTLED
        self.applied = 0
        self._announced_number = 0
        self._announced_at = 0.0
        self._reason: Reason | None = None
        self._suspect: tuple[Endpoint, Endpoint] | None = None
        self._old_token = 0
        self._new_token = 0
        self._new_answered = False

    def restarted(self) -> None:
        """Forget move numbers: the peer's tunnel started anew and counts from one."""
        self.applied = 0
        self._announced_number = 0

    def announced(self, frame: Frame, *, now: float) -> bool:
        """Take PREPARE; True where it shall be acknowledged. Raises RemoteError where refused."""
        if frame.new is None or not is_possible(frame.new):
            raise RemoteError(Drop.STRANGE_ENDPOINT)
        if frame.number <= self.applied or frame.number < self._announced_number:
            raise RemoteError(Drop.STALE_MOVE)
        if frame.number > self._announced_number:
            self._announced_number = frame.number
            self._announced_at = now
            self._announce(frame, frame.new)
        return True

    def _announce(self, frame: Frame, new: Endpoint) -> None:
        path = self._link.path
        old = path.remote.active
        path.remote = path.remote.added(new)
        self._enter(RemoteTrigger.ANNOUNCED)
        self._link.emit(
            Prepared(self._link.key, Side.REMOTE, frame.number, old, new, frame.reason, 0.0)
        )

    def observed_at(self, frame: Frame, source: Endpoint) -> None:
        """Correct the announced slot by where a challenge really came from: a NAT is there."""
        pair = self._link.path.remote
        expected = self.state is RemoteState.PREPARED and frame.number == self._announced_number
        if expected and source not in pair and not self._strict:
            self._link.path.remote = pair.added(source)

    def changed(
        self, frame: Frame, local: Endpoint, source: Endpoint, *, newest: bool, now: float
    ) -> bool:
        """Take CHANGE; True where it shall be acknowledged. Raises RemoteError where refused."""
        if frame.number < self.applied or frame.new is None:
            raise RemoteError(Drop.STALE_MOVE)
        if frame.number == self.applied:
            return source in self._link.path.remote
        if not newest:
            raise RemoteError(Drop.STALE_MOVE)
        honest = frame.new.same_place == source.same_place
        if self._strict and not honest:
            self._refuse(frame, source, "claimed and observed address differ, and NAT is strict")
            return False
        self._reason = frame.reason
        proven = honest or source in self._link.path.remote
        trigger = RemoteTrigger.MOVED if proven else RemoteTrigger.MOVED_UNPROVEN
        self._apply(frame.number, source, trigger, now=now)
        if not proven:
            self._link.path.limit(self._link.recent_bytes(now=now))
            self._challenge_new(local, source, now=now)
        return True

    def stranger(self, local: Endpoint, source: Endpoint, *, now: float) -> None:
        """The newest packet came from `source`, which is not the active address."""
        if self.state is RemoteState.PREPARED and source == self._link.path.remote.idle:
            # The announced switch, seen before its CHANGE: the slot is known, so follow at once.
            self._apply(self._announced_number, source, RemoteTrigger.MOVED, now=now)
        elif self._may_check():
            self._check(local, source, now=now)

    def followed(self, source: Endpoint, *, now: float) -> None:
        """Go where a plain peer, or a new session, was heard from."""
        path = self._link.path
        if path.remote.active is None:
            path.remote = path.remote.of(source)
        elif source != path.remote.active:
            self._reason = None
            self._apply(self.applied, source, RemoteTrigger.MOVED, now=now)

    def _may_check(self) -> bool:
        return (self.state, RemoteTrigger.STRANGER) in REMOTE_TRANSITIONS and not self._strict

    def answered(self, frame: Frame) -> None:
        """Take PATH_RESPONSE."""
        if frame.token == self._old_token and self.state is RemoteState.CHECKING:
            self._conclude(RemoteTrigger.STILL_HERE, "the old address still answers: staying")
        elif frame.token == self._new_token and self.state is RemoteState.PROBATION:
            self._link.path.lift_limit()
            self._conclude(RemoteTrigger.PROVEN, "the new address answered")
        elif frame.token == self._new_token and self.state is RemoteState.CHECKING:
            self._new_answered = True

    def verdict(self, *, now: float) -> None:
        """The time to answer is over (Timer.VERDICT)."""
        path = self._link.path
        if self.state is RemoteState.PROBATION:
            path.lift_limit()
            if path.remote.idle is not None:
                path.remote = path.remote.switched()
            self._conclude(RemoteTrigger.TIME_UP, "the new address never answered: back to the old")
        elif self.state is RemoteState.CHECKING and self._new_answered and self._suspect:
            self._reason = Reason.NAT_REBOUND
            source = self._suspect[1]
            self._conclude(RemoteTrigger.TIME_UP, "the old address is silent, the new one answers")
            self._apply(self.applied, source, RemoteTrigger.MOVED, now=now)
        elif self.state is RemoteState.CHECKING:
            self._conclude(RemoteTrigger.TIME_UP, "neither address answered: staying")

    def _apply(self, number: int, source: Endpoint, trigger: RemoteTrigger, *, now: float) -> None:
        path = self._link.path
        old = path.remote.active
        prepared = self.state is RemoteState.PREPARED and source == path.remote.idle
        path.lift_limit()
        path.remote = path.remote.moved_to(source)
        self.applied = number
        self._enter(trigger)
        self._link.disarm(Timer.VERDICT)
        kind = Kind.MAKE_BEFORE_BREAK if prepared else Kind.BREAK_BEFORE_MAKE
        elapsed = (now - self._announced_at) * 1000 if prepared else 0.0
        self._link.emit(
            Moved(
                self._link.key,
                Side.REMOTE,
                number,
                old,
                source,
                source,
                self._reason,
                kind,
                elapsed,
            )
        )

    def _challenge_new(self, local: Endpoint, source: Endpoint, *, now: float) -> None:
        self._suspect = (local, source)
        self._new_token = self._challenge(local, source, now=now)
        deadline = self._link.path.round_trips(CHECK_ROUND_TRIPS, MIN_VALIDATION_TIME)
        self._link.arm(Timer.VERDICT, now + deadline)

    def _check(self, local: Endpoint, source: Endpoint, *, now: float) -> None:
        self._suspect = (local, source)
        self._new_answered = False
        self._enter(RemoteTrigger.STRANGER)
        path = self._link.path
        self._old_token = self._challenge(path.local.active, path.remote.active, now=now)
        self._new_token = self._challenge(local, source, now=now)
        self._link.arm(Timer.VERDICT, now + path.round_trips(CHECK_ROUND_TRIPS, MIN_CHECK_TIME))

    def _challenge(self, local: Endpoint | None, remote: Endpoint | None, *, now: float) -> int:
        question = Frame(Code.PATH_CHALLENGE, number=self.applied)
        return self._link.ask(question, local, remote, now=now)

    def _refuse(self, frame: Frame, source: Endpoint, why: str) -> None:
        self._link.emit(MoveRefused(self._link.key, frame.number, frame.new, source, why))

    def _conclude(self, trigger: RemoteTrigger, verdict: str) -> None:
        self._enter(trigger)
        self._link.disarm(Timer.VERDICT)
        if self._suspect is not None:
            old = self._link.path.remote.active
            self._link.emit(PathChecked(self._link.key, old, self._suspect[1], verdict))
            self._suspect = None

    def _enter(self, trigger: RemoteTrigger) -> None:
        self.state = following(REMOTE_TRANSITIONS, self.state, trigger)


def is_possible(endpoint: Endpoint) -> bool:
    """Tell whether an address can be the end of an outer path to somebody else."""
    host = endpoint.host
    return endpoint.port != 0 and not (host.is_multicast or host.is_unspecified or host.is_loopback)
