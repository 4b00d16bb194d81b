"""Gathering: what several receives brought is opened together.

UDP_GRO needs a driver that sees several datagrams at once, and gives 64 KB at most. What lies in
the socket's queue is received back to back into one buffer, which then has the same shape:
datagrams of one remote and one length, the last perhaps shorter. The more of them are opened
together, the less each costs.
"""

from sacip_tun.datapath.codec import OPEN_CAPACITY
from sacip_tun.linux.udp import RECEIVE_CAPACITY, Received

# Bytes of one batch: a millisecond's worth, for which its first packet waits at most.
LONGEST = OPEN_CAPACITY


class Gathering:
    """A batch that grows. `first` says whose it is; None where it is empty."""

    def __init__(self) -> None:
        # Behind any batch there is room for another one.
        self._buffer = memoryview(bytearray(LONGEST + 2 * RECEIVE_CAPACITY))
        self._start = self._end = 0
        self.first: Received | None = None

    @property
    def room(self) -> memoryview:
        """Where to receive next, RECEIVE_CAPACITY bytes at least."""
        if self.first is None:
            self._start = self._end = 0
        return self._buffer[self._end :]

    @property
    def full(self) -> bool:
        """Whether it must be taken out and cleared before the next receive."""
        return self._end > LONGEST

    @property
    def data(self) -> memoryview:
        """The datagrams, back to back."""
        return self._buffer[self._start : self._end]

    def add(self, received: Received) -> bool:
        """Take in what was received into `room`; False where it belongs to another batch.

        Then `data` has to be taken out, and `begin` called with the same.
        """
        if self.first is not None and not self._continued_by(received, self.first):
            return False
        if self.first is None:
            self.begin(received)
        else:
            self._end += received.length
        return True

    def begin(self, received: Received) -> None:
        """Start anew with what was received into `room`."""
        self.first = received
        self._start, self._end = self._end, self._end + received.length

    def clear(self) -> None:
        """Be empty; `data` stays valid until the next receive."""
        self.first = None

    def _continued_by(self, received: Received, first: Received) -> bool:
        length = self._end - self._start
        return (
            received.remote is first.remote
            and received.local is first.local
            and received.ecn == first.ecn
            and (received.segment_size == first.segment_size or received.is_shorter_than(first))
            and length % first.segment_size == 0
            and length + received.length <= LONGEST
        )
