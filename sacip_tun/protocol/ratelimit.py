"""Load: when cookies are demanded, and how much one proven source may ask for then."""

from typing import Final

from sacip_tun.protocol.address import Host
from sacip_tun.protocol.limits import (
    HANDSHAKE_BURST_PER_SOURCE,
    HANDSHAKES_PER_SOURCE_PER_SECOND,
    MAX_RATE_LIMITED_SOURCES,
    UNDER_LOAD_HANDSHAKES_PER_SECOND,
)

# Seconds until a bucket has earned one message.
_COST: Final = 1 / HANDSHAKES_PER_SOURCE_PER_SECOND
# A bucket that is full again within this many seconds can pay for one more. The microsecond keeps
# rounding of large clock values from eating the last message of a burst.
_SOLVENT: Final = (HANDSHAKE_BURST_PER_SOURCE - 1) * _COST + 1e-6


class RateLimit:
    """A token bucket for each source: an IPv4 address, or an IPv6 /64, which one host can fill.

    Ask only for sources that have shown a valid mac2: forged ones would fill the table and lock
    out the rest.
    """

    __slots__ = ("_full_at",)

    def __init__(self) -> None:
        # When each bucket will be full again, in the order of last use. A full one is left out.
        self._full_at: dict[bytes, float] = {}

    def allow(self, host: Host, *, now: float) -> bool:
        """Tell whether a handshake message from `host` may be answered, and charge for it.

        False as well where the table is full of sources in use.
        """
        source = host.packed if host.version == 4 else host.packed[:8]
        full_at = max(now, self._full_at.get(source, now))
        if full_at - now > _SOLVENT:
            return False
        self._full_at.pop(source, None)
        self._forget_full(now)
        if len(self._full_at) >= MAX_RATE_LIMITED_SOURCES:
            return False
        self._full_at[source] = full_at + _COST
        return True

    def _forget_full(self, now: float) -> None:
        """Drop buckets that are full again, from the least recently used on."""
        while self._full_at:
            source = next(iter(self._full_at))
            if self._full_at[source] > now:
                return
            del self._full_at[source]


class LoadMeter:
    """Counts handshake messages; load lasts for a second after the last busy one.

    Time is cut into whole seconds, and this one and the one before it count.
    """

    __slots__ = ("_before", "_count", "_second")

    def __init__(self) -> None:
        self._second = 0
        self._count = 0
        self._before = 0

    def count(self, *, now: float) -> None:
        """Take note of one handshake message, whether it turns out good or not."""
        self._turn(now)
        self._count += 1

    def under_load(self, *, now: float) -> bool:
        """Tell whether cookies are to be demanded."""
        self._turn(now)
        return max(self._count, self._before) > UNDER_LOAD_HANDSHAKES_PER_SECOND

    def _turn(self, now: float) -> None:
        second = int(now)
        if second != self._second:
            self._before = self._count if second == self._second + 1 else 0
            self._count = 0
            self._second = second
