"""Keeping a NAT's mapping open with as few packets as that NAT allows, and noticing when it went.

1. Only where a NAT was seen: the peer sees us at another address or port than we have.
2. When nothing was sent for the interval, PATH_CHALLENGE goes out. Its answer says where we are
   seen, so that it keeps the mapping open and tells of a new one at once.
3. The interval grows while the mapping outlives it. A mapping that was another one after an idle
   time did not live so long: the interval falls below that time, and stays there.
4. What was learnt belongs to one own network, and is there again on coming back.
"""

from dataclasses import dataclass, field

from sacip_tun.protocol.address import Endpoint, Host
from sacip_tun.protocol.frames import Code, Frame
from sacip_tun.protocol.sacip import Link
from sacip_tun.protocol.timers import NEVER, Timer

# Where a network is new, in seconds: below the 30 s at which the shortest common mappings end
# (Linux before a reply; many carriers), as WireGuard's manual advises.
FIRST_INTERVAL = 25.0
# No NAT that lets anything work has mappings shorter than that, in seconds.
SHORTEST_INTERVAL = 10.0
# No mapping should end before 120 s (RFC 4787 REQ-5), so that more gains nothing; and a session of
# 180 s must live from one challenge to the next.
LONGEST_INTERVAL = 150.0
# A success is followed by an interval so much longer: five steps from the first to the longest.
GROWTH = 1.5
# A failure by one so much shorter than the idle time that was too long.
RETREAT = 0.8
# An idle time that was once too long is tried again after so many seconds: a NAT that restarted
# looks like one that forgot. A trial that fails leaves us unreachable for some seconds.
FORGIVENESS = 4 * 3600.0
# Networks remembered.
MAX_NETWORKS = 16
# A question is sent so often, first after max(3 RTT, 0.25 s), then in doubling pauses.
COPIES = 3
ROUND_TRIPS = 3.0
MIN_SILENCE = 0.25

# One own network: our address there, and the gateway.
NetworkName = tuple[Host, Host | None]


@dataclass(slots=True)
class Estimate:
    """What is known of the mappings of one network's NAT, in seconds.

    `too_long` is the shortest idle time that a mapping did not outlive, `failed_at` when that was.
    """

    interval: float
    too_long: float = float("inf")
    failed_at: float = NEVER

    def survived(self, idle: float, *, longest: float, now: float) -> None:
        """Take that a mapping outlived `idle`."""
        if now - self.failed_at >= FORGIVENESS:
            self.too_long = float("inf")
        if idle >= self.interval * RETREAT:
            at_most = min(longest, self.too_long * RETREAT)
            self.interval = max(self.interval, min(self.interval * GROWTH, at_most))

    def failed(self, idle: float, *, shortest: float, now: float) -> None:
        """Take that a mapping was another one after `idle`."""
        self.too_long = min(idle, self.too_long)
        self.failed_at = now
        self.interval = max(shortest, min(self.interval, idle * RETREAT))


@dataclass(slots=True)
class Question:
    """One challenge over the path in use, with its copies; `idle` is what it measures, if it can.

    `seen` is where the peer saw us before.
    """

    seen: Endpoint
    idle: float | None
    pause: float
    tokens: list[int] = field(default_factory=list)


class NatKeepalive:
    """The mapping towards one peer. Driven by what is sent and received, and by two timers.

    `automatic` says that nobody configured an interval. The bounds are in seconds.
    """

    __slots__ = (
        "_automatic",
        "_first",
        "_link",
        "_longest",
        "_networks",
        "_observed_at",
        "_question",
        "_sent_at",
        "_shortest",
    )

    def __init__(
        self,
        link: Link,
        *,
        automatic: bool,
        shortest: float = SHORTEST_INTERVAL,
        first: float = FIRST_INTERVAL,
        longest: float = LONGEST_INTERVAL,
    ) -> None:
        self._link = link
        self._automatic = automatic
        self._shortest, self._first, self._longest = shortest, first, longest
        self._networks: dict[NetworkName, Estimate] = {}
        self._question: Question | None = None
        self._sent_at = NEVER
        self._observed_at = NEVER

    @property
    def interval(self) -> float:
        """Seconds of silence after which we speak; 0 where that is not our business."""
        wanted = self._automatic and self._link.speaks_sacip and self._link.path.behind_nat
        return self._estimate().interval if wanted else 0.0

    def set_automatic(self, *, automatic: bool) -> None:
        """Take whether nobody configured an interval."""
        self._automatic = automatic
        self._rest()

    # What happens

    def sent(self, *, now: float) -> None:
        """Anything went out; called for each super-packet, so that the timer stays where it is."""
        self._sent_at = now

    def observed(self, *, now: float) -> None:
        """The peer said where it sees the path in use."""
        self._observed_at = now
        self._rest()

    def handle_timer(self, *, now: float) -> None:
        """Nothing was sent for the interval, or a question was not answered (NAT_KEEPALIVE)."""
        question = self._question
        if question is None:
            self._keep_open(now=now)
        elif len(question.tokens) < COPIES:
            self._ask(question, now=now)
        else:
            self._question = None
            self._link.start_handshake(now=now)  # the peer may have lost its session
            self._rest()

    def answered(self, frame: Frame, *, now: float) -> bool:
        """Take PATH_RESPONSE; True where the mapping is another one: the peer must be told."""
        question = self._question
        if question is None or frame.token not in question.tokens or frame.observed is None:
            return False
        self._question = None
        self._link.path.observed = frame.observed
        kept = frame.observed == question.seen
        if question.idle is not None:
            self._learn(question.idle, kept=kept, now=now)
        self._rest()
        return not kept

    # Asking

    def _keep_open(self, *, now: float) -> None:
        """Ask, if nothing was sent since the timer was set."""
        interval = self.interval
        if interval and now >= self._sent_at + interval:
            self._begin(idle=self._idle(now=now), now=now)
        else:
            self._rest()

    def _begin(self, *, idle: float | None, now: float) -> None:
        seen = self._link.path.observed
        if seen is None or not self._link.speaks_sacip:
            return
        if not self._link.can_seal(now=now):
            self._link.start_handshake(now=now)  # that keeps the mapping open too
            self._rest(since=now)
            return
        self._question = Question(seen, idle, self._patience)
        self._ask(self._question, now=now)

    def _idle(self, *, now: float) -> float | None:
        """How long nothing was sent; None where it is not certain which mapping was there before.

        It is where the peer said so and no pause came after that in which a mapping could end.
        """
        certain = self._sent_at - self._observed_at < self._shortest
        return now - self._sent_at if certain else None

    def _ask(self, question: Question, *, now: float) -> None:
        path = self._link.path
        challenge = Frame(Code.PATH_CHALLENGE)
        token = self._link.speech.ask(challenge, path.local.active, path.remote.active, now=now)
        question.tokens.append(token)
        self._link.arm(Timer.NAT_KEEPALIVE, now + question.pause)
        question.pause *= 2

    def _learn(self, idle: float, *, kept: bool, now: float) -> None:
        if kept:
            self._estimate().survived(idle, longest=self._longest, now=now)
        else:
            self._estimate().failed(idle, shortest=self._shortest, now=now)

    def _rest(self, since: float | None = None) -> None:
        """Speak again when nothing was sent for the interval; not while a question is open."""
        if self._question is not None:
            return
        if interval := self.interval:
            self._link.arm(Timer.NAT_KEEPALIVE, (since or self._sent_at) + interval)
        else:
            self._link.disarm(Timer.NAT_KEEPALIVE)

    @property
    def _patience(self) -> float:
        return self._link.path.round_trips(ROUND_TRIPS, MIN_SILENCE)

    def _estimate(self) -> Estimate:
        name = self._link.own_network
        if name is None:
            return Estimate(self._first)
        if name not in self._networks and len(self._networks) >= MAX_NETWORKS:
            del self._networks[next(iter(self._networks))]
        return self._networks.setdefault(name, Estimate(self._first))
