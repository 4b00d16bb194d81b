"""The four messages of WireGuard: every byte on the wire (WireGuard 5.4).

    Initiation, 148 bytes               Response, 92 bytes           Cookie reply, 64 bytes
    +-----+-------------------+         +-----+-----------------+    +-----+----------------+
    |   0 | type = 1          |         |   0 | type = 2        |    |   0 | type = 3       |
    |   1 | reserved = 0 (3)  |         |   1 | reserved = 0 (3)|    |   1 | reserved = 0 (3)
    |   4 | sender (4)        |         |   4 | sender (4)      |    |   4 | receiver (4)   |
    |   8 | ephemeral (32)    |         |   8 | receiver (4)    |    |   8 | nonce (24)     |
    |  40 | static, sealed    |         |  12 | ephemeral (32)  |    |  32 | cookie, sealed |
    |     |  (32 + 16)        |         |  44 | empty, sealed   |    |     |  (16 + 16)     |
    |  88 | timestamp, sealed |         |     |  (0 + 16)       |    +-----+----------------+
    |     |  (12 + 16)        |         |  60 | mac1 (16)       |
    | 116 | mac1 (16)         |         |  76 | mac2 (16)       |    Data, 32 bytes and more
    | 132 | mac2 (16)         |         +-----+-----------------+    +-----+----------------+
    +-----+-------------------+                                      |   0 | type = 4       |
                                                                     |   1 | reserved = 0 (3)
                                                                     |   4 | receiver (4)   |
    All integers are little endian.                                  |   8 | counter (8)    |
    Numbers in brackets are lengths in bytes.                        |  16 | packet, sealed |
                                                                     |     |  (n + 16)      |
                                                                     +-----+----------------+

An inner packet is padded with zeros to a multiple of 16 bytes before it is sealed, but never beyond
the MTU of the tunnel. An empty one is a keepalive.
"""

from dataclasses import dataclass
from struct import Struct
from typing import Any, Final, Self

from sacip_tun.protocol.errors import Drop, RemoteError

INITIATION: Final = 1
RESPONSE: Final = 2
COOKIE_REPLY: Final = 3
DATA: Final = 4

TAG: Final = 16
MAC: Final = 16
MACS: Final = 2 * MAC
PADDING: Final = 16

# Type and the three reserved bytes are read as one number, as the kernel does: a message whose
# reserved bytes are not zero has no known type.
_INITIATION: Final = Struct("<II32s48s28s16s16s")
_RESPONSE: Final = Struct("<III32s16s16s16s")
_COOKIE_REPLY: Final = Struct("<II24s32s")
DATA_FORMAT: Final = Struct("<IIQ")
_WORD: Final = Struct("<I")
_COUNTER: Final = Struct("<Q")

INITIATION_SIZE: Final = _INITIATION.size
RESPONSE_SIZE: Final = _RESPONSE.size
COOKIE_REPLY_SIZE: Final = _COOKIE_REPLY.size
DATA_HEADER: Final = DATA_FORMAT.size
# A keepalive: nothing but header and tag.
MIN_DATA_SIZE: Final = DATA_HEADER + TAG
# Bytes of the outer IP header, UDP's, and those of a data message around an inner packet.
OVERHEAD: Final = {4: 20 + 8 + MIN_DATA_SIZE, 6: 40 + 8 + MIN_DATA_SIZE}


@dataclass(frozen=True, slots=True)
class Initiation:
    """The first message of a handshake. `static` and `timestamp` are sealed."""

    sender: int
    ephemeral: bytes
    static: bytes
    timestamp: bytes
    mac1: bytes = bytes(MAC)
    mac2: bytes = bytes(MAC)

    @classmethod
    def parse(cls, datagram: bytes) -> Self:
        """Read a whole datagram. Raises RemoteError(MALFORMED)."""
        return cls(*_fields(_INITIATION, INITIATION, datagram))

    def encode(self) -> bytes:
        """Return the message; `CookieJar.seal` fills in the macs."""
        return _INITIATION.pack(
            INITIATION,
            self.sender,
            self.ephemeral,
            self.static,
            self.timestamp,
            self.mac1,
            self.mac2,
        )


@dataclass(frozen=True, slots=True)
class Response:
    """The second message of a handshake. `empty` is the tag over nothing."""

    sender: int
    receiver: int
    ephemeral: bytes
    empty: bytes
    mac1: bytes = bytes(MAC)
    mac2: bytes = bytes(MAC)

    @classmethod
    def parse(cls, datagram: bytes) -> Self:
        """Read a whole datagram. Raises RemoteError(MALFORMED)."""
        return cls(*_fields(_RESPONSE, RESPONSE, datagram))

    def encode(self) -> bytes:
        """Return the message; `CookieJar.seal` fills in the macs."""
        return _RESPONSE.pack(
            RESPONSE,
            self.sender,
            self.receiver,
            self.ephemeral,
            self.empty,
            self.mac1,
            self.mac2,
        )


@dataclass(frozen=True, slots=True)
class CookieReply:
    """What a busy peer sends in place of an answer. `cookie` is sealed."""

    receiver: int
    nonce: bytes
    cookie: bytes

    @classmethod
    def parse(cls, datagram: bytes) -> Self:
        """Read a whole datagram. Raises RemoteError(MALFORMED)."""
        return cls(*_fields(_COOKIE_REPLY, COOKIE_REPLY, datagram))

    def encode(self) -> bytes:
        """Return the message."""
        return _COOKIE_REPLY.pack(COOKIE_REPLY, self.receiver, self.nonce, self.cookie)


def message_type(datagram: bytes | memoryview) -> int:
    """Return INITIATION, RESPONSE, COOKIE_REPLY or DATA.

    Only the first four bytes are read. Raises RemoteError(MALFORMED) where they are not there,
    RemoteError(UNKNOWN_TYPE) where they say something else.
    """
    if len(datagram) < _WORD.size:
        raise RemoteError(Drop.MALFORMED)
    kind: int = _WORD.unpack_from(datagram)[0]
    if not INITIATION <= kind <= DATA:
        raise RemoteError(Drop.UNKNOWN_TYPE)
    return kind


def data_receiver(datagram: bytes | memoryview) -> int:
    """Return the receiver index of a data message. Raises RemoteError(MALFORMED)."""
    _check_data(datagram)
    receiver: int = _WORD.unpack_from(datagram, 4)[0]
    return receiver


def data_counter(datagram: bytes | memoryview) -> int:
    """Return the counter of a data message. Raises RemoteError(MALFORMED)."""
    _check_data(datagram)
    counter: int = _COUNTER.unpack_from(datagram, 8)[0]
    return counter


def padded_length(length: int, mtu: int = 0) -> int:
    """Return the length to which an inner packet of `length` bytes is padded (WireGuard 5.4.6).

    `mtu` in bytes is a bound for the padding, never for the packet; 0 means that there is none.
    """
    padded = -(-length // PADDING) * PADDING
    return max(length, min(padded, mtu)) if mtu else padded


def _check_data(datagram: bytes | memoryview) -> None:
    if len(datagram) < MIN_DATA_SIZE or _WORD.unpack_from(datagram)[0] != DATA:
        raise RemoteError(Drop.MALFORMED)


def _fields(layout: Struct, kind: int, datagram: bytes) -> tuple[Any, ...]:
    if len(datagram) != layout.size:
        raise RemoteError(Drop.MALFORMED)
    found, *fields = layout.unpack(datagram)
    if found != kind:
        raise RemoteError(Drop.MALFORMED)
    return tuple(fields)
