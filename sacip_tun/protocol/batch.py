"""A batch: data messages of one session that authenticated and are new, sorted by content."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Self

from sacip_tun.protocol.frames import FRAME_TYPE
from sacip_tun.protocol.messages import MIN_DATA_SIZE
from sacip_tun.protocol.peer import Peer
from sacip_tun.protocol.session import Session


@dataclass(slots=True)
class Batch:
    """What came to `peer` under `session`, in the order in which it was sent.

    `inner` are packets for the TUN, still padded; `frames` go with their counters. `highest` is the
    highest counter of what is no frame, -1 where there is nothing of that kind; `length` the UDP
    payload in bytes.
    """

    peer: Peer
    session: Session
    inner: list[memoryview] = field(default_factory=list)
    frames: list[tuple[int, memoryview]] = field(default_factory=list)
    highest: int = -1
    length: int = 0

    @classmethod
    def of_one(cls, peer: Peer, session: Session, counter: int, packet: memoryview) -> Self:
        """Return a batch of one plaintext."""
        length = MIN_DATA_SIZE + len(packet)
        if packet and packet[0] == FRAME_TYPE:
            return cls(peer, session, [], [(counter, packet)], -1, length)
        return cls(peer, session, [packet] if packet else [], [], counter, length)

    def sort(self, counters: Sequence[int], packets: Sequence[memoryview]) -> None:
        """Take plaintexts in, and put them into the order in which they were sent."""
        self.length += sum(map(len, packets)) + MIN_DATA_SIZE * len(packets)
        if sorted(counters) != list(counters):
            pairs = sorted(zip(counters, packets, strict=True), key=itemgetter(0))
            counters, packets = zip(*pairs, strict=True)
        if FRAME_TYPE not in [packet[0] if packet else FRAME_TYPE for packet in packets]:
            # As nearly always: packets and nothing else. Without a step in Python for each.
            self.inner += packets
            self.highest = max(counters)
            return
        for counter, packet in zip(counters, packets, strict=True):
            if packet and packet[0] == FRAME_TYPE:
                self.frames.append((counter, packet))
                continue
            if packet:
                self.inner.append(packet)
            self.highest = max(self.highest, counter)
