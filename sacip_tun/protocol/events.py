"""Events: what the tunnel tells the program that runs it, and through it the user.

Both ends of a move are told (deck, slide 26). `peer` is the peer's public key, 32 bytes.
"""

from dataclasses import dataclass
from enum import Enum

from sacip_tun.protocol.address import Endpoint
from sacip_tun.protocol.frames import Reason


class Side(Enum):
    """Whose address changed."""

    LOCAL = "local"
    REMOTE = "remote"


class Kind(Enum):
    """Whether the new path was ready before the old one went."""

    MAKE_BEFORE_BREAK = "make before break"
    BREAK_BEFORE_MAKE = "break before make"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened with one peer."""

    peer: bytes


@dataclass(frozen=True, slots=True)
class HandshakeCompleted(Event):
    """A new session; `initiator` tells which role was ours."""

    initiator: bool
    remote: Endpoint | None


@dataclass(frozen=True, slots=True)
class SessionReady(Event):
    """Inner packets can be sent: those that waited go first."""


@dataclass(frozen=True, slots=True)
class HandshakeUnanswered(Event):
    """An initiation was not answered within 5 s; it is sent again, `tries` times so far."""

    tries: int


@dataclass(frozen=True, slots=True)
class HandshakeGaveUp(Event):
    """No answer for 90 s; `dropped` packets that waited are gone."""

    dropped: int


@dataclass(frozen=True, slots=True)
class SpeaksSacip(Event):
    """The peer understands SACIP."""


@dataclass(frozen=True, slots=True)
class FrameSent(Event):
    """A SACIP frame went out."""

    code: str
    number: int
    local: Endpoint | None
    remote: Endpoint


@dataclass(frozen=True, slots=True)
class FrameReceived(Event):
    """A SACIP frame came in, authenticated."""

    code: str
    number: int
    local: Endpoint
    remote: Endpoint


@dataclass(frozen=True, slots=True)
class Prepared(Event):
    """The other side holds the new address in its idle slot."""

    side: Side
    number: int
    old: Endpoint | None
    new: Endpoint
    reason: Reason | None
    milliseconds: float


@dataclass(frozen=True, slots=True)
class Moving(Event):
    """Our address changed, our side is switched and the notification is out."""

    number: int
    old: Endpoint | None
    new: Endpoint
    reason: Reason
    kind: Kind


@dataclass(frozen=True, slots=True)
class Moved(Event):
    """A move is complete: ours is acknowledged, or the peer's is applied.

    `milliseconds` is the time from the first notice of this move to its completion on this side.
    """

    side: Side
    number: int
    old: Endpoint | None
    new: Endpoint
    observed: Endpoint | None
    reason: Reason | None
    kind: Kind
    milliseconds: float


@dataclass(frozen=True, slots=True)
class MoveRefused(Event):
    """The peer claimed an address and was not believed."""

    number: int
    claimed: Endpoint | None
    observed: Endpoint
    why: str


@dataclass(frozen=True, slots=True)
class PathChecked(Event):
    """Packets came from an unannounced source; the outcome of asking old and new."""

    old: Endpoint | None
    new: Endpoint
    verdict: str


@dataclass(frozen=True, slots=True)
class Detached(Event):
    """No local address leads to the peer; keys stay and inner packets are held."""

    old: Endpoint | None
    reason: Reason


@dataclass(frozen=True, slots=True)
class Hunting(Event):
    """A move is not acknowledged: every pair of addresses is tried, the name is resolved again."""

    number: int
    tries: int


@dataclass(frozen=True, slots=True)
class PathMtu(Event):
    """The path carries packets of `new` bytes, headers included, and `old` before."""

    old: int
    new: int


@dataclass(frozen=True, slots=True)
class Degraded(Event):
    """The path in use does not answer: other paths are asked, inner packets are held.

    `milliseconds` is how long nothing authenticated came while we kept sending.
    """

    local: Endpoint | None
    remote: Endpoint | None
    milliseconds: float


@dataclass(frozen=True, slots=True)
class Held(Event):
    """Inner packets wait from here on; `why` says for what."""

    why: str


@dataclass(frozen=True, slots=True)
class Recovered(Event):
    """A path carries again, or a move is complete: what waited or was lost is on its way.

    `milliseconds` is how long inner packets were held, 0 where none had to be. `released` inner
    packets had waited, `resent` datagrams had been lost on the old path, and `lost` inner packets
    were dropped meanwhile by the bounds of the hold queue.
    """

    milliseconds: float
    released: int
    resent: int
    lost: int
