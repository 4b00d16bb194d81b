"""The backlog below a socket: what the kernel has taken and a slow link has not sent.

It is a queue that knows no flows, so it must be short: a keystroke waits behind all of it. A socket
takes as much as its buffer holds, and half a megabyte is nothing on a fast link and half a second
on a slow one. So the buffer is made as long as the link sends in a few milliseconds, by how long it
takes to become half empty, and longer where it ran dry (as the kernel's dynamic queue limits do for
drivers).
"""

from collections.abc import Callable

# Seconds in which half of a full buffer should leave. A loop that is late by that much must still
# find something there.
DRAIN_TIME = 0.002
# Bounds of the buffer in bytes: two datagrams, and 4 ms of a gigabit.
SHORTEST, LONGEST = 1 << 12, 1 << 19
# Where nothing is known of a link: full soon, so that it is known soon.
FIRST = 1 << 15
# One measurement changes it by no more than these factors.
SHRINK, GROW = 1 / 4, 2.0
# Bytes of one send, where nothing is known of a slow link: what UDP_SEGMENT takes.
WHOLE_BURST = 1 << 16


class Backlog:
    """The length of one socket's send buffer. `resize` sets it, in bytes."""

    def __init__(self, resize: Callable[[int], None]) -> None:
        self._resize = resize
        self._full_since: float | None = None
        self.restart()

    @property
    def burst(self) -> int:
        """How many bytes to send in one go: on a slow link, no more than the buffer is long."""
        return min(WHOLE_BURST, self._length) if self._measured else WHOLE_BURST

    def restart(self) -> None:
        """Know nothing of the link: it may be another one."""
        self._full_since = None
        self._length, self._measured = FIRST, False
        self._resize(FIRST)

    def full(self, *, now: float) -> None:
        """Take note that the socket takes nothing more."""
        self._full_since = now

    def drained(self, *, left: int, now: float) -> None:
        """Take note that the socket has room again: half of its buffer, by its own rule.

        `left` bytes wait still. Where nothing does, we came too late, and the link was idle: the
        time says nothing about it then, but that the buffer is too short for us.
        """
        if self._full_since is None:
            return
        elapsed, self._full_since = max(now - self._full_since, 1e-6), None
        self._measured = True
        factor = DRAIN_TIME / elapsed if left else GROW
        wanted = self._length * min(max(factor, SHRINK), GROW)
        length = int(min(max(wanted, SHORTEST), LONGEST))
        if length != self._length:
            self._length = length
            self._resize(length)
