"""The hold queue: inner packets that wait for a session, an address, or a path that carries.

1. Everything is bounded; what is dropped is counted under one reason.
2. A TCP segment that is sent again takes the place of its older copy, so that the sender's own last
   retransmission goes out the moment the path returns, and nobody waits for a backed-off timer.
3. Of the pure acknowledgements of a flow only the newest is kept: it says all that the others said.
4. Where room is needed, the flow with the most bytes loses its oldest packet. The newest segment of
   a TCP flow is never taken for that while anything else is there.
5. TCP data is worth something as long as its connection lives; everything else is stale after a
   moment.
"""

from collections import Counter, OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from sacip_tun.protocol.errors import Drop

# Bytes and packets held for each peer (protocol.md 7); a super-packet of 64 KB is one packet.
HOLD_BYTES = 4 << 20
HOLD_PACKETS = 4096
# Seconds after which what is not TCP is stale. One lost handshake message costs REKEY_TIMEOUT,
# 5.3 s at most: a first packet that waits for it must not be dropped for that.
STALE_AFTER = 6.0
# Seconds after which Linux gives up a connection (tcp_retries2 = 15: 924.6 s), and so do we.
TCP_GIVES_UP = 925.0


class Tag(NamedTuple):
    """What the hold queue must know of an inner packet.

    `flow` is its addresses, protocol and ports. `sequence` is a TCP segment's place in its stream,
    None for what is no TCP. `payload` is the length of its data in bytes: 0 is a pure
    acknowledgement.
    """

    flow: bytes
    sequence: int | None = None
    payload: int = 0


# Packets of which nothing is known share one flow.
UNTAGGED = Tag(b"")


@dataclass(slots=True)
class Waiting:
    """A packet that is held."""

    packet: bytes
    tag: Tag
    since: float

    @property
    def is_tcp(self) -> bool:
        """Whether it is worth something for as long as its connection lives."""
        return self.tag.sequence is not None

    def is_stale(self, now: float) -> bool:
        """Tell whether nobody waits for it any more."""
        return now - self.since > (TCP_GIVES_UP if self.is_tcp else STALE_AFTER)


class Hold:
    """The packets that wait for one peer, oldest first, `at_most` bytes of them."""

    __slots__ = (
        "_at_most",
        "_bytes",
        "_flows",
        "_newest",
        "_serial",
        "_waiting",
    )

    def __init__(self, at_most: int = HOLD_BYTES) -> None:
        self._at_most = at_most
        self._waiting: OrderedDict[object, Waiting] = OrderedDict()
        self._flows: Counter[bytes] = Counter()
        self._newest: dict[bytes, object] = {}
        self._bytes = 0
        self._serial = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(
        self, packet: bytes, tag: Tag = UNTAGGED, *, first: bool = False, now: float
    ) -> Counter[Drop]:
        """Keep a packet, behind all others or `first`; returns what had to go, by reason."""
        key = self._key(tag)
        older = self._waiting.get(key)
        drops = Counter[Drop]()
        if older is not None:
            drops[Drop.HELD_AGAIN] += 1
            self._replace(key, older, packet, tag, now)
        else:
            waiting = self._waiting[key] = Waiting(packet, tag, now)
            self._account(waiting, 1)
        if first:
            self._waiting.move_to_end(key, last=False)
        if tag.sequence is not None and tag.payload:
            self._newest[tag.flow] = key
        while self._bytes > self._at_most or len(self._waiting) > HOLD_PACKETS:
            self._drop(self._victim())
            drops[Drop.HOLD_OVERFLOW] += 1
        return drops

    def expire(self, *, now: float) -> int:
        """Drop what is stale; returns how many packets that were."""
        stale = [key for key, waiting in self._waiting.items() if waiting.is_stale(now)]
        for key in stale:
            self._drop(key)
        return len(stale)

    def give_up(self) -> int:
        """Drop all but the newest segment of each TCP flow; returns how many packets that were."""
        kept = set(self._newest.values())
        doomed = [key for key in self._waiting if key not in kept]
        for key in doomed:
            self._drop(key)
        return len(doomed)

    def take(self, at_most: float = float("inf")) -> Iterator[Waiting]:
        """Yield and forget what waits, oldest first, until `at_most` bytes have been taken."""
        taken = 0
        while self._waiting and taken < at_most:
            waiting = self._drop(next(iter(self._waiting)))
            taken += len(waiting.packet)
            yield waiting

    def _key(self, tag: Tag) -> object:
        if tag.sequence is None:
            self._serial += 1
            return self._serial
        return (tag.flow, tag.sequence) if tag.payload else (tag.flow, "acknowledgement")

    def _replace(self, key: object, older: Waiting, packet: bytes, tag: Tag, now: float) -> None:
        """Put the newer copy in the older one's place; a longer older one keeps its bytes."""
        self._account(older, -1)
        if tag.payload >= older.tag.payload:
            older.packet, older.tag = packet, tag
        older.since = now
        self._account(older, 1)
        if not tag.payload:
            self._waiting.move_to_end(key)

    def _victim(self) -> object:
        """The oldest packet of the flow with the most bytes, sparing a flow's newest segment."""
        fattest = max(self._flows, key=self._flows.__getitem__)
        mine = (key for key, w in self._unspared() if w.tag.flow == fattest)
        others = (key for key, _ in self._unspared())
        return next(mine, None) or next(others, None) or next(iter(self._waiting))

    def _unspared(self) -> Iterator[tuple[object, Waiting]]:
        """Yield what is not the newest segment of its flow, oldest first."""
        return ((k, w) for k, w in self._waiting.items() if self._newest.get(w.tag.flow) != k)

    def _drop(self, key: object) -> Waiting:
        waiting = self._waiting.pop(key)
        self._account(waiting, -1)
        flow = waiting.tag.flow
        if self._newest.get(flow) == key:
            del self._newest[flow]
        if not self._flows[flow]:
            del self._flows[flow]
        return waiting

    def _account(self, waiting: Waiting, sign: int) -> None:
        size = sign * len(waiting.packet)
        self._bytes += size
        self._flows[waiting.tag.flow] += size
