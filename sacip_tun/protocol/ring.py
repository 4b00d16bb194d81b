"""The send ring: sealed datagrams stay here for a moment after they were sent.

After a move the peer says which messages arrived (received.py), and exactly the others are sent
again over the new path. The same ciphertext under the same counter is no reuse of a nonce, and the
receiver's replay window drops what it had already: no duplicate ever reaches its TUN.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from sacip_tun.protocol.messages import DATA_FORMAT
from sacip_tun.protocol.received import Received

# Bytes kept for each peer (protocol.md 7): 33 ms of 1 Gbit/s, 1.7 s of 20 Mbit/s.
RING_BYTES = 4 << 20
# What is older, in seconds, is of no use to anybody: TCP has sent it again itself. While packets
# are held the limit is theirs (hold.py): TCP then has sent again into the hold queue only.
RING_AGE = 2.0


@dataclass(slots=True)
class Run:
    """Datagrams of one session with consecutive counters, back to back.

    All are `size` bytes long, the last perhaps shorter. `sent` is when they last went out.
    """

    index: int
    first: int
    size: int
    data: bytes
    made: float
    sent: float

    @property
    def count(self) -> int:
        """How many datagrams these are."""
        return -(-len(self.data) // self.size)

    def missing(self, received: Received) -> Iterator["Run"]:
        """Yield the parts of this run that did not arrive."""
        lacking = (n for n in range(self.count) if received.lacks(self.first + n))
        for _, group in groupby(enumerate(lacking), lambda pair: pair[1] - pair[0]):
            numbers = [number for _, number in group]
            yield self._part(numbers[0], numbers[-1] + 1)

    def _part(self, start: int, end: int) -> "Run":
        data = self.data[start * self.size : end * self.size]
        return Run(self.index, self.first + start, self.size, data, self.made, self.sent)


class SendRing:
    """What was sent to one peer lately, oldest first, bounded in bytes and in age (seconds)."""

    __slots__ = (
        "_at_most",
        "_bytes",
        "_runs",
        "age",
    )

    def __init__(self, at_most: int = RING_BYTES) -> None:
        self._at_most = at_most
        self.age = RING_AGE
        self._runs: deque[Run] = deque()
        self._bytes = 0

    def __bool__(self) -> bool:
        return bool(self._runs)

    def add(self, data: memoryview, size: int, *, now: float) -> None:
        """Keep a copy of datagrams that were sent, `size` bytes each but the last."""
        _, index, first = DATA_FORMAT.unpack_from(data)
        self._runs.append(Run(index, first, size, bytes(data), now, now))
        self._bytes += len(data)
        while self._bytes > self._at_most:
            self._drop_oldest()

    def expire(self, *, now: float) -> None:
        """Drop what is too old, counted from when it last went out: that copy may be lost too."""
        while self._runs and now - self._runs[0].sent > self.age:
            self._drop_oldest()

    def missing(self, received: Iterable[Received], *, before: float, now: float) -> list[Run]:
        """Return what went out before `before` and did not arrive, oldest first.

        It counts as sent now: another question about the same loss finds nothing more to send.
        """
        self.expire(now=now)
        told = {entry.index: entry for entry in received}
        found = list[Run]()
        for run in self._runs:
            if run.index in told and run.sent < before:
                parts = list(run.missing(told[run.index]))
                if parts:
                    run.sent = now
                found += parts
        return found

    def sent_since(self, moment: float, *, now: float) -> list[Run]:
        """Return all that went out since `moment`, and count it as sent now."""
        self.expire(now=now)
        found = [run for run in self._runs if run.sent >= moment]
        for run in found:
            run.sent = now
        return found

    def clear(self) -> None:
        """Forget all."""
        self._runs.clear()
        self._bytes = 0

    def _drop_oldest(self) -> None:
        self._bytes -= len(self._runs.popleft().data)
