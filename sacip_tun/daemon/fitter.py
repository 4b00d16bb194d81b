"""The fitter: what is too long for a path is cut, or its sender is told.

What can neither be cut nor be told of is sent as it is: routers may fragment it on the way.
"""

from sacip_tun.datapath import fit, icmp
from sacip_tun.datapath import packet as inner_packet
from sacip_tun.datapath.vnet import PLAIN, VNET_HEADER
from sacip_tun.linux.tun import InterfaceGone, Tun
from sacip_tun.protocol.peer import Peer

# Errors to one sender about one destination are this far apart, in seconds (RFC 1812 4.3.2.8):
# it needs one, and whoever does not listen gets few.
TELLING_PAUSE = 1.0
# Pairs of addresses remembered; emptied when full.
MAX_TOLD = 1024


class Fitter:
    """Makes super-packets fit, and writes ICMP errors to the TUN for those that cannot."""

    def __init__(self, tun: Tun) -> None:
        self._tun = tun
        self._told: dict[tuple[bytes, bytes], float] = {}

    def fitted(
        self, peer: Peer, superpacket: memoryview, limit: int, now: float
    ) -> list[memoryview]:
        """Return what to send in place of a super-packet, in packets of `limit` bytes if possible.

        Senders are told once the limit is known for good: while it is searched, it would be the
        base size, and they would keep to that for ten minutes (RFC 1191 6.3).
        """
        if fit.longest(superpacket) <= limit:
            return [superpacket]
        pieces = fit.fitted(superpacket, limit)
        if pieces:
            return pieces
        if peer.path_mtu.found:
            self._tell(superpacket[VNET_HEADER:], limit, now)
        return [superpacket]

    def _tell(self, packet: memoryview, limit: int, now: float) -> None:
        ends = inner_packet.source(packet) or b"", inner_packet.destination(packet) or b""
        if now - self._told.get(ends, float("-inf")) < TELLING_PAUSE:
            return
        error = icmp.too_big(packet, limit)
        if error is None:
            return
        if len(self._told) >= MAX_TOLD:
            self._told.clear()
        self._told[ends] = now
        try:
            self._tun.write([PLAIN, error])
        except (InterfaceGone, OSError):
            return  # the next read of the TUN says so
