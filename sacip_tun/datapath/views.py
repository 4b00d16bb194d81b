"""Places at regular distances in a buffer: of a flow they are the same again and again."""

from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

T = TypeVar("T")

# Patterns that are remembered: of a busy tunnel a few are in use at a time. And places of each: a
# batch of tiny datagrams has thousands. Together that is 1 MB at most.
_PATTERNS: Final = 16
_PLACES: Final = 256


class _Places(Generic[T]):
    """What there is at each place: made once, for as many places as were ever asked for.

    It grows in place, so it is for one thread.
    """

    def __init__(self, make: Callable[[int, int], T]) -> None:
        self._make = make
        self._made: dict[tuple[int, int], list[T]] = {}

    def first(self, count: int, step: int, width: int) -> list[T]:
        """Return the first `count` of those that are `width` bytes long, `step` bytes apart."""
        if count < 2:  # what comes alone has any length, and shall not push out what is in use
            return self._new(0, count, step, width)
        made = self._made.get((step, width))
        if made is None:
            if len(self._made) >= _PATTERNS:
                self._made.clear()
            made = self._made[step, width] = []
        if len(made) < min(count, _PLACES):
            made += self._new(len(made), min(count, _PLACES), step, width)
        return made[:count] + self._new(_PLACES, count, step, width)

    def _new(self, first: int, end: int, step: int, width: int) -> list[T]:
        return [self._make(at * step, at * step + width) for at in range(first, end)]


class Views:
    """The views of one `buffer`."""

    def __init__(self, buffer: memoryview) -> None:
        self.buffer = buffer
        self._places = _Places(lambda start, end: buffer[start:end])

    def cut(self, count: int, step: int, width: int, last: int) -> list[memoryview]:
        """Return views of `width` bytes, `step` bytes apart, and a last one of `last` bytes."""
        views = self._places.first(count - 1, step, width)
        end = (count - 1) * step
        views.append(self.buffer[end : end + last])
        return views


# Of no buffer, so all codecs share them; they run in the thread of one event loop.
_slices: Final = _Places(slice)


def slices(count: int, step: int, width: int) -> Sequence[slice]:
    """Return slices of `width` bytes, `step` bytes apart, for a buffer of any length."""
    return _slices.first(count, step, width)
