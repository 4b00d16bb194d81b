"""TAI64N timestamps: what makes a handshake initiation fresh, and how SACIP peers find each other.

    +----------------------------+---------+---------------------+
    | 2^62 + 10 + UNIX time (8)  | ns (1)  | whitened ns (3)     |    12 bytes, big endian
    +----------------------------+---------+---------------------+

WireGuard initiators clear the low 24 bits of the nanoseconds, so that the timestamp tells less
about the clock (kernel). SACIP ones put a magic there. Plain peers compare timestamps and nothing
else, and never notice; a SACIP peer sees it, encrypted and authenticated, and says HELLO.
"""

from struct import Struct
from typing import Final

from sacip_tun.protocol.errors import LocalError

TIMESTAMP: Final = 12
# 0x5AC1 and the version of SACIP. A version that can talk to version 1 announces version 1.
SACIP_MAGIC: Final = 0x5AC101

_FORMAT: Final = Struct("!QI")
# The start of UNIX time, as a TAI64 label; leap seconds are left out, as in every WireGuard.
_UNIX_EPOCH: Final = (1 << 62) + 10
_NANOSECONDS: Final = 1_000_000_000
# Nanoseconds from one timestamp to the next possible one, about 17 ms.
_STEP: Final = 1 << 24
_WHITENED: Final = _STEP - 1


def timestamp(unix_ns: int, previous: bytes | None, *, sacip: bool) -> bytes:
    """Return 12 bytes for the wall clock `unix_ns` (nanoseconds since 1970).

    The result is greater than `previous`, the last timestamp that we sent, whatever the clock does;
    a peer takes nothing else. Raises LocalError where no timestamp is left, which needs a clock set
    to the end of time.
    """
    seconds, nanoseconds = divmod(unix_ns, _NANOSECONDS)
    now = (_UNIX_EPOCH + seconds, nanoseconds & ~_WHITENED)
    if previous is not None:
        now = max(now, _after(previous))
    if not 0 <= now[0] < 1 << 64:
        raise LocalError("the clock is outside the range of TAI64N")
    return _FORMAT.pack(now[0], now[1] | (SACIP_MAGIC if sacip else 0))


def speaks_sacip(timestamp: bytes) -> bool:
    """Tell whether the sender of this timestamp, 12 bytes, speaks SACIP.

    By chance a peer that does not clear the low bits says yes once in 2^24 handshakes.
    """
    return int.from_bytes(timestamp[9:TIMESTAMP], "big") == SACIP_MAGIC


def _after(previous: bytes) -> tuple[int, int]:
    """Return the first whitened time that is later whatever the low bits of both say."""
    seconds, nanoseconds = _FORMAT.unpack(previous)
    nanoseconds = (nanoseconds & ~_WHITENED) + _STEP
    # Full steps only: with the magic in them, the nanoseconds must still be below a second.
    if nanoseconds + _STEP > _NANOSECONDS:
        return (seconds + 1, 0)
    return (seconds, nanoseconds)
