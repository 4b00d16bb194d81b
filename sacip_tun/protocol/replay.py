"""The replay window: which counters of one session have been seen (RFC 6479's idea, in slices).

A ring of one byte a counter, 8192 long. A batch of consecutive new counters, which is what a
receive with UDP_GRO brings, is then two slice assignments, whatever its length.
"""

from collections.abc import Sequence
from typing import Final

from sacip_tun.protocol.limits import REJECT_AFTER_MESSAGES, REPLAY_WINDOW

_RING: Final = 8192
_MASK: Final = _RING - 1
_UNSEEN: Final = bytes(_RING)
_SEEN: Final = b"\x01" * _RING


class ReplayWindow:
    """Counters seen under one key. Only counters of packets that authenticated belong here.

    `highest` is the highest one seen, -1 before the first.
    """

    __slots__ = ("_ring", "highest")

    def __init__(self) -> None:
        self.highest = -1
        self._ring = bytearray(_RING)

    def accept(self, counter: int) -> bool:
        """Tell whether `counter` is new, and remember it.

        False where it was seen, is more than REPLAY_WINDOW behind the highest, or is at or beyond
        REJECT_AFTER_MESSAGES.
        """
        slot = counter & _MASK
        if counter > self.highest:
            if counter >= REJECT_AFTER_MESSAGES:
                return False
            if counter == self.highest + 1:  # as nearly always
                self._ring[slot] = 1
                self.highest = counter
            else:
                self._advance(counter, 1)
            return True
        if self.highest - counter > REPLAY_WINDOW or self._ring[slot]:
            return False
        self._ring[slot] = 1
        return True

    def accept_batch(self, counters: Sequence[int]) -> list[bool]:
        """Return what `accept` would say to each of `counters` in turn, and remember them.

        Fast for a list or range of consecutive counters above the highest, which may follow a gap.
        """
        count = len(counters)
        if not 0 < count <= _RING:
            return [self.accept(counter) for counter in counters]
        first = counters[0]
        end = first + count
        if self.highest < first and end <= REJECT_AFTER_MESSAGES:
            run = range(first, end)
            if counters == run or counters == list(run):
                self._advance(first, count)
                return [True] * count
        return [self.accept(counter) for counter in counters]

    def bitmap(self, span: int) -> int:
        """Return which of the last `span` counters were seen; bit 0 is the highest."""
        seen = 0
        for back in range(min(span, self.highest + 1)):
            seen |= self._ring[(self.highest - back) & _MASK] << back
        return seen

    def _advance(self, first: int, count: int) -> None:
        """Mark `count` counters from `first` on as seen, and those that were skipped as not."""
        skipped = min(first - self.highest - 1, _RING)
        if skipped:
            self._fill(first - skipped, _UNSEEN, skipped)
        self._fill(first, _SEEN, count)
        self.highest = first + count - 1

    def _fill(self, first: int, source: bytes, count: int) -> None:
        start = first & _MASK
        end = start + count
        if end <= _RING:
            self._ring[start:end] = source[:count]
        else:
            self._ring[start:] = source[: _RING - start]
            self._ring[: end - _RING] = source[: end - _RING]
