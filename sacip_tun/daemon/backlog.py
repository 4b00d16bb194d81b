"""The backlog below a socket: what the kernel has taken and a slow link has not sent.

It is a queue that knows no flows, so it must be short: a keystroke waits behind all of it. A socket
takes as much as its buffer holds, and half a megabyte is nothing on a fast link and half a second
on a slow one. So the buffer is made as long as the link sends in a few milliseconds, by how long it
takes to become half empty, and longer where it ran dry (as the kernel's dynamic queue limits do for
drivers).
"""

import contextlib
from collections.abc import Callable, Iterator

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
    """The length of one socket's send buffer. `resize` sets it, in bytes.

    It is `loose` while something else may fill it than a slow link: what waits for a neighbour that
    is gone is counted as well, for three seconds, and must not stand before what goes elsewhere.
    """

    def __init__(self, resize: Callable[[int], None]) -> None:
        self._resize = resize
        self._full_since: float | None = None
        self._length = FIRST
        self._measured = self.loose = False
        resize(FIRST)

    @property
    def burst(self) -> int:
        """How many bytes to send in one go: on a slow link, no more than the buffer is long."""
        return min(WHOLE_BURST, self._length) if self._measured else WHOLE_BURST

    @contextlib.contextmanager
    def room_for_one(self) -> Iterator[None]:
        """Let one message through, whatever waits."""
        self._resize(LONGEST)
        try:
            yield
        finally:
            self._resize(self._length)

    def loosen(self) -> None:
        """Take as much as ever, until `tighten`; nothing is known of the link any more."""
        self._full_since = None
        self._measured, self.loose = False, True
        self._set(LONGEST)

    def tighten(self) -> None:
        """Be short again, and find out how short."""
        if self.loose:
            self.loose = False
            self._set(FIRST)

    def full(self, *, now: float) -> None:
        """Take note that the socket takes nothing more."""
        self._full_since = now

    def drained(self, *, left: int, now: float) -> None:
        """Take note that the socket has room again: half of its buffer, by its own rule.

        `left` bytes wait still. Where nothing does, we came too late, and the link was idle: the
        time says nothing about it then, but that the buffer is too short for us.
        """
        if self._full_since is None or self.loose:
            return
        elapsed, self._full_since = max(now - self._full_since, 1e-6), None
        self._measured = True
        factor = DRAIN_TIME / elapsed if left else GROW
        wanted = self._length * min(max(factor, SHRINK), GROW)
        self._set(int(min(max(wanted, SHORTEST), LONGEST)))

    def _set(self, length: int) -> None:
        if length != self._length:
            self._length = length
            self._resize(length)
