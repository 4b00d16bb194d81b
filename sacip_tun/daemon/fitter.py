"""The fitter: what is too long for a path is cut, or its sender is told.

What can neither be cut nor be told of is sent as it is: routers may fragment it on the way.
"""

from sacip_tun.daemon.complaints import Complaints
from sacip_tun.datapath import fit
from sacip_tun.datapath.vnet import VNET_HEADER
from sacip_tun.protocol.peer import Peer


class Fitter:
    """Makes super-packets fit, and complains of those that cannot."""

    def __init__(self, complaints: Complaints) -> None:
        self._complaints = complaints

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
            self._complaints.too_big(superpacket[VNET_HEADER:], limit, now)
        return [superpacket]
