"""The peer's address moves: write the idle slot, flip the index, and never believe blindly.

1. Only authenticated packets come here. The destination is always an observed source; an address
   that is merely claimed is a check and a candidate.
2. A change applies once, in the order of move numbers. An equal number is acknowledged again.
3. Claimed equals observed, or the slot is proven: flip at once. Else the new address is on trial:
   flip with a byte budget and a challenge in parallel; no answer in time goes back to the last
   address that was proven.
4. A newest packet from a source that nobody announced may be a NAT rebinding or a relay: old and
   new are asked, and the old one is left only when it is silent and the new one answers.
5. Every acceptance and refusal is one event.
"""

from dataclasses import dataclass, field

from sacip_tun.protocol.address import Endpoint
from sacip_tun.protocol.errors import Drop, RemoteError
from sacip_tun.protocol.events import Kind, Moved, MoveRefused, PathChecked, Prepared, Side
from sacip_tun.protocol.frames import Code, Frame, Reason
from sacip_tun.protocol.hygiene import is_anybodys
from sacip_tun.protocol.path import AMPLIFICATION_LIMIT, MIN_VALIDATION_TIME
from sacip_tun.protocol.received import Received
from sacip_tun.protocol.sacip import (
    REMOTE_TRANSITIONS,
    Mover,
    RemoteState,
    RemoteTrigger,
    following,
)
from sacip_tun.protocol.timers import NEVER, Timer

# How long an old and a new path may take to answer after an unannounced change: long enough for a
# second challenge, short enough that a NAT rebinding hardly shows.
MIN_CHECK_TIME = 0.06
CHECK_ROUND_TRIPS = 3.0
# Seconds from a challenge to its first repetition; the pause doubles (as the notices of the mover).
FIRST_CHALLENGE_PAUSE = 0.030
# Challenges to an address on trial: with CHANGE_ACK they are three times the CHANGE that named it.
TRIAL_CHALLENGES = AMPLIFICATION_LIMIT - 1
# Strangers are checked so often: whoever relays packets gets few challenges for many. A NAT that is
# being set up anew may show more than one face within a moment.
CHECKS, CHECKS_SPAN = 3, 3.0
# A stranger whom `Nat = strict` refuses is one event a second, however often it comes.
REFUSAL_PAUSE = 1.0


@dataclass(slots=True)
class Trial:
    """A new address that is asked whether it is the peer's; `proven` is where it was until then.

    `received` is what had arrived when the new address answered, None while it has not.
    """

    local: Endpoint
    source: Endpoint
    proven: Endpoint | None
    old_tokens: set[int] = field(default_factory=set)
    new_tokens: set[int] = field(default_factory=set)
    received: tuple[Received, ...] | None = None
    pause: float = FIRST_CHALLENGE_PAUSE


class RemoteMove:
    """The state of one peer's address, and how far it is believed."""

    __slots__ = (
        "_announced",
        "_announced_at",
        "_announced_number",
        "_checks",
        "_link",
        "_reason",
        "_refused_at",
        "_standing",
        "_strict",
        "_trial",
        "applied",
        "state",
    )

    def __init__(self, link: Mover, *, strict: bool) -> None:
        self._link = link
        self._strict = strict
        self.state = RemoteState.SETTLED
        self.applied = 0
        # The move whose first CHANGE was believed: hunting sends the same one from everywhere.
        self._standing = 0
        self._announced: Endpoint | None = None
        self._announced_number = 0
        self._announced_at = 0.0
        self._reason: Reason | None = None
        self._trial: Trial | None = None
        self._refused_at = NEVER
        self._checks: tuple[float, ...] = ()

    def restarted(self) -> None:
        """Forget move numbers: the peer's tunnel started anew and counts from one."""
        self.applied = self._standing = 0
        self._announced_number = 0

    def announced(self, frame: Frame, *, now: float) -> None:
        """Take PREPARE, which is then to be acknowledged. Raises RemoteError where it is not."""
        if frame.new is None or not is_anybodys(frame.new):
            raise RemoteError(Drop.STRANGE_ENDPOINT)
        if frame.number <= self.applied or frame.number < self._announced_number:
            raise RemoteError(Drop.STALE_MOVE)
        if self.state is RemoteState.PROBATION:
            raise RemoteError(Drop.STALE_MOVE)  # the idle slot is where to go back to; said again
        if frame.number > self._announced_number:
            self._announce(frame, frame.new, now=now)

    def _announce(self, frame: Frame, new: Endpoint, *, now: float) -> None:
        self._announced, self._announced_number, self._announced_at = new, frame.number, now
        path = self._link.path
        old = path.remote.active
        if self._link.where.may_be_at(new):
            path.remote = path.remote.added(new)
        # Behind a NAT it may have an address that we have too: its challenge tells the real one.
        self._enter(RemoteTrigger.ANNOUNCED)
        self._end_trial()
        self._link.emit(
            Prepared(self._link.key, Side.REMOTE, frame.number, old, new, frame.reason, 0.0)
        )

    def place_to_answer(self, frame: Frame, source: Endpoint) -> Endpoint | None:
        """Return where the answer to a challenge goes: where it came from, but for strict peers.

        Those say where they are. A challenge from elsewhere went through somebody's hands.
        """
        honest = frame.new is not None and frame.new.same_place == source.same_place
        if not self._strict or honest or source in self._link.path.remote:
            return source
        return self._link.path.remote.active

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
        if frame.number < self.applied or frame.new is None or not newest:
            raise RemoteError(Drop.STALE_MOVE)
        honest = frame.new.same_place == source.same_place
        if self._strict and not honest:
            why = "claimed and observed address differ, and NAT is strict"
            self._refuse(frame.number, frame.new, source, why)
            return False
        if frame.number == self.applied and source == self._link.path.remote.active:
            return True
        known = honest or source in self._link.path.remote
        if frame.number == self._standing:
            return known  # the first that came counts, and a relayed copy undoes nothing
        if frame.number == self.applied and not known:
            return False
        self._reason = frame.reason
        self._move(frame.number, local, source, honest=honest, now=now)
        return True

    def stranger(self, local: Endpoint, source: Endpoint, *, now: float) -> None:
        """The newest packet came from `source`, which is not the active address."""
        if self.state is RemoteState.PREPARED and source == self._link.path.remote.idle:
            # The announced switch, seen before its CHANGE: the slot is known, so follow at once.
            honest = self._announced is not None and source.same_place == self._announced.same_place
            self._move(self._announced_number, local, source, honest=honest, now=now)
        elif self._strict:
            self.refuse_stranger(source, now=now)
        elif self._may_check(now=now):
            self._check(local, source, now=now)

    def _may_check(self, *, now: float) -> bool:
        rested = len(self._checks) < CHECKS or now - self._checks[0] >= CHECKS_SPAN
        possible = (self.state, RemoteTrigger.STRANGER) in REMOTE_TRANSITIONS
        return rested and possible and self._trial is None

    def refuse_stranger(self, source: Endpoint, *, now: float) -> None:
        """Stay, and say so: nobody announced this source, and NAT is strict."""
        if now - self._refused_at >= REFUSAL_PAUSE:
            self._refused_at = now
            self._refuse(self.applied, None, source, "nobody announced it, and NAT is strict")

    def followed(self, source: Endpoint) -> None:
        """Go where a plain peer, or a new session, was heard from."""
        path = self._link.path
        if path.remote.active is None:
            path.remote = path.remote.of(source)
        elif source != path.remote.active:
            self._reason = None
            self._settle_at(self.applied, source)

    def found(self, source: Endpoint) -> None:
        """Go where the peer answered a challenge, or a CHANGE, while its old address is silent."""
        if source != self._link.path.remote.active:
            self._reason = Reason.PATH_SILENT
            self._settle_at(self.applied, source)

    def answered(self, frame: Frame, *, now: float) -> None:
        """Take PATH_RESPONSE."""
        trial = self._trial
        if trial is None:
            return
        if frame.token in trial.old_tokens:
            verdict = "the old address still answers: staying"
            self._conclude(RemoteTrigger.STILL_HERE, verdict, now=now)
        elif frame.token in trial.new_tokens and self.state is RemoteState.PROBATION:
            self._standing = self.applied
            self._conclude(RemoteTrigger.PROVEN, "the new address answered", now=now)
        elif frame.token in trial.new_tokens:
            trial.received = frame.received

    def ask_again(self, *, now: float) -> None:
        """Repeat the challenges of a trial (Timer.CHALLENGE): each may have been lost."""
        if self._trial is not None:
            self._challenge(self._trial, now=now)

    def verdict(self, *, now: float) -> None:
        """The time to answer is over (Timer.VERDICT)."""
        trial = self._trial
        if trial is None:
            return
        path = self._link.path
        if self.state is RemoteState.PROBATION:
            if trial.proven is not None:
                path.remote = path.remote.moved_to(trial.proven).forgotten()
            verdict = "the new address never answered: back to the old"
            self._conclude(RemoteTrigger.TIME_UP, verdict, now=now)
        elif trial.received is not None:
            self._reason = Reason.NAT_REBOUND
            verdict = "the old address is silent, the new one answers"
            self._conclude(RemoteTrigger.TIME_UP, verdict, now=now)
            self._apply(self.applied, trial.source, RemoteTrigger.MOVED)
            self._link.carries(trial.received, before=now, now=now)
        else:
            self._conclude(RemoteTrigger.TIME_UP, "neither address answered: staying", now=now)

    # Moving

    def _move(
        self, number: int, local: Endpoint, source: Endpoint, *, honest: bool, now: float
    ) -> None:
        """Flip to `source`: at once where it is proven, else on trial."""
        if honest or self._is_proven(source):
            self._settle_at(number, source, now=now)
            return
        before = self._trial if self.state is RemoteState.PROBATION else None
        proven = before.proven if before else self._link.path.remote.active
        if before is None:
            self._end_trial()
            self._link.path.limit(self._link.recent_bytes(now=now))
        self._apply(number, source, RemoteTrigger.MOVED_UNPROVEN, now=now)
        self._trial = Trial(local, source, proven)
        self._challenge(self._trial, now=now)
        deadline = self._link.path.round_trips(CHECK_ROUND_TRIPS, MIN_VALIDATION_TIME)
        self._link.arm(Timer.VERDICT, now + deadline)

    def _settle_at(self, number: int, source: Endpoint, *, now: float | None = None) -> None:
        """Go to an address that needs no trial. One that was on trial is nothing to fall back to.

        Else whoever relays packets could have it in the idle slot, where an answer is believed.
        """
        doubted = self._trial if self.state is RemoteState.PROBATION else None
        self._end_trial()
        self._apply(number, source, RemoteTrigger.MOVED, now=now)
        if doubted is not None:
            pair = self._link.path.remote.forgotten()
            self._link.path.remote = pair if doubted.proven is None else pair.added(doubted.proven)

    def _is_proven(self, source: Endpoint) -> bool:
        """The address in use, unless on trial, and the one that a trial would go back to."""
        if self.state is RemoteState.PROBATION and self._trial is not None:
            return source == self._trial.proven
        return source == self._link.path.remote.active

    def _apply(
        self, number: int, source: Endpoint, trigger: RemoteTrigger, *, now: float | None = None
    ) -> None:
        path = self._link.path
        old = path.remote.active
        prepared = self.state is RemoteState.PREPARED and source == path.remote.idle
        path.remote = path.remote.moved_to(source)
        self.applied = number
        self._standing = number if trigger is RemoteTrigger.MOVED else 0
        self._enter(trigger)
        kind = Kind.MAKE_BEFORE_BREAK if prepared else Kind.BREAK_BEFORE_MAKE
        elapsed = (now - self._announced_at) * 1000 if prepared and now is not None else 0.0
        key, reason = self._link.key, self._reason
        self._link.emit(Moved(key, Side.REMOTE, number, old, source, source, reason, kind, elapsed))

    # Asking

    def _check(self, local: Endpoint, source: Endpoint, *, now: float) -> None:
        path = self._link.path
        self._checks = (*self._checks, now)[-CHECKS:]
        self._enter(RemoteTrigger.STRANGER)
        self._trial = Trial(local, source, path.remote.active)
        self._challenge(self._trial, now=now)
        self._link.arm(Timer.VERDICT, now + path.round_trips(CHECK_ROUND_TRIPS, MIN_CHECK_TIME))

    def _challenge(self, trial: Trial, *, now: float) -> None:
        if self.state is RemoteState.PROBATION and len(trial.new_tokens) >= TRIAL_CHALLENGES:
            return
        question = Frame(Code.PATH_CHALLENGE, number=self.applied)
        if self.state is RemoteState.CHECKING:
            here = self._link.path.local.active
            trial.old_tokens.add(self._link.speech.ask(question, here, trial.proven, now=now))
        trial.new_tokens.add(self._link.speech.ask(question, trial.local, trial.source, now=now))
        self._link.arm(Timer.CHALLENGE, now + trial.pause)
        trial.pause *= 2

    def _refuse(self, number: int, claimed: Endpoint | None, source: Endpoint, why: str) -> None:
        self._link.emit(MoveRefused(self._link.key, number, claimed, source, why))

    def _conclude(self, trigger: RemoteTrigger, verdict: str, *, now: float) -> None:
        trial = self._trial
        self._enter(trigger)
        self._end_trial()
        if trial is not None:
            checked = PathChecked(self._link.key, trial.proven, trial.source, verdict)
            self._link.emit(checked)
        self._link.carries((), before=now, now=now)  # the budget of a trial bounds nothing any more

    def _end_trial(self) -> None:
        self._trial = None
        self._link.path.lift_limit()
        self._link.disarm(Timer.VERDICT)
        self._link.disarm(Timer.CHALLENGE)

    def _enter(self, trigger: RemoteTrigger) -> None:
        self.state = following(REMOTE_TRANSITIONS, self.state, trigger)
