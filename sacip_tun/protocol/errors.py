"""Errors, local and remote.

ProtocolError
├── LocalError   the caller broke a rule of this room: a bug or a bad argument
└── RemoteError  the other side, or somebody between, sent bytes that are wrong

`RemoteError` carries the `Drop` reason under which the datagram is counted. It never leaves the
protocol room: the front desk (tunnel.py) turns it into a count.
"""

from enum import Enum


class Drop(Enum):
    """Why a datagram or an inner packet was dropped; every drop has exactly one reason."""

    MALFORMED = "malformed"
    UNKNOWN_TYPE = "unknown message type"
    BAD_MAC1 = "first MAC wrong"
    UNDER_LOAD = "under load, cookie sent"
    RATE_LIMITED = "handshake rate limit"
    UNKNOWN_PEER = "unknown peer"
    UNKNOWN_INDEX = "unknown receiver index"
    BAD_HANDSHAKE = "handshake did not authenticate"
    REPLAYED_HANDSHAKE = "handshake timestamp not newer"
    DOWNGRADE = "a strict peer came back without SACIP"
    BAD_COOKIE = "cookie reply did not authenticate"
    BAD_TAG = "packet did not authenticate"
    REPLAYED = "counter seen or too old"
    EXPIRED_SESSION = "session past its limit"
    BAD_INNER = "inner packet malformed"
    UNMARKABLE = "marked as congested on the way, and cannot carry the mark on"
    FORBIDDEN_SOURCE = "inner source not allowed for this peer"
    ROUTING_LOOP = "our own outer packet, routed into the tunnel"
    NO_PEER = "no peer for this destination"
    NO_ENDPOINT = "peer has no known endpoint"
    QUEUED_LONG = "queued too long behind its own flow"
    RECEIVED_LATE = "waited too long to be opened, its sender is to slow down"
    QUEUE_OVERFLOW = "queue full, and its flow had most of it"
    HOLD_OVERFLOW = "held for a path, queue full"
    HELD_STALE = "held for a path, too long to be of use"
    HELD_AGAIN = "held for a path, replaced by its own repetition"
    UNUSABLE_KEY = "the peer's public key can belong to nobody"
    NOT_RESENT = "lost on the old path, too old or too much to be sent again"
    GAVE_UP = "handshake gave up"
    RELAY_REFUSED = "relaying is not permitted here"
    SEND_FAILED = "the kernel refused the datagram"
    INTERFACE_DOWN = "arrived while the tunnel's interface was down"
    NO_MEMORY = "the kernel had no memory for the inner packet"
    WRITE_FAILED = "the kernel refused the inner packet"
    BAD_FRAME = "SACIP frame malformed"
    STALE_MOVE = "move number not newer"
    STRANGE_ENDPOINT = "address that can never be an endpoint"

    # By identity, without a call in Python: a flood is counted for each datagram.
    __hash__ = object.__hash__


class ProtocolError(Exception):
    """Root of this room's errors."""


class LocalError(ProtocolError):
    """The caller broke a rule."""


class RemoteError(ProtocolError):
    """The bytes that came in are wrong.

    `reason` says how they are counted.
    """

    def __init__(self, reason: Drop) -> None:
        super().__init__(reason.value)
        self.reason = reason
