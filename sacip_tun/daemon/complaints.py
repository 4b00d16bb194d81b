"""Complaints: ICMP errors to inner senders, through the TUN, about what cannot be passed on."""

from sacip_tun.datapath import icmp
from sacip_tun.datapath import packet as inner_packet
from sacip_tun.datapath.vnet import PLAIN
from sacip_tun.linux.tun import InterfaceGone, Tun

# Errors to one sender about one destination are this far apart, in seconds (RFC 1812 4.3.2.8):
# it needs one, and whoever does not listen gets few.
PAUSE = 1.0
# Pairs of addresses remembered; emptied when full.
MAX_TOLD = 1024


class Complaints:
    """Writes errors to one TUN, few about the same."""

    def __init__(self, tun: Tun) -> None:
        self._tun = tun
        self._told: dict[tuple[bytes, bytes], float] = {}

    def too_big(self, packet: memoryview, limit: int, now: float) -> None:
        """Tell the sender of an inner packet that no more than `limit` bytes go through."""
        if self._may_tell(packet, now):
            self._tell(packet, icmp.too_big(packet, limit), now)

    def unreachable(self, packet: memoryview, now: float) -> None:
        """Tell the sender of an inner packet that nobody is there."""
        if self._may_tell(packet, now):
            self._tell(packet, icmp.unreachable(packet), now)

    def _may_tell(self, packet: memoryview, now: float) -> bool:
        return now - self._told.get(_ends(packet), float("-inf")) >= PAUSE

    def _tell(self, packet: memoryview, error: bytes | None, now: float) -> None:
        if error is None:
            return
        if len(self._told) >= MAX_TOLD:
            self._told.clear()
        self._told[_ends(packet)] = now
        try:
            self._tun.write([PLAIN, error])
        except (InterfaceGone, OSError):
            return  # the next read of the TUN says so


def _ends(packet: memoryview) -> tuple[bytes, bytes]:
    return inner_packet.source(packet) or b"", inner_packet.destination(packet) or b""
