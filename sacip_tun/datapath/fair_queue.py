"""The fair queue: what was read from the TUN and cannot leave at once (FQ-CoDel, RFC 8290).

1. Each flow has its own queue, and they take turns: a download does not stand before a keystroke.
2. A flow that was not waiting goes first, once: what is sparse, as a name lookup, a call or an
   acknowledgement, never waits behind what is bulky.
3. A flow whose packets wait too long for too long is told so, by CoDel: a mark where its packets
   may be marked (ECN), else the loss of one segment.
4. Where there is no room, the flow that takes most of it loses half of its own.

Everything here happens before counters are spent: what is dropped leaves no hole, and nothing is
sealed in vain.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Final

from sacip_tun.datapath.codec import MAX_PACKET
from sacip_tun.datapath.codel import CoDel
from sacip_tun.datapath.load import Load

# Flows share so many queues, by a hash that is another one in each process (RFC 8290 5.1). That
# bounds what somebody can do who makes ever new flows.
QUEUES: Final = 1024
# Bytes that a flow may send in its turn: one train, where nobody says less (RFC 8290 5.2).
QUANTUM: Final = MAX_PACKET

# A queue of one packet is none, however long it waits (RFC 8289 4.2); bytes, an Ethernet frame.
SHORT: Final = 1500

Tell = Callable[[Load], Load | None]
"""Mark a load, or take a packet off its head; returns what is left of it, None for nothing."""


@dataclass(slots=True)
class _Flow:
    """The loads of one flow, oldest first."""

    deficit: int
    packets: int = 0
    waiting: deque[Load] = field(default_factory=deque)
    codel: CoDel = field(default_factory=CoDel)


class FairQueue:
    """Loads of all flows. `tell` is how a sender hears of a queue, `drop` gets what had to go.

    `quantum` is what a flow may send in its turn, in bytes: little on a slow link, where the turns
    of others take long.
    """

    def __init__(self, tell: Tell, drop: Callable[[Load], None]) -> None:
        self._tell = tell
        self._drop = drop
        self.quantum = QUANTUM
        self._flows: dict[int, _Flow] = {}
        self._new: deque[int] = deque()
        self._old: deque[int] = deque()

    def __bool__(self) -> bool:
        return bool(self._flows)

    def push(self, load: Load, *, now: float) -> None:
        """Let a load wait behind those of its flow."""
        key = hash(load.flow) % QUEUES
        flow = self._flows.get(key)
        if flow is None:
            flow = self._flows[key] = _Flow(self.quantum)
            self._new.append(key)
        load.since = now
        flow.waiting.append(load)
        flow.packets += len(load.packets)

    def push_back(self, load: Load) -> None:
        """Let what is left of the load that was popped last be the next of its flow."""
        flow = self._flows[hash(load.flow) % QUEUES]
        flow.waiting.appendleft(load)
        flow.packets += len(load.packets)
        flow.deficit += load.length

    def pop(self, *, now: float) -> Load | None:
        """Take the load whose turn it is; None where nothing waits."""
        while True:
            turn = self._new or self._old
            if not turn:
                return None
            key = turn[0]
            flow = self._flows[key]
            if flow.deficit <= 0:
                flow.deficit += self.quantum
                self._old.append(turn.popleft())
                continue
            load = self._next_of(flow, now)
            if load is not None:
                flow.deficit -= load.length
                return load
            turn.popleft()
            if turn is self._new and self._old:
                self._old.append(key)  # it must not be new again at once (RFC 8290 4.2)
            else:
                del self._flows[key]

    def drop_from_fattest(self) -> None:
        """Make room: drop the older half of the flow that has most packets waiting.

        Packets, for each has a buffer of its own, whatever its length.
        """
        fattest = max(self._flows.values(), key=attrgetter("packets"), default=None)
        if fattest is None:
            return
        kept = fattest.packets // 2
        while fattest.packets > kept:
            load = fattest.waiting.popleft()
            fattest.packets -= len(load.packets)
            self._drop(load)

    def _next_of(self, flow: _Flow, now: float) -> Load | None:
        while flow.waiting:
            load = flow.waiting.popleft()
            flow.packets -= len(load.packets)
            waited, last = now - load.since, not flow.waiting and load.length <= SHORT
            rest = self._tell(load) if flow.codel.signals(waited, last=last, now=now) else load
            if rest is not None:
                return rest
        return None
