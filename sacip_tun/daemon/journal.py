"""The journal: every event as a plain record, the last moves of each peer, and who listens.

A record is what `sacip-tun monitor --json` prints: `event` (the name), `time_unix` in seconds,
`peer` (base64 public key) and the event's own fields, endpoints as text.
"""

import asyncio
import re
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import fields
from enum import Enum
from typing import Any, Protocol

from sacip_tun.daemon import clock
from sacip_tun.daemon.tally import Tally
from sacip_tun.protocol.address import Endpoint
from sacip_tun.protocol.events import Event, Moved
from sacip_tun.protocol.frames import Reason
from sacip_tun.protocol.keys import to_base64

Record = dict[str, Any]

# Moves remembered for each peer, for `status`.
MAX_MOVES = 8
# Records that a slow listener may fall behind; then the oldest are lost to it, and it is told.
MAX_BACKLOG = 1000


class Reader(Protocol):
    """Who is told every record."""

    def put(self, record: Record) -> None:
        """Take a record; must not wait."""


class Listener:
    """One reader of the event stream, with a bounded backlog."""

    def __init__(self) -> None:
        self._records: deque[Record] = deque(maxlen=MAX_BACKLOG)
        self._ready = asyncio.Event()
        self._lost = 0

    def put(self, record: Record) -> None:
        """Add a record; the oldest is lost where the reader is too slow."""
        self._lost += len(self._records) == MAX_BACKLOG
        self._records.append(record)
        self._ready.set()

    async def get(self) -> Record:
        """Wait for the next record."""
        await self._ready.wait()
        if self._lost:
            lost, self._lost = self._lost, 0
            return {"event": "lost", "time_unix": clock.unix_time(clock.now()), "records": lost}
        record = self._records.popleft()
        if not self._records:
            self._ready.clear()
        return record


class Journal:
    """Turns events into records, keeps the last moves, and feeds the listeners."""

    def __init__(self, interface: str) -> None:
        self._interface = interface
        self._moves: defaultdict[bytes, deque[Record]] = defaultdict(
            lambda: deque(maxlen=MAX_MOVES)
        )
        self._readers: set[Reader] = set()
        self._tallies: defaultdict[bytes, Tally] = defaultdict(Tally)
        self.log: Callable[[Record], None] = lambda _record: None

    def publish(self, event: Event, moment: float) -> None:
        """Record an event of the protocol that happened at `moment`, in seconds since 1970."""
        record = self._record(event, moment)
        if isinstance(event, Moved):
            self._moves[event.peer].append(record)
        self._tallies[event.peer].count(event)
        self._spread(record)

    def note(self, name: str, **details: object) -> None:
        """Record something that the daemon itself did or saw."""
        now = clock.unix_time(clock.now())
        self._spread({"event": name, "time_unix": now, "interface": self._interface, **details})

    def moves(self, peer: bytes) -> list[Record]:
        """Return the last moves of a peer and towards it, oldest first."""
        return list(self._moves[peer]) if peer in self._moves else []

    def tally(self, peer: bytes) -> Tally:
        """Return what has been counted of a peer."""
        return self._tallies.get(peer, Tally())

    def forget(self, peer: bytes) -> None:
        """Drop what is remembered of a peer that is no more."""
        self._moves.pop(peer, None)
        self._tallies.pop(peer, None)

    def subscribe(self) -> Listener:
        """Return a new listener, which gets every record from here on."""
        listener = Listener()
        self.feed(listener)
        return listener

    def feed(self, reader: Reader) -> None:
        """Give a reader every record from here on."""
        self._readers.add(reader)

    def unsubscribe(self, reader: Reader) -> None:
        """Feed this reader no more."""
        self._readers.discard(reader)

    def _spread(self, record: Record) -> None:
        for reader in self._readers:
            reader.put(record)
        self.log(record)

    def _record(self, event: Event, moment: float) -> Record:
        record: Record = {
            "event": _name(event),
            "time_unix": moment,
            "interface": self._interface,
        }
        for field in fields(event):
            record[field.name] = _plain(getattr(event, field.name))
        return record


def _name(event: Event) -> str:
    """PeerMoved becomes peer-moved."""
    return re.sub(r"(?<!^)([A-Z])", r"-\1", type(event).__name__).lower()


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return to_base64(value)
    if isinstance(value, Endpoint):
        return str(value)
    if isinstance(value, Reason):
        return value.text
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, float):
        return round(value, 3)
    return value
