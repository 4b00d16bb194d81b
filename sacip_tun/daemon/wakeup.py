"""The daemon's timer, and how it learns that it was not running.

A machine that was suspended, a container that was paused and a process that was stopped wake up
with peers and NATs that may have forgotten them, and with messages of the kernel that are old.
Nothing polls for that: the kernel reports a clock that was set, which resuming does, and a timer
that rings much too late speaks for itself.
"""

import asyncio
from collections.abc import Callable

from sacip_tun.daemon import clock
from sacip_tun.linux.alarm import Alarm, ClockWatch

# A sleep shorter than this, in seconds, is no longer than what a busy network does to packets.
SHORTEST_SLEEP = 1.0
# A timer this late, in seconds, means that nothing ran meanwhile: above what a loaded machine does.
LONGEST_DELAY = 2.0


class Wakeup:
    """Calls `ring` when a deadline is over, and before it `resumed` after every sleep.

    `resumed` is told what happened, in words, and how long it took in seconds.
    """

    def __init__(self, ring: Callable[[], None], resumed: Callable[[str, float], None]) -> None:
        """Raises OSError."""
        self._ring = ring
        self._resumed = resumed
        self._deadline = float("inf")
        self._slept = clock.slept()
        self._alarm = Alarm()
        self._clock_watch = ClockWatch()

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wait from now on."""
        loop.add_reader(self._alarm.fileno(), self._rang)
        loop.add_reader(self._clock_watch.fileno(), self._clock_was_set)

    def stop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wait no more."""
        for timer in (self._alarm, self._clock_watch):
            loop.remove_reader(timer.fileno())

    def close(self) -> None:
        """Give the descriptors back, after `stop`."""
        self._alarm.close()
        self._clock_watch.close()

    def no_later_than(self, deadline: float) -> None:
        """Ring at `deadline` (CLOCK_BOOTTIME, seconds), unless something earlier is due."""
        if deadline < self._deadline:
            self._deadline = deadline
            self._alarm.set(deadline)

    def _rang(self) -> None:
        self._alarm.silence()
        overdue = clock.now() - self._deadline
        self._deadline = float("inf")
        try:
            self._look(overdue)
        finally:
            self._ring()

    def _clock_was_set(self) -> None:
        self._clock_watch.silence()
        self._look(0.0)

    def _look(self, overdue: float) -> None:
        before, self._slept = self._slept, clock.slept()
        if self._slept - before > SHORTEST_SLEEP:
            self._resumed("the machine slept", self._slept - before)
        elif overdue > LONGEST_DELAY:
            self._resumed("the process was stopped", overdue)
