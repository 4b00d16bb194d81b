"""SACIP frames: the control messages that travel inside authenticated WireGuard data messages.

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +---------------+---------------+---------------+---------------+
    |   type = 20   |  version = 1  |     code      |   flags = 0   |
    +---------------+---------------+---------------+---------------+
    |            length             |         reserved = 0          |
    +-------------------------------+-------------------------------+
    |                          association                          |
    |                     (64 bit, one tunnel start)                |
    +---------------------------------------------------------------+
    |                          move number                          |
    |                            (64 bit)                           |
    +---------------------------------------------------------------+
    |                             token                             |
    |                      (64 bit, random)                         |
    +---------------------------------------------------------------+
    |  TLV type (8) | TLV length (8)|  value ...                    |
    +---------------+---------------+-------------------------------+

All integers are big endian; `length` covers the header and the TLVs, and what follows is padding.
Type 20 is the ICMP type of the 2007 patch (deck, slide 17). Its high nibble, 1, is no IP version: a
TUN never delivers such a packet, so no host behind a peer can forge a frame, and a plain WireGuard
peer authenticates it and drops it. Unknown codes and TLVs are ignored.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from ipaddress import ip_address
from struct import Struct
from typing import Self

from sacip_tun.protocol.address import Endpoint
from sacip_tun.protocol.errors import Drop, RemoteError
from sacip_tun.protocol.received import Received

FRAME_TYPE = 20
VERSION = 1
HEADER = Struct("!BBBBHHQQQ")
# Every frame is padded to one size, in bytes: a request is never smaller than its answer (no
# amplification), and an observer cannot tell one code from another by its length. It holds a CHANGE
# with two IPv6 addresses, a reason, two RECEIVED and four candidates (435 bytes), and a RELAY with
# a sealed short notice (docs/decisions/0005).
FRAME_SIZE = 448
MAX_CANDIDATES = 4
# One for the session in use and one for the session before it.
MAX_RECEIVED = 2


class Code(IntEnum):
    """What a frame says."""

    HELLO = 1
    HELLO_ACK = 2
    PREPARE = 3
    PREPARE_ACK = 4
    CHANGE = 5
    CHANGE_ACK = 6
    PATH_CHALLENGE = 7
    PATH_RESPONSE = 8
    RELAY = 9
    RELAYED = 10


class Reason(IntEnum):
    """Why an address changes."""

    ADDRESS_REMOVED = 1
    ADDRESS_DEPRECATED = 2
    ROUTE_CHANGED = 3
    CARRIER_LOST = 4
    NAT_REBOUND = 5
    RESUMED = 6
    REQUESTED = 7
    PATH_SILENT = 8

    @property
    def text(self) -> str:
        """The reason in words."""
        return self.name.lower().replace("_", " ")


class Tlv(IntEnum):
    """Kinds of type-length-value elements."""

    OLD = 1
    NEW = 2
    OBSERVED = 3
    REASON = 4
    CANDIDATE = 5
    RECEIVED = 6
    PEER = 7
    SEALED = 8


@dataclass(frozen=True, slots=True)
class Frame:
    """One SACIP frame; addresses are as the sender's kernel sees them, `observed` excepted.

    `observed` is the source of the message being answered, or relayed, as this side saw it.
    `received` says per session which messages arrived. `peer` is a public key and `sealed` a whole
    data message, of which a relay knows nothing but where it shall go or whom it came from.
    """

    code: int
    association: int = 0
    number: int = 0
    token: int = 0
    old: Endpoint | None = None
    new: Endpoint | None = None
    observed: Endpoint | None = None
    reason: Reason | None = None
    candidates: tuple[Endpoint, ...] = field(default=())
    received: tuple[Received, ...] = field(default=())
    peer: bytes = b""
    sealed: bytes = b""

    def encode(self) -> bytes:
        """Return the frame, padded to FRAME_SIZE bytes."""
        return self.encode_short().ljust(FRAME_SIZE, b"\0")

    def encode_short(self) -> bytes:
        """Return the frame without padding: for a notice that a relay has to carry in another."""
        body = b"".join(self._elements())
        length = HEADER.size + len(body)
        header = HEADER.pack(
            FRAME_TYPE, VERSION, self.code, 0, length, 0, self.association, self.number, self.token
        )
        return header + body

    def _elements(self) -> Iterator[bytes]:
        for kind, endpoint in (
            (Tlv.OLD, self.old),
            (Tlv.NEW, self.new),
            (Tlv.OBSERVED, self.observed),
            *((Tlv.CANDIDATE, candidate) for candidate in self.candidates[:MAX_CANDIDATES]),
        ):
            if endpoint is not None:
                yield _element(kind, _encode_endpoint(endpoint))
        if self.reason is not None:
            yield _element(Tlv.REASON, bytes([self.reason]))
        for received in self.received[:MAX_RECEIVED]:
            yield _element(Tlv.RECEIVED, received.encode())
        if self.peer:
            yield _element(Tlv.PEER, self.peer)
        if self.sealed:
            yield _element(Tlv.SEALED, self.sealed)

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a frame of any version-1 code. Raises RemoteError(BAD_FRAME)."""
        if len(data) < FRAME_SIZE:
            raise RemoteError(Drop.BAD_FRAME)
        return cls.parse_short(data)

    @classmethod
    def parse_short(cls, data: bytes) -> Self:
        """Read a frame that a relay carried, of any size. Raises RemoteError(BAD_FRAME)."""
        if len(data) < HEADER.size:
            raise RemoteError(Drop.BAD_FRAME)
        kind, version, code, _, length, _, association, number, token = HEADER.unpack_from(data)
        if kind != FRAME_TYPE or version != VERSION or not HEADER.size <= length <= len(data):
            raise RemoteError(Drop.BAD_FRAME)
        elements = dict[int, bytes]()
        candidates = list[Endpoint]()
        received = list[Received]()
        for tlv, value in _walk(data[HEADER.size : length]):
            if tlv == Tlv.CANDIDATE and len(candidates) < MAX_CANDIDATES:
                candidates.append(_decode_endpoint(value))
            elif tlv == Tlv.RECEIVED and len(received) < MAX_RECEIVED:
                received.append(Received.decode(value))
            elements[tlv] = value
        return cls(
            code,
            association,
            number,
            token,
            old=_endpoint(elements, Tlv.OLD),
            new=_endpoint(elements, Tlv.NEW),
            observed=_endpoint(elements, Tlv.OBSERVED),
            reason=_reason(elements),
            candidates=tuple(candidates),
            received=tuple(received),
            peer=elements.get(Tlv.PEER, b""),
            sealed=elements.get(Tlv.SEALED, b""),
        )


def code_name(code: int) -> str:
    """Return the name of a code, or its number where this version has no name for it."""
    try:
        return Code(code).name
    except ValueError:
        return f"code {code}"


def _element(kind: Tlv, value: bytes) -> bytes:
    return bytes([kind, len(value)]) + value


def _walk(body: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(body):
        if at + 2 > len(body) or at + 2 + body[at + 1] > len(body):
            raise RemoteError(Drop.BAD_FRAME)
        end = at + 2 + body[at + 1]
        yield body[at], body[at + 2 : end]
        at = end


def _encode_endpoint(endpoint: Endpoint) -> bytes:
    """Family (4 or 6), a zero, port, address; an interface index means nothing elsewhere."""
    host = endpoint.host
    return bytes([host.version, 0]) + endpoint.port.to_bytes(2, "big") + host.packed


def _decode_endpoint(value: bytes) -> Endpoint:
    if len(value) < 4 or (value[0], len(value)) not in {(4, 8), (6, 20)}:
        raise RemoteError(Drop.BAD_FRAME)
    return Endpoint(ip_address(value[4:]), int.from_bytes(value[2:4], "big"))


def _endpoint(elements: dict[int, bytes], kind: Tlv) -> Endpoint | None:
    return _decode_endpoint(elements[kind]) if kind in elements else None


def _reason(elements: dict[int, bytes]) -> Reason | None:
    """A reason that this version has no name for is left out, as unknown TLVs are."""
    value = elements.get(Tlv.REASON, b"")
    return Reason(value[0]) if len(value) == 1 and value[0] in set(Reason) else None
