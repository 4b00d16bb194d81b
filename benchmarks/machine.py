"""The machine that all labs share: so many may work at once, any number may wait."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Machine:
    """Counts the labs that are at work; a lab that only waits for a dead connection is not."""

    def __init__(self, capacity: int) -> None:
        self._free = capacity
        self._changed = threading.Condition()

    def enter(self, labs: int = 1) -> None:
        """Wait until there is room for so many."""
        with self._changed:
            self._changed.wait_for(lambda: self._free >= labs)
            self._free -= labs

    def leave(self, labs: int = 1) -> None:
        """Make room."""
        with self._changed:
            self._free += labs
            self._changed.notify_all()

    @contextmanager
    def left(self) -> Iterator[None]:
        """Make room for another one meanwhile."""
        self.leave()
        try:
            yield
        finally:
            self.enter()
