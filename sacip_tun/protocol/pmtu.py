"""The path's MTU towards one peer: found by probing, never believed from ICMP (RFC 8899, DPLPMTUD).

A probe is a PATH_CHALLENGE that is padded to the size in question and must not be fragmented.

1. After every flip nothing is known: BASE. TCP is cut to the base size until the full one, which is
   probed at once, has been answered: one round trip, in which no TCP can be lost for its size.
2. A probe counts as lost only where a small challenge that was sent behind it was answered: silence
   and congestion say nothing about sizes. Three lost ones decide (MAX_PROBES).
3. The full size does not pass: the base size is confirmed, then larger ones are tried in turn.
4. Found: SEARCH_COMPLETE. While large packets are sent, the size is confirmed once a second; where
   it does not pass any more, 3 begins anew. A size below the full one is tried to be raised.
5. Not even the base size passes, and small challenges do: ERROR, and the least size is used.

Sizes are bytes of outer IP packets, headers included. All that repeats is driven by traffic: an
idle tunnel probes nothing. A plain WireGuard peer answers nothing: towards it there is no limit.
"""

from dataclasses import dataclass, field
from enum import Enum

from sacip_tun.protocol.address import Endpoint
from sacip_tun.protocol.events import PathMtu
from sacip_tun.protocol.frames import FRAME_SIZE
from sacip_tun.protocol.messages import MIN_DATA_SIZE, OVERHEAD, padded_length
from sacip_tun.protocol.sacip import Link
from sacip_tun.protocol.timers import Timer

# An IP packet has no more.
LARGEST_PACKET = 65535
# What every IPv6 path carries (RFC 8200 5), and in practice every IPv4 path.
BASE = 1280
# The least sizes: RFC 791 asks every IPv4 host to take 576; RFC 8200 5.
LEAST = {4: 576, 6: BASE}
# Sizes of real links: tunnels in tunnels, mobile networks, PPPoE (1492), Ethernet, jumbo frames.
# Each success costs a round trip, each search one failure at most.
LADDER = (576, 768, 1024, BASE, 1320, 1360, 1380, 1400, 1420, 1440, 1460, 1480, 1492, 1500)
JUMBO = (2000, 4000, 8000, 9000)
# Lost probes of one size before it counts as too large (RFC 8899 5.1.2: MAX_PROBES 3).
MAX_PROBES = 3
# Probes without any answer before the attempt is put off: the path is silent, not small.
MAX_SILENT = 4
# A probe is repeated after max(3 RTT, 100 ms), doubled, at most 1 s.
MIN_PATIENCE, MAX_PATIENCE = 0.1, 1.0
# An answer to a small challenge that overtook the large one's is waited for so long, in seconds.
REORDERING = 0.025
# While large packets go out, their size is confirmed so often, in seconds (RFC 8899 5.1.1 leaves
# CONFIRMATION_TIMER open): a black hole lasts this long and some round trips.
CONFIRMATION = 1.0
# A reduced size is tried to be raised after this time in seconds, doubled up to RFC 8899's
# PMTU_RAISE_TIMER (5.1.1): a route that flaps is back soon, a tunnel on the way stays.
FIRST_RAISE, SLOWEST_RAISE = 10.0, 600.0
# Tokens of probes whose answers still count, at most.
MAX_TOKENS = 32


class MtuState(Enum):
    """Where the search is (RFC 8899 5.2); DISABLED towards a plain peer."""

    DISABLED = "not probed"
    BASE = "base"
    SEARCHING = "searching"
    SEARCH_COMPLETE = "found"
    ERROR = "below the base size"


@dataclass(slots=True)
class Attempt:
    """One size on trial: what was sent, and how often only the small challenge was answered."""

    size: int
    sent: int = 0
    lost: int = 0
    silent: int = 0
    controls: set[int] = field(default_factory=set)
    control_answered: bool = False


class PathMtuSearch:
    """The search towards one peer, on the path that is in use."""

    __slots__ = (
        "_announced",
        "_attempt",
        "_base",
        "_ceiling",
        "_due",
        "_link",
        "_local",
        "_mtu",
        "_overhead",
        "_raise_at",
        "_raise_pause",
        "_remote",
        "_tokens",
        "_too_large",
        "size",
        "state",
    )

    def __init__(self, link: Link) -> None:
        self._link = link
        self.state = MtuState.DISABLED
        self.size = 0
        self._local: Endpoint | None = None
        self._remote: Endpoint | None = None
        self._mtu = self._overhead = self._ceiling = self._base = self._announced = 0
        self._too_large = 0
        self._attempt: Attempt | None = None
        self._tokens: dict[int, int] = {}
        self._due = self._raise_at = 0.0
        self._raise_pause = FIRST_RAISE

    @property
    def found(self) -> bool:
        """Whether the size is what the path carries, and senders may be told."""
        return self.state in {MtuState.SEARCH_COMPLETE, MtuState.ERROR}

    def fits(self, length: int) -> bool:
        """Tell whether a datagram of `length` bytes of UDP is known to pass whole."""
        around = self._overhead - MIN_DATA_SIZE
        return self.state is not MtuState.DISABLED and length + around <= self.size

    def limit(self, length: int, mtu: int, *, now: float) -> int:
        """Return how long an inner packet may be to pass whole, in bytes; at most `mtu`.

        To be asked with each super-packet that goes out, of `length` bytes; `mtu` is the TUN's.
        """
        path = self._link.path
        if not self._link.speaks_sacip or path.remote.active is None:
            self._disable()
            return mtu
        same = path.remote.active is self._remote and path.local.active is self._local
        if not same or mtu != self._mtu or self.state is MtuState.DISABLED:
            self._look_at_path(mtu, now=now)
        if self._attempt is None and now >= self._due and self._is_worth(length):
            self._continue(now=now)
        return min(mtu, self.size - self._overhead)

    def answered(self, token: int, *, now: float) -> None:
        """Take an answer to any question: only those of probes matter here."""
        size = self._tokens.pop(token, None)
        attempt = self._attempt
        if attempt is not None and token in attempt.controls:
            attempt.control_answered = True
            self._link.arm(Timer.PMTU, now + REORDERING)
        elif size is not None and (size > self.size or (attempt and attempt.size == size)):
            self._passed(size, now=now)

    def refused(self, length: int, *, now: float) -> None:
        """Take the kernel's word (EMSGSIZE) that a probe of `length` bytes of UDP is too large."""
        attempt = self._attempt
        around = self._overhead - MIN_DATA_SIZE
        if attempt is not None and attempt.size == length + around:
            self._failed(attempt, now=now)

    def handle_timer(self, *, now: float) -> None:
        """Judge the probe that was sent last, and send the next (Timer.PMTU)."""
        attempt = self._attempt
        if attempt is None:
            return
        if attempt.control_answered:
            attempt.lost += 1
        elif attempt.controls:
            attempt.silent += 1
        if attempt.lost >= MAX_PROBES:
            self._failed(attempt, now=now)
        elif attempt.silent >= MAX_SILENT:
            self._rest(now=now)
        else:
            self._send(attempt, now=now)

    # The path

    def _disable(self) -> None:
        if self.state is not MtuState.DISABLED:
            self._end_attempt()
            self.state = MtuState.DISABLED

    def _look_at_path(self, mtu: int, *, now: float) -> None:
        """Begin anew where the path is another one than before, or the TUN's MTU."""
        path = self._link.path
        before = (self._local, self._remote, self._mtu)
        self._local, self._remote, self._mtu = path.local.active, path.remote.active, mtu
        flipped = before != (self._local, self._remote, mtu)
        if self._remote is not None and (flipped or self.state is MtuState.DISABLED):
            self._begin(self._remote.host.version, mtu, now=now)

    def _begin(self, version: int, mtu: int, *, now: float) -> None:
        self._end_attempt()
        self._tokens.clear()
        self._overhead = OVERHEAD[version]
        self._ceiling = min(mtu + self._overhead, LARGEST_PACKET)
        self._base = min(BASE, self._ceiling)
        self._too_large = self._ceiling + 1
        self._announced = self._announced or self._ceiling
        self._raise_at, self._raise_pause = now, FIRST_RAISE
        self.state, self.size = MtuState.BASE, self._base
        self._try(self._ceiling, now=now)

    def _is_worth(self, length: int) -> bool:
        """Small packets alone are no reason to probe."""
        return length > self._base - self._overhead or self.state is MtuState.BASE

    def _continue(self, *, now: float) -> None:
        """Take up what is due: the search, an attempt to raise the size, or its confirmation."""
        larger = self._larger()
        if self.state is MtuState.BASE:
            self._try(self._ceiling if self._too_large > self._ceiling else self._base, now=now)
        elif self.found and self.size < self._ceiling and now >= self._raise_at:
            self._too_large = self._ceiling + 1
            self._try(self._larger() or self._ceiling, now=now)
        elif self.state is MtuState.SEARCHING and larger:
            self._try(larger, now=now)
        else:
            self._try(self.size, now=now)

    # One size

    def _try(self, size: int, *, now: float) -> None:
        self._attempt = Attempt(size)
        self._send(self._attempt, now=now)

    def _send(self, attempt: Attempt, *, now: float) -> None:
        """Send a probe; from the second on with a small challenge behind it."""
        attempt.control_answered = False
        token = self._link.speech.probe(attempt.size, now=now)
        if not token:
            self._rest(now=now)
            return
        self._remember(token, attempt.size)
        if attempt.sent:
            small = self._overhead + padded_length(FRAME_SIZE)
            attempt.controls.add(self._link.speech.probe(small, now=now))
        patience = min(self._link.path.round_trips(3, MIN_PATIENCE), MAX_PATIENCE)
        doubled = min(patience * 2 ** min(attempt.sent, 8), MAX_PATIENCE)
        attempt.sent += 1
        self._link.arm(Timer.PMTU, now + doubled)

    def _remember(self, token: int, size: int) -> None:
        while len(self._tokens) >= MAX_TOKENS:
            del self._tokens[next(iter(self._tokens))]
        self._tokens[token] = size

    def _passed(self, size: int, *, now: float) -> None:
        """`size` came through: it is in use from here on, and the next larger one is tried."""
        self._end_attempt()
        self.size = max(self.size, size)
        self._too_large = max(self._too_large, self.size + 1)
        larger = self._larger()
        if larger:
            self.state = MtuState.SEARCHING
            self._try(larger, now=now)
        else:
            self._complete(now=now)

    def _failed(self, attempt: Attempt, *, now: float) -> None:
        """A size does not come through: stay below it, or go down where it was in use."""
        self._end_attempt()
        self._too_large = min(self._too_large, attempt.size)
        if attempt.size > self.size and self.state is not MtuState.BASE:
            self._complete(now=now)
        elif attempt.size > self._base:
            self.state, self.size = MtuState.BASE, self._base
            self._try(self._base, now=now)
        else:
            self._fall_below_base(now=now)

    def _fall_below_base(self, *, now: float) -> None:
        version = 4 if self._overhead == OVERHEAD[4] else 6
        self.size = min(LEAST[version], self._base)
        self.state = MtuState.SEARCHING
        larger = self._larger()
        if larger:
            self._try(larger, now=now)
        else:
            self._complete(now=now)

    def _complete(self, *, now: float) -> None:
        below = self.size < self._base or self._too_large <= self._base
        self.state = MtuState.ERROR if below else MtuState.SEARCH_COMPLETE
        self._due = now + CONFIRMATION
        if self.size == self._ceiling:
            self._raise_pause = FIRST_RAISE
        elif now >= self._raise_at:
            self._raise_at = now + self._raise_pause
            self._raise_pause = min(self._raise_pause * 2, SLOWEST_RAISE)
        if self.size != self._announced:
            self._link.emit(PathMtu(self._link.key, self._announced, self.size))
            self._announced = self.size

    def _rest(self, *, now: float) -> None:
        """No verdict: the path is silent, or nothing can be sent; traffic takes it up again."""
        self._end_attempt()
        self._due = now + CONFIRMATION

    def _end_attempt(self) -> None:
        self._attempt = None
        self._link.disarm(Timer.PMTU)

    def _larger(self) -> int:
        """Return the next size that may pass, 0 where there is none."""
        steps = (*LADDER, *JUMBO, self._ceiling)
        fits = [s for s in steps if self.size < s < self._too_large and s <= self._ceiling]
        return min(fits, default=0)
