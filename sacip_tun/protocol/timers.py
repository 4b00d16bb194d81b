"""Timers: what each is for, and one table for all peers.

The protocol never sleeps: it names deadlines, and whoever owns the clock calls `handle_timer` when
the earliest has come. Calling early is harmless.
"""

import heapq
from enum import Enum
from itertools import count
from typing import Generic, TypeVar

Owner = TypeVar("Owner")

# When something happened that has not happened yet.
NEVER = float("-inf")


class Timer(Enum):
    """One duty each. The first five are WireGuard's (paper 6), the others SACIP's."""

    RETRY_HANDSHAKE = "an initiation was not answered: send another, or give up"
    PASSIVE_KEEPALIVE = "data came and nothing went back: tell the peer that we live"
    NEW_HANDSHAKE = "data went out and nothing came back: the session may be dead"
    ERASE_KEYS = "nothing was agreed for long: forget every key"
    PERSISTENT_KEEPALIVE = "nothing passed for the configured interval: keep the NAT open"
    NAT_KEEPALIVE = "nothing was sent for so long that a NAT may forget us: ask where we are seen"
    STREAM_BREAK = "a stream from the peer broke off: ask whether its packets still find us"
    HELLO = "HELLO was not answered: say it again"
    NOTICE = "PREPARE or CHANGE was not answered: send the next copy, or hunt"
    LAST_WORD = "a plain peer hears our new address once more"
    PROBE = "the standby path was not proven: challenge it again"
    CHALLENGE = "a path of the peer on trial did not answer: ask again"
    LIVENESS = "nobody answers what goes out: ask the path in use, then every other"
    HEAL = "a path that died may be well again: ask it"
    RING = "what was sent is too old to be sent again: forget it"
    RELEASE = "a round trip is over: send twice as much of what waited"
    PMTU = "a probe of the path's MTU was not answered: judge it, and send the next"
    VERDICT = "the time in which a challenged path of the peer can answer is over"

    # Members are what they are: hashed by identity they cost no call in Python, several a packet.
    __hash__ = object.__hash__


class TimerTable(Generic[Owner]):
    """Deadlines of all owners: setting is O(1) when a deadline only moves later.

    Each key has at most one live entry in the heap. A deadline that moves later stays where it is
    and is put back when its old place comes up; one that moves earlier gets a second entry, and the
    stale one is thrown away when it surfaces.
    """

    def __init__(self) -> None:
        self._deadlines: dict[tuple[Owner, Timer], float] = {}
        self._queued: dict[tuple[Owner, Timer], float] = {}
        self._heap: list[tuple[float, int, tuple[Owner, Timer]]] = []
        self._order = count()  # ties never compare owners

    def set(self, owner: Owner, timer: Timer, deadline: float) -> None:
        """Arm `timer` of `owner` for `deadline`, in place of any earlier setting."""
        key = (owner, timer)
        self._deadlines[key] = deadline
        if self._queued.get(key, float("inf")) > deadline:
            self._push(key, deadline)

    def stop(self, owner: Owner, timer: Timer) -> None:
        """Disarm; harmless where it is not armed."""
        self._deadlines.pop((owner, timer), None)

    def forget(self, owner: Owner) -> None:
        """Disarm everything of `owner`."""
        for timer in Timer:
            self.stop(owner, timer)

    def is_set(self, owner: Owner, timer: Timer) -> bool:
        """Tell whether `timer` of `owner` is armed."""
        return (owner, timer) in self._deadlines

    def pop_expired(self, now: float) -> tuple[Owner, Timer] | None:
        """Disarm and return the earliest timer whose deadline has come, None if none has."""
        self._settle()
        if not self._heap or self._heap[0][0] > now:
            return None
        _, _, key = heapq.heappop(self._heap)
        del self._queued[key]
        del self._deadlines[key]
        return key

    def next(self) -> float | None:
        """Return the earliest deadline, None where nothing is armed."""
        self._settle()
        return self._heap[0][0] if self._heap else None

    def _push(self, key: tuple[Owner, Timer], deadline: float) -> None:
        self._queued[key] = deadline
        heapq.heappush(self._heap, (deadline, next(self._order), key))

    def _settle(self) -> None:
        """Bring an entry that is what it says it is to the top of the heap."""
        while self._heap:
            queued, _, key = self._heap[0]
            deadline = self._deadlines.get(key)
            if self._queued.get(key) == queued == deadline:
                return
            heapq.heappop(self._heap)
            if self._queued.get(key) == queued:
                del self._queued[key]
                if deadline is not None:
                    self._push(key, deadline)


def doubled(first: float, times: int, at_most: float) -> float:
    """Return a pause in seconds that was doubled so many times; any number of times is fine."""
    return min(first * 2.0 ** min(times, 32), at_most)
