"""The train: sealed datagrams of one path that leave together.

A super-packet of 64 KB makes 47 datagrams, and the kernel takes 45 of them in one send. Alone, the
last two would cost as much as the 45 before them, here and at the receiver. So they wait, within
one wake-up and never longer, for what the next super-packet adds to them.
"""

import mmap

from sacip_tun.datapath.codec import SEAL_CAPACITY, Sealed
from sacip_tun.linux.udp import MAX_PAYLOAD, MAX_SEGMENTS
from sacip_tun.protocol.grant import Grant
from sacip_tun.protocol.peer import Peer

# Room in bytes for several seals, so that the rest of one need not be moved for the next. Memory is
# taken up only as far as it is written.
CAPACITY = 4 * SEAL_CAPACITY


class Train:
    """Datagrams of `segment_size` bytes, the last perhaps shorter, to one peer over one path.

    One send has one `traffic_class`, so all have the same outer DSCP and ECN bits.
    What they were made of is kept for the case that they cannot be sent. `torn` tells that
    datagrams of the first super-packet have left already: what waits is the rest of it. `again`
    tells that they had waited before.
    """

    def __init__(self) -> None:
        self._buffer = memoryview(mmap.mmap(-1, CAPACITY))
        self._start = self._end = self._next_counter = 0
        self.peer: Peer | None = None
        self.grant: Grant | None = None
        self.segment_size = self.traffic_class = 0
        # What it was made of, each with where its datagrams begin and end in the buffer.
        self._contents: list[tuple[int, int, memoryview]] = []
        self.again = False
        self.torn = False

    @property
    def has_room(self) -> bool:
        """Whether any super-packet can be sealed behind what waits."""
        return CAPACITY - self._end >= SEAL_CAPACITY

    @property
    def room(self) -> memoryview:
        """Where the next super-packet is to be sealed."""
        return self._buffer[self._end :]

    def fits(self, peer: Peer, grant: Grant, sealed: Sealed, traffic_class: int) -> bool:
        """Tell whether what was sealed into `room` may leave with what waits before it."""
        mine = self.grant
        return (
            mine is not None
            and peer is self.peer
            and mine.remote is grant.remote
            and mine.local is grant.local
            # The ring takes them for consecutive; a probe may have taken a counter in between.
            and mine.session is grant.session
            and grant.first_counter == self._next_counter
            and sealed.segment_size == self.segment_size
            and traffic_class == self.traffic_class
            and (self._end - self._start) % self.segment_size == 0
        )

    def begin(self, peer: Peer, grant: Grant, sealed: Sealed, traffic_class: int) -> None:
        """Start anew with what was sealed into `room`; whatever waited before it has left."""
        self._start = self._end
        self.peer, self.grant = peer, grant
        self.segment_size = sealed.segment_size
        self._next_counter = grant.first_counter
        self.traffic_class = traffic_class
        self._contents.clear()
        self.torn = False

    def add(self, sealed: Sealed, superpackets: list[memoryview]) -> None:
        """Couple what was sealed into `room`: one super-packet, or packets of one datagram each."""
        self._next_counter += sealed.count
        step = sealed.length if len(superpackets) == 1 else sealed.segment_size
        for superpacket in superpackets:
            self._contents.append((self._end, self._end + step, superpacket))
            self._end += step

    def next_full(self) -> memoryview | None:
        """Take as many datagrams as one send can carry, None where there are not so many."""
        size = self.segment_size
        # At least one, though no socket takes it: an inner packet of 65,535 bytes is sealed into
        # more than a datagram can carry, where somebody raised the interface's MTU by hand.
        full = max(1, min(MAX_SEGMENTS, MAX_PAYLOAD // size)) * size
        if self._end - self._start < full:
            return None
        self._start += full
        return self._buffer[self._start - full : self._start]

    def forget_left(self) -> None:
        """Forget the super-packets that have left whole."""
        self._contents = [entry for entry in self._contents if entry[1] > self._start]
        self.torn = bool(self._contents) and self._contents[0][0] < self._start

    def give_up(self) -> list[memoryview]:
        """Take back what the datagrams that wait were made of: they shall not leave."""
        superpackets = [superpacket for _, _, superpacket in self._contents]
        self._contents.clear()
        self._start = self._end
        return superpackets

    def rest(self) -> memoryview:
        """Take all that waits."""
        start, self._start = self._start, self._end
        return self._buffer[start : self._end]

    def clear(self) -> None:
        """Be empty again, at the front of the buffer."""
        self._start = self._end = 0
        self.peer = self.grant = None
        self._contents.clear()
        self.torn = False
