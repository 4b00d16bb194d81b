"""When bytes came in: kept small however long it takes, and exact about the silences."""

import time

# Times are reported in seconds since 1970, so that those of two processes and of the daemons can be
# laid side by side, but taken from a clock that nobody sets.
_UNIX = time.time() - time.monotonic()

# Bytes are added up over so much time, in seconds: fine enough to draw a move.
BIN = 0.01
# A silence that is shorter than that, in seconds, is a sender's own rhythm and not kept.
NOTEWORTHY = 0.005


def now_unix() -> float:
    """Return the seconds since 1970 by a clock that never jumps."""
    return _UNIX + time.monotonic()


class Arrivals:
    """What came in of one direction of one connection."""

    def __init__(self) -> None:
        self.first_unix: float | None = None
        self.bins: list[int] = []
        """Bytes in each BIN since `first_unix`."""
        self.silences: list[tuple[float, float]] = []
        """From and until, of each silence that is noteworthy; those between two arrivals."""
        self.longest = 0.0
        self.longest_from_unix: float | None = None
        self._last: float | None = None

    def note(self, size: int, now: float) -> None:
        """Take note of `size` bytes that came in at `now`, in seconds since 1970."""
        if self.first_unix is None or self._last is None:
            self.first_unix = now
        else:
            self._note_silence(self._last, now)
        self._last = now
        number = int((now - self.first_unix) / BIN)
        self.bins.extend([0] * (number + 1 - len(self.bins)))
        self.bins[number] += size

    def broken_off(self, now: float) -> None:
        """End it in the middle: what was silent last was so until `now`."""
        if self._last is not None:
            self._note_silence(self._last, now)

    def _note_silence(self, since: float, until: float) -> None:
        seconds = until - since
        if seconds >= NOTEWORTHY:
            self.silences.append((since, until))
        if seconds > self.longest:
            self.longest, self.longest_from_unix = seconds, since
