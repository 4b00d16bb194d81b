"""What the codec costs on this machine: python benchmarks/codec.py.

Prints microseconds a packet and MB/s of inner packets for seal, open and coalesce, each alone: for
one 64 KB TCP super-packet at MTU 1420, and for single packets of 64 bytes. The best of several
rounds, because another process can only make a round slower.
"""

import os
import time
from collections.abc import Callable
from struct import Struct
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from sacip_tun.datapath.codec import SEAL_CAPACITY
from sacip_tun.datapath.python import PythonCodec
from sacip_tun.datapath.vnet import GSO_NONE, GSO_TCPV4, NEEDS_CSUM, VNET_FORMAT

MTU: Final = 1420
# IPv4 and TCP with a timestamp option, as Linux sends it: 52 bytes before the payload.
HEADERS: Final = 52
_IPV4: Final = Struct(">BBHHHBBH4s4s")
_TCP: Final = Struct(">HHIIBBHHH12s")
ROUNDS: Final = 7


def superpacket(length: int, gso_type: int) -> memoryview:
    """Return a TCP packet of `length` bytes as the TUN gives it, behind its virtio_net_hdr."""
    ipv4 = _IPV4.pack(0x45, 0, length, 1, 0x4000, 64, 6, 0, bytes([10, 0, 0, 1]), bytes(4))
    # The sum of the pseudo-header: 10.0.0.1, the protocol, and the length.
    pseudo_sum = (0x0A00 + 0x0001 + 6 + length - 20) % 0xFFFF
    tcp = _TCP.pack(1, 2, 3, 4, 0x80, 0x10, 512, pseudo_sum, 0, bytes([1, 1, 8, 10, *range(8)]))
    vnet = VNET_FORMAT.pack(NEEDS_CSUM, gso_type, HEADERS, MTU - HEADERS if gso_type else 0, 20, 16)
    return memoryview(vnet + ipv4 + tcp + os.urandom(length - HEADERS))


def best(work: Callable[[], object], times: int) -> float:
    """Return the seconds that one call takes."""
    rounds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(times):
            work()
        rounds.append((time.perf_counter() - start) / times)
    return min(rounds)


def measure(title: str, packet: memoryview, times: int) -> None:
    """Print one table."""
    codec, cipher = PythonCodec(), ChaCha20Poly1305(os.urandom(32))
    out = memoryview(bytearray(SEAL_CAPACITY))
    sealed = codec.seal(packet, cipher, 7, 0, MTU, out)
    # What UDP_GRO gives at most; the rest of a 64 KB train comes with the next read.
    received = out[: min(sealed.length, 45 * sealed.segment_size)]
    size = sealed.segment_size
    opened = codec.open(received, size, {7: cipher})[0].packets
    merged = codec.coalesce(opened, offload=True)
    print(f"{title}: {sealed.count} sealed, {len(opened)} opened, {len(merged)} written")
    for name, packets, work in (
        ("seal", sealed.count, lambda: codec.seal(packet, cipher, 7, 0, MTU, out)),
        ("open", len(opened), lambda: codec.open(received, size, {7: cipher})),
        ("coalesce", len(opened), lambda: codec.coalesce(opened, offload=True)),
    ):
        seconds = best(work, times)
        inner = (len(packet) - 10) * packets / sealed.count
        print(
            f"  {name:9} {seconds * 1e6:7.1f} us  {seconds / packets * 1e6:5.2f} us/packet"
            f"  {inner / seconds / 1e6:7.0f} MB/s"
        )


if __name__ == "__main__":
    measure("64 KB TCP super-packet", superpacket(HEADERS + 47 * 1368, GSO_TCPV4), 300)
    measure("64-byte packet", superpacket(64, GSO_NONE), 5000)
