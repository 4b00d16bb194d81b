"""Which messages of one session arrived: what RECEIVED tells, and what the send ring resends by."""

from dataclasses import dataclass
from struct import Struct
from typing import Self

from sacip_tun.protocol.errors import Drop, RemoteError
from sacip_tun.protocol.replay import ReplayWindow

# Receiver index, and the counter that would follow the highest one that arrived (0: none did).
_HEAD = Struct("!IQ")
# Counters below the highest that are told one by one: a path of 1 Gbit/s sends so many in 11 ms.
BITMAP_SIZE = 120
SPAN = 8 * BITMAP_SIZE


@dataclass(frozen=True, slots=True)
class Received:
    """The state of one session's replay window, as its receiver tells it to the sender.

    `index` is the receiver's index of the session. `following` is one more than the highest counter
    that arrived. Bit n of `bitmap` (the lowest bit of the first byte is bit 0) tells of the counter
    `following - 1 - n`.
    """

    index: int
    following: int
    bitmap: int

    @classmethod
    def of(cls, index: int, window: ReplayWindow) -> Self:
        """Take it from the window of a session."""
        return cls(index, window.highest + 1, window.bitmap(SPAN))

    @classmethod
    def decode(cls, value: bytes) -> Self:
        """Read the value of a TLV. Raises RemoteError(BAD_FRAME)."""
        if not _HEAD.size <= len(value) <= _HEAD.size + BITMAP_SIZE:
            raise RemoteError(Drop.BAD_FRAME)
        index, following = _HEAD.unpack_from(value)
        return cls(index, following, int.from_bytes(value[_HEAD.size :], "little"))

    def encode(self) -> bytes:
        """Return the value of a TLV; zeros at its end are left out."""
        bits = self.bitmap.to_bytes(BITMAP_SIZE, "little").rstrip(b"\0")
        return _HEAD.pack(self.index, self.following) + bits

    def lacks(self, counter: int) -> bool:
        """Tell whether a counter did not arrive.

        What lies further back than the bitmap tells counts as arrived: it is not this move's loss.
        """
        if counter >= self.following:
            return True
        back = self.following - 1 - counter
        return back < SPAN and not self.bitmap >> back & 1
