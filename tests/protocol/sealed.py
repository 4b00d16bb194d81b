"""Datagrams for the send ring that say in themselves which ones they are."""

from sacip_tun.protocol.messages import DATA, DATA_FORMAT
from sacip_tun.protocol.received import Received
from sacip_tun.protocol.replay import ReplayWindow

SIZE = 64


def datagram(index: int, counter: int, length: int = SIZE) -> bytes:
    return DATA_FORMAT.pack(DATA, index, counter) + counter.to_bytes(4, "big").ljust(length - 16)


def run_of(index: int, first: int, count: int, last: int = SIZE) -> memoryview:
    lengths = [SIZE] * (count - 1) + [last]
    data = b"".join(datagram(index, first + n, length) for n, length in enumerate(lengths))
    return memoryview(data)


def told(index: int, counters: set[int]) -> Received:
    window = ReplayWindow()
    for counter in sorted(counters):
        window.accept(counter)
    return Received.of(index, window)
