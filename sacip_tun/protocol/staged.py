"""Inner packets that wait for a handshake or an address, the oldest dropped first."""

from collections import deque

from sacip_tun.protocol.limits import MAX_STAGED_PACKETS

# As many packets as the kernel keeps, and no more bytes than a moderate TCP window: a super-packet
# counts as one packet, and may have 64 KB.
MAX_STAGED_BYTES = 1 << 20


class Staged:
    """A bounded queue of inner packets."""

    def __init__(self) -> None:
        self._packets: deque[bytes] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._packets)

    def add(self, packet: bytes) -> int:
        """Keep a packet; returns how many older ones had to go."""
        self._packets.append(packet)
        self._bytes += len(packet)
        dropped = 0
        while len(self._packets) > MAX_STAGED_PACKETS or self._bytes > MAX_STAGED_BYTES:
            self._bytes -= len(self._packets.popleft())
            dropped += 1
        return dropped

    def take(self) -> list[bytes]:
        """Return what waits, oldest first, and keep nothing."""
        packets = list(self._packets)
        self._packets.clear()
        self._bytes = 0
        return packets
