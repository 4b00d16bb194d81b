"""The writer: inner packets into the TUN, and what is done where the kernel refuses them.

1. A merged packet: its packets are written one by one at once, so nothing is lost. If that works,
   merging was at fault, and rests for a while (linux/offload.py). Known of Linux 6.6.44 and 6.10
   (tailscale#13041), and of UDP before Linux 6.2.
2. No memory for 64 KB in one piece: the same, but merging goes on.
3. The interface is down: dropped, as any router does. Whoever set it down may set it up again.
4. A single packet: dropped. Nothing about it can be changed.

Every drop is counted for each packet, and never keeps another packet from being written.
"""

import errno
from collections import Counter
from collections.abc import Sequence

from sacip_tun.datapath.segment import Segmenter, parse
from sacip_tun.datapath.vnet import GSO_NONE, PLAIN
from sacip_tun.linux.offload import REFUSALS
from sacip_tun.linux.tun import Tun
from sacip_tun.protocol.errors import Drop

# Refusals that are not about the packet: one by one would fare no better.
NOT_THE_PACKET = frozenset({errno.EIO, errno.EAGAIN})
REASONS = {
    errno.EIO: Drop.INTERFACE_DOWN,
    errno.EAGAIN: Drop.NO_MEMORY,
    errno.ENOBUFS: Drop.NO_MEMORY,
    errno.ENOMEM: Drop.NO_MEMORY,
}
# Bound for the padding of segments: these get none.
NO_PADDING = 1


class Writer:
    """Writes super-packets to one TUN; `drops` gets what the kernel did not take."""

    def __init__(self, tun: Tun, drops: Counter[Drop]) -> None:
        self._tun = tun
        self._drops = drops
        self._segmenter = Segmenter()

    def write(self, parts: Sequence[bytes | memoryview]) -> None:
        """Write a super-packet, of which the first part is the virtio_net_hdr.

        Raises InterfaceGone.
        """
        try:
            self._tun.write(parts)
        except OSError as error:
            self._refused(error.errno or 0, parts)

    def _refused(self, number: int, parts: Sequence[bytes | memoryview]) -> None:
        packets = self._apart(parts)
        if len(packets) < 2 or number in NOT_THE_PACKET:
            self._drop(number, len(packets))
            return
        taken = sum(map(self._write_one, packets))
        if taken and number in REFUSALS:
            self._tun.refused(parts[0][1])

    def _apart(self, parts: Sequence[bytes | memoryview]) -> list[memoryview]:
        """Return the packets of a super-packet as they were before they were merged."""
        superpacket = memoryview(b"".join(parts))
        train = parse(superpacket) if parts[0][1] != GSO_NONE else None
        if train is None:
            return [superpacket[len(PLAIN) :]]
        return self._segmenter.segment(superpacket, train, NO_PADDING)

    def _write_one(self, packet: memoryview) -> bool:
        try:
            self._tun.write((PLAIN, packet))
        except OSError as error:
            self._drop(error.errno or 0, 1)
            return False
        return True

    def _drop(self, number: int, count: int) -> None:
        self._drops[REASONS.get(number, Drop.WRITE_FAILED)] += count
