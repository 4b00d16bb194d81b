"""Liveness: a path that dies without a word is noticed from traffic that nobody answers.

1. Something went out and nothing authenticated came back over the path in use for a few round
   trips: it is asked, by a challenge. From the second challenge on, every other pair of addresses
   is asked too.
2. Another pair answers and the one in use stays silent: that pair is taken.
3. Nothing answers: the path counts as silent. Inner packets are held, the challenges go on, ever
   more slowly, and the first answer on any path lets them go.
4. A stream from the peer that breaks off is a reason to ask at once: who only receives has nothing
   to send that would show him that he is not reached any more.
5. An answer tells where the peer sees us. Another place than before is a NAT that forgot us.
An idle tunnel is not asked anything: nobody waits for it.
"""

from dataclasses import dataclass
from typing import Protocol

from sacip_tun.protocol.address import Endpoint
from sacip_tun.protocol.events import Degraded
from sacip_tun.protocol.frames import Code, Frame
from sacip_tun.protocol.limits import REKEY_ATTEMPT_TIME
from sacip_tun.protocol.sacip import Link
from sacip_tun.protocol.timers import NEVER, Timer, doubled

# From the first unanswered packet to the first challenge: max(3 RTT, 200 ms).
FIRST_DOUBT = 0.2
DOUBT_ROUND_TRIPS = 3.0
# Between two challenges that are answered while nothing else comes, in seconds: who only receives,
# as in a one-way stream, is asked no more often.
ONE_WAY_PAUSE = 1.0
# Pauses between challenges: max(2 RTT, 30 ms), doubled, while the path may still be alive.
FIRST_PAUSE = 0.030
PAUSE_ROUND_TRIPS = 2.0
# So many unanswered challenges make a path silent: 410 ms in all where the round trip is short.
MAX_UNANSWERED = 3
# A silent path is asked every 0.1 s at first, then ever more slowly up to the second number in
# seconds, for as long as it has been silent no longer than the first.
SILENT_PAUSE = 0.1
SLOWEST = ((60.0, 1.0), (600.0, 5.0), (float("inf"), 15.0))
# Seconds after which a silent path is asked for somebody who waits only (REKEY_ATTEMPT_TIME).
PATIENCE = REKEY_ATTEMPT_TIME
# Arrivals in a row, none this many seconds after another, that make a stream; a keystroke's echo is
# none. It has broken off when nothing came for max(3 RTT, that time).
STREAM = 16
STREAM_PAUSE = 0.25
MAX_TOKENS = 64


@dataclass(frozen=True, slots=True)
class Asked:
    """One challenge that is out."""

    local: Endpoint | None
    remote: Endpoint
    in_use: bool


class Prober(Link, Protocol):
    """A Link that knows every way to the peer."""

    @property
    def detached(self) -> bool:
        """Whether no local address leads to the peer."""

    def rebound(self, *, now: float) -> None:
        """Tell the peer that a NAT moved us: our address is the same, its packets are lost."""

    def wanted(self, *, now: float) -> bool:
        """Tell whether anybody waits for the path to carry."""

    def take_path(self, local: Endpoint | None, remote: Endpoint, *, now: float) -> None:
        """Go over to a pair that answered while the one in use is silent."""


class Liveness:
    """What is known of whether the path to one peer carries."""

    __slots__ = (
        "_answered_at",
        "_arrivals",
        "_asked",
        "_expecting",
        "_link",
        "_received_at",
        "_since",
        "_unanswered",
        "silent",
    )

    def __init__(self, link: Prober) -> None:
        self._link = link
        self.silent = False
        self._expecting = False
        self._unanswered = 0
        self._since = 0.0
        self._answered_at = NEVER
        self._asked: dict[int, Asked] = {}
        self._arrivals = 0
        self._received_at = NEVER

    @property
    def doubting(self) -> bool:
        """Whether challenges have gone unanswered, so that any path that answers is better."""
        return self._unanswered > 1 or self.silent

    def data_sent(self, *, now: float) -> None:
        """Inner packets went out; called once for each first unanswered one.

        What came over another path since answered nothing: the doubt stays as old as it is.
        """
        if self._link.speaks_sacip and not self._unanswered and not self._expecting:
            self._expecting = True
            self._since = now
            pause = self._link.path.round_trips(DOUBT_ROUND_TRIPS, FIRST_DOUBT)
            self._link.arm(Timer.LIVENESS, max(now + pause, self._answered_at + ONE_WAY_PAUSE))

    def data_received(self, *, now: float) -> None:
        """Inner packets came in."""
        dense = now - self._received_at < STREAM_PAUSE
        self._arrivals = self._arrivals + 1 if dense else 1
        self._received_at = now
        if self._arrivals >= STREAM and self._link.speaks_sacip:
            pause = self._link.path.round_trips(DOUBT_ROUND_TRIPS, STREAM_PAUSE)
            self._link.arm(Timer.STREAM_BREAK, now + pause)

    def stream_broke(self, *, now: float) -> None:
        """A stream from the peer broke off (Timer.STREAM_BREAK)."""
        self._arrivals = 0
        self.doubt(now=now)

    def heard(self) -> None:
        """Something authenticated came over the path in use."""
        self._link.disarm(Timer.LIVENESS)
        self._expecting = False
        self._unanswered = 0
        self.silent = False
        self._asked.clear()

    def doubt(self, *, now: float) -> None:
        """Ask at once: somebody has a reason to think that the path is dead."""
        if not self._unanswered and self._link.speaks_sacip:
            self._since = now
            self.ask(now=now)

    def ask(self, *, now: float) -> None:
        """Ask the path in use, then others too (Timer.LIVENESS)."""
        link = self._link
        self._expecting = False
        if link.detached:
            # The next address is announced at once. Asking without a carrier would leave the kernel
            # with a neighbour that it asks for once a second only, when the carrier is back.
            return
        if now - self._since > PATIENCE and not link.wanted(now=now):
            return  # the next inner packet asks again
        if link.path.limited:  # the trial of an unproven address asks, and no more than it may
            link.arm(Timer.LIVENESS, now + FIRST_DOUBT)
            return
        if not link.can_seal(now=now):
            self._fall_silent(now=now)
            link.start_handshake(now=now)
            link.arm(Timer.LIVENESS, now + self._pause(now))
            return
        if self._unanswered >= MAX_UNANSWERED:
            self._fall_silent(now=now)
            # The peer may have been started anew: then it answers nothing but a handshake.
            link.start_handshake(now=now)
        self._unanswered += 1
        pairs = link.where.pairs_in_turn(max(0, self._unanswered - 2))
        used = (link.path.local.active, link.path.remote.active)
        for pair in pairs:
            if pair == used or self._unanswered > 1:
                self._challenge(*pair, in_use=pair == used, now=now)
        link.arm(Timer.LIVENESS, now + self._pause(now))

    def search(self, *, now: float) -> None:
        """Ask every pair of addresses at once: the peer may be at one that has just been told."""
        if not self._unanswered:
            self._since = now
        self._unanswered = max(self._unanswered, 1)
        self.ask(now=now)

    def answered(self, token: int, observed: Endpoint | None, *, now: float) -> bool:
        """Take PATH_RESPONSE; True where it ends a doubt."""
        asked = self._asked.pop(token, None)
        if asked is None:
            return False
        seen = self._link.path.observed
        if asked.in_use and seen is not None and observed not in {None, seen}:
            self._link.path.observed = observed
            self._link.rebound(now=now)
        doubted = self.doubting
        self._answered_at = now
        if not asked.in_use and doubted:
            self._link.take_path(asked.local, asked.remote, now=now)
        if asked.in_use or doubted:
            self.heard()
        return doubted

    def _challenge(
        self, local: Endpoint | None, remote: Endpoint, *, in_use: bool, now: float
    ) -> None:
        while len(self._asked) >= MAX_TOKENS:
            del self._asked[next(iter(self._asked))]
        told = self._link.received()
        question = Frame(Code.PATH_CHALLENGE, new=local, received=told)
        token = self._link.speech.ask(question, local, remote, now=now)
        if token:
            self._asked[token] = Asked(local, remote, in_use)

    def _fall_silent(self, *, now: float) -> None:
        if not self.silent:
            self.silent = True
            path = self._link.path
            elapsed = (now - self._since) * 1000
            event = Degraded(self._link.key, path.local.active, path.remote.active, elapsed)
            self._link.emit(event)

    def _pause(self, now: float) -> float:
        if not self.silent:
            first = self._link.path.round_trips(PAUSE_ROUND_TRIPS, FIRST_PAUSE)
            return min(first * 2.0 ** (self._unanswered - 1), 1.0)
        slowest = next(pause for age, pause in SLOWEST if now - self._since < age)
        return doubled(SILENT_PAUSE, self._unanswered - MAX_UNANSWERED, slowest)
