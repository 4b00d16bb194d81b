"""CoDel: when the sender of a flow is to be told that its packets wait too long (RFC 8289).

A queue that empties now and then is good; one that never does only adds delay. So what counts is
not how long the queue is, but how long its packets have waited at least, over an interval.
"""

from math import sqrt
from typing import Final

# Seconds that packets may wait for good, and the time in which a sender can react (RFC 8289 4).
TARGET: Final = 0.005
INTERVAL: Final = 0.1
# So many intervals after it was good, a queue that is bad again starts near where it was (5.5).
MEMORY: Final = 16


class CoDel:
    """The state of one queue. To be asked about each packet that comes to its head.

    `target` is how long packets may wait for good, in seconds.
    """

    __slots__ = ("_above_until", "_before", "_count", "_dropping", "_next", "_target")

    def __init__(self, target: float = TARGET) -> None:
        self._target = target
        self._above_until: float | None = None
        self._dropping = False
        self._next = 0.0
        self._count = self._before = 0

    def signals(self, waited: float, *, last: bool, now: float) -> bool:
        """Tell whether the sender of the packet at the head is to be told, by a mark or a loss.

        It has `waited` so many seconds; `last` says that nothing is queued behind it.
        """
        if waited < self._target or last:
            self._above_until = None
            self._dropping = False
            return False
        if self._above_until is None:
            self._above_until = now + INTERVAL
        if now < self._above_until:
            return False
        if not self._dropping:
            self._begin(now)
            return True
        if now < self._next:
            return False
        self._count += 1
        self._next += INTERVAL / sqrt(self._count)
        return True

    def _begin(self, now: float) -> None:
        recent = now - self._next < MEMORY * INTERVAL
        self._count = max(self._count - self._before, 1) if recent else 1
        self._before = self._count
        self._dropping = True
        self._next = now + INTERVAL / sqrt(self._count)
