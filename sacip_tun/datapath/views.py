"""Places at regular distances in a buffer: of a flow they are the same again and again."""

from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

T = TypeVar("T")

# Patterns that are remembered: of a busy tunnel a few are in use at a time.
_PATTERNS: Final = 16


class _Places(Generic[T]):
    """What there is at each place: made once, for as many places as were ever asked for."""

    def __init__(self, make: Callable[[int, int], T]) -> None:
        self._make = make
        self._made: dict[tuple[int, int], list[T]] = {}

    def first(self, count: int, step: int, width: int) -> list[T]:
        """Return the first `count` of those that are `width` bytes long, `step` bytes apart."""
        made = self._made.get((step, width))
        if made is None:
            if len(self._made) >= _PATTERNS:
                self._made.clear()
            made = self._made[step, width] = []
        for number in range(len(made), count):
            made.append(self._make(number * step, number * step + width))
        return made[:count]


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


_slices: Final = _Places(slice)


def slices(count: int, step: int, width: int) -> Sequence[slice]:
    """Return slices of `width` bytes, `step` bytes apart, for a buffer of any length."""
    return _slices.first(count, step, width)
