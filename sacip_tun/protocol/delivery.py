"""Delivery: what was taken from the TUN for one peer and is not yet safe with it.

Inner packets that cannot go wait in the hold queue (hold.py); sealed datagrams that went stay in
the send ring for a moment (ring.py). When a path carries again, first what was lost on the old path
is sent again, then what waited, in the order in which it came, then what is new. That is paced:
a burst of megabytes into a path that nobody has measured would lose itself.
"""

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from typing import Protocol

from sacip_tun.protocol.errors import Drop
from sacip_tun.protocol.events import Event, Held, Recovered, SessionReady
from sacip_tun.protocol.hold import HOLD_BYTES, STALE_AFTER, UNTAGGED, Hold, Tag, Waiting
from sacip_tun.protocol.received import Received
from sacip_tun.protocol.ring import RING_AGE, RING_BYTES, Run, SendRing
from sacip_tun.protocol.timers import Timer

# What is released at first, in bytes: ten segments (RFC 6928); doubled every round trip.
FIRST_WINDOW = 10 * 1460
# A round trip counts as so long at least, in seconds: the clock of the loop ticks no faster.
MIN_PAUSE = 0.001
# And as so long at most: a path that was slow before may not be so now.
MAX_PAUSE = 0.1
HELD_LOST = frozenset({Drop.HOLD_OVERFLOW, Drop.HELD_STALE, Drop.NOT_RESENT})


class Carrier(Protocol):
    """What delivery needs of the peer that it belongs to."""

    @property
    def key(self) -> bytes:
        """The peer's public key."""

    @property
    def round_trip(self) -> float:
        """The round trip time of the path in use, in seconds."""

    def can_send(self, *, now: float) -> bool:
        """Tell whether the path in use carries, as far as is known."""

    def send_again(self, run: Run, *, now: float) -> bool:
        """Send sealed datagrams over the path in use; False where it must wait."""

    def count(self, reason: Drop, number: int) -> None:
        """Count what was dropped."""

    def emit(self, event: Event) -> None:
        """Tell the program that runs us."""

    def arm(self, timer: Timer, deadline: float) -> None:
        """Set a timer of this peer."""

    def is_set(self, timer: Timer) -> bool:
        """Tell whether a timer of this peer is armed."""


class Delivery:
    """The hold queue and the send ring of one peer, and how both are emptied.

    `resent` and `lost` count datagrams and held packets since the peer was added.
    """

    __slots__ = (
        "_again",
        "_allowance",
        "_carrier",
        "_held_since",
        "_lost_before",
        "_released",
        "_window",
        "hold",
        "lost",
        "resent",
        "ring",
    )

    def __init__(
        self, carrier: Carrier, hold_bytes: int = HOLD_BYTES, ring_bytes: int = RING_BYTES
    ) -> None:
        self._carrier = carrier
        self.hold = Hold(hold_bytes)
        self.ring = SendRing(ring_bytes)
        self.resent = 0
        self.lost = 0
        self._again: deque[Run] = deque()
        self._held_since: float | None = None
        self._lost_before = self._released = 0
        self._window = self._allowance = 0

    @property
    def waiting(self) -> bool:
        """Whether anything goes before a new packet."""
        return bool(self.hold) or bool(self._again)

    @property
    def idle(self) -> bool:
        """Whether nothing waits, and nobody was told that something does."""
        return not self.waiting and self._held_since is None

    # Coming in

    def keep(
        self,
        packet: bytes,
        tag: Tag = UNTAGGED,
        *,
        first: bool = False,
        why: str | None,
        now: float,
    ) -> None:
        """Hold an inner packet; `why` says what for, None where nobody need be told.

        `first` is for one that had waited and was refused.
        """
        if why is not None and self._held_since is None:
            self._held_since = now
            self._lost_before, self._released = self.lost, 0
            # What went out into the silence is worth as much as what waits for its end.
            self.ring.age = STALE_AFTER
            self._carrier.emit(Held(self._carrier.key, why))
        self._released -= int(first and self._released > 0)
        self._drop(self.hold.add(packet, tag, first=first, now=now))

    def give_up(self) -> int:
        """Drop what nobody will wait for: all but the newest segment of each TCP flow."""
        dropped = self.hold.give_up()
        self._carrier.count(Drop.GAVE_UP, dropped)
        return dropped

    def sent(self, data: memoryview, size: int, *, now: float) -> None:
        """Keep sealed datagrams that went out, `size` bytes each but the last."""
        self.ring.add(data, size, now=now)
        if not self._carrier.is_set(Timer.RING):
            self._carrier.arm(Timer.RING, now + RING_AGE)

    # Going out

    def resend(self, received: Iterable[Received], *, before: float, now: float) -> int:
        """Send again what went out before `before` and did not arrive; returns how many that is."""
        return self._resend(self.ring.missing(received, before=before, now=now), now)

    def resend_unheard(self, since: float, *, now: float) -> int:
        """Send again all that went out since `since`, when the peer was last heard."""
        return self._resend(self.ring.sent_since(since, now=now), now)

    def carries(self, resent: int, *, now: float) -> None:
        """The path in use carries: release what waits, and say what it cost."""
        self.expire(now=now)
        began = self._held_since
        if began is not None or resent:
            held = 0.0 if began is None else (now - began) * 1000
            lost = 0 if began is None else self.lost - self._lost_before
            # Some may have gone already: the address was there before the peer's acknowledgement.
            released = self._released + len(self.hold)
            self._carrier.emit(Recovered(self._carrier.key, held, released, resent, lost))
        self._held_since, self._released = None, 0
        if self._again:
            self._open_window(now)
            self._send_again(now)
        self.ring.age = RING_AGE
        if self.hold:
            self._carrier.emit(SessionReady(self._carrier.key))

    def expire(self, *, now: float) -> None:
        """Drop what has waited too long to be of use."""
        if number := self.hold.expire(now=now):
            self._drop(Counter({Drop.HELD_STALE: number}))

    def take(self, *, now: float) -> Iterator[Waiting]:
        """Yield the held packets that may go now, oldest first.

        None of what was told of as released becomes stale while the windows open.
        """
        if self._held_since is not None:
            self.expire(now=now)
        self._open_window(now)
        if self._again:
            return
        for waiting in self.hold.take(self._allowance):
            self._allowance -= len(waiting.packet)
            self._released += self._held_since is not None
            yield waiting
            if self._allowance <= 0:
                return

    def handle_timer(self, timer: Timer, *, now: float) -> None:
        """React to RELEASE and RING."""
        if timer is Timer.RING:
            self.ring.expire(now=now)
            if self.ring:
                self._carrier.arm(Timer.RING, now + RING_AGE)
        elif self.waiting and self._carrier.can_send(now=now):
            self._window = min(2 * self._window, HOLD_BYTES)
            self._allowance = self._window
            self._carrier.arm(Timer.RELEASE, now + self._pause())
            self._send_again(now)
            if self.hold and not self._again:
                self._carrier.emit(SessionReady(self._carrier.key))

    def clear(self) -> None:
        """Forget all sealed datagrams: their keys are gone."""
        self.ring.clear()
        self._again.clear()

    def _resend(self, runs: list[Run], now: float) -> int:
        queued = {(run.index, run.first) for run in self._again}
        runs = [run for run in runs if (run.index, run.first) not in queued]
        count = sum(run.count for run in runs)
        self._again.extend(runs)
        if runs:
            self._open_window(now)
            self._send_again(now)
        return count

    def _send_again(self, now: float) -> None:
        while self._again and self._allowance > 0:
            run = self._again.popleft()
            # What is too old by now, or not carried by the budget of an unproven address, is lost.
            if now - run.made <= STALE_AFTER and self._carrier.send_again(run, now=now):
                self._allowance -= len(run.data)
                self.resent += run.count
            else:
                self._drop(Counter({Drop.NOT_RESENT: run.count}))

    def _open_window(self, now: float) -> None:
        if not self._carrier.is_set(Timer.RELEASE):
            self._window = self._allowance = FIRST_WINDOW
            self._carrier.arm(Timer.RELEASE, now + self._pause())

    def _pause(self) -> float:
        return min(max(self._carrier.round_trip, MIN_PAUSE), MAX_PAUSE)

    def _drop(self, drops: Counter[Drop]) -> None:
        for reason, number in drops.items():
            self._carrier.count(reason, number)
            self.lost += number if reason in HELD_LOST else 0
