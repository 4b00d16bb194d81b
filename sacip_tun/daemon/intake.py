"""The intake: the buffers that the TUN is read into, each 64 KB, each with one owner at a time.

What was read stays where it is until it has been sealed, also while it waits in the fair queue: so
the number of buffers is what bounds that queue. Memory is taken up only as far as it is written.
"""

import mmap
from collections.abc import Iterable

from sacip_tun.linux.tun import SUPERPACKET_CAPACITY, Tun

# Super-packets that were read and have not left: 6 MB of a download, or that many single packets.
BUFFERS = 96


class Intake:
    """Reads the TUN into free buffers."""

    def __init__(self, tun: Tun) -> None:
        self._tun = tun
        self._free = [memoryview(mmap.mmap(-1, SUPERPACKET_CAPACITY)) for _ in range(BUFFERS)]
        # A view knows the memory that it looks at, and that is how it finds its way home.
        self._whole = {id(view.obj): view for view in self._free}

    @property
    def full(self) -> bool:
        """Whether every buffer is in use."""
        return not self._free

    def read(self) -> memoryview | None:
        """Read one super-packet; None where there is none. There must be a free buffer.

        Raises InterfaceGone.
        """
        buffer = self._free[-1]
        try:
            length = self._tun.read(buffer)
        except BlockingIOError:
            return None
        self._free.pop()
        return buffer[:length]

    def release(self, superpackets: Iterable[memoryview]) -> None:
        """Take the buffers of super-packets back; harmless for those that are copies."""
        for packet in superpackets:
            whole = self._whole.get(id(packet.obj))
            if whole is not None:
                self._free.append(whole)
