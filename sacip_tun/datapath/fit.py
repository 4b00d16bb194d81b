"""Making inner packets fit a path that carries less than the TUN's MTU.

1. TCP is cut anew. A train says itself how much goes into each segment (gso_size): a smaller number
   is all that it takes. A single segment becomes a train. Nothing is lost, and nobody is told.
2. IPv4 that may be fragmented is fragmented as by any router (RFC 791 section 3.2), inside the
   tunnel, so that no fragment shows outside, where some networks drop them.
3. Everything else cannot be made to fit: its sender is told (icmp.py).
"""

from struct import Struct
from typing import Final

from sacip_tun.datapath.checksum import MODULUS, finished, word_sum
from sacip_tun.datapath.packet import IPV4_HEADER, IPV6_HEADER, inner_length
from sacip_tun.datapath.segment import parse
from sacip_tun.datapath.vnet import (
    GSO_NONE,
    GSO_TCPV4,
    GSO_TCPV6,
    NEEDS_CSUM,
    PLAIN,
    TCP_CSUM_OFFSET,
    UDP_CSUM_OFFSET,
    VNET_FORMAT,
    VNET_HEADER,
)

_TCP: Final = 6
_TCP_HEADER: Final = 20
_SYN_RST_URG: Final = 0x26
_WORD: Final = Struct(">H")
# In the IPv4 header at 6: DF, MF, and the offset in units of 8 bytes.
_DONT_FRAGMENT: Final = 0x4000
_MORE_FRAGMENTS: Final = 0x2000
_FRAGMENT_OFFSET: Final = 0x1FFF


def longest(superpacket: memoryview) -> int:
    """Return the length of the longest packet that a super-packet makes, 0 if it is malformed."""
    train = parse(superpacket)
    return train.full if train else 0


def fitted(superpacket: memoryview, limit: int) -> list[memoryview]:
    """Return super-packets that say the same in packets of at most `limit` bytes.

    Empty where there is no way to do that. What is returned is not the buffer that was passed in.
    """
    _, gso_type, _, _, _, _ = VNET_FORMAT.unpack_from(superpacket)
    cut = _cut(superpacket if gso_type != GSO_NONE else _train_of(superpacket), limit)
    if cut is not None:
        return [cut]
    return _fragments(superpacket, limit) if gso_type == GSO_NONE else []


def _cut(superpacket: memoryview | None, limit: int) -> memoryview | None:
    """Return a TCP train with smaller segments; None where it is none, or cannot be."""
    train = parse(superpacket) if superpacket is not None else None
    if superpacket is None or train is None or train.protocol != _TCP or limit <= train.headers:
        return None
    flags, gso_type, hdr_len, _, start, offset = VNET_FORMAT.unpack_from(superpacket)
    cut = bytearray(superpacket)
    VNET_FORMAT.pack_into(cut, 0, flags, gso_type, hdr_len, limit - train.headers, start, offset)
    return memoryview(cut) if parse(memoryview(cut)) else None


def _train_of(superpacket: memoryview) -> memoryview | None:
    """Return a single TCP packet as a train of one; None for anything else."""
    packet = superpacket[VNET_HEADER:]
    packet = packet[: inner_length(packet)]
    transport = _tcp_at(packet)
    if not transport or packet[transport + 13] & _SYN_RST_URG:
        return None
    headers = transport + (packet[transport + 12] >> 4) * 4
    flags, _, _, _, start, offset = VNET_FORMAT.unpack_from(superpacket)
    pseudo_sum = _pseudo_sum(packet, transport)
    if flags & NEEDS_CSUM:
        if (start, offset) != (transport, TCP_CSUM_OFFSET):
            return None
    elif (pseudo_sum + word_sum(packet[transport:])) % MODULUS:
        return None  # a wrong checksum must arrive wrong
    kind = GSO_TCPV4 if packet[0] >> 4 == 4 else GSO_TCPV6
    size = max(1, len(packet) - headers)
    vnet = VNET_FORMAT.pack(NEEDS_CSUM, kind, headers, size, transport, TCP_CSUM_OFFSET)
    train = bytearray(vnet + bytes(packet))
    _WORD.pack_into(train, VNET_HEADER + transport + TCP_CSUM_OFFSET, pseudo_sum)
    return memoryview(train)


def _tcp_at(packet: memoryview) -> int:
    """Return where a whole TCP header begins in a packet that is no fragment, 0 for none."""
    if not len(packet):
        return 0
    if packet[0] >> 4 == 4:
        (fragment,) = _WORD.unpack_from(packet, 6)
        whole = not fragment & (_MORE_FRAGMENTS | _FRAGMENT_OFFSET)
        transport = (packet[0] & 0x0F) * 4 if packet[9] == _TCP and whole else 0
    else:
        transport = IPV6_HEADER if packet[6] == _TCP else 0
    return transport if len(packet) >= transport + _TCP_HEADER else 0


def _pseudo_sum(packet: memoryview, transport: int) -> int:
    """Return the sum of the pseudo-header (RFC 9293 3.1)."""
    addresses = packet[12:20] if packet[0] >> 4 == 4 else packet[8:40]
    return (word_sum(addresses) + _TCP + len(packet) - transport) % MODULUS


def _fragments(superpacket: memoryview, limit: int) -> list[memoryview]:
    """Fragment an IPv4 packet without DF; nothing for any other, and where it has options."""
    packet = superpacket[VNET_HEADER:]
    packet = packet[: inner_length(packet)]
    if len(packet) <= IPV4_HEADER or packet[0] != 0x45:
        return []
    (fragment,) = _WORD.unpack_from(packet, 6)
    room = (limit - IPV4_HEADER) // 8 * 8
    if fragment & _DONT_FRAGMENT or room <= 0:
        return []
    payload = _finished(superpacket, packet)[IPV4_HEADER:]
    offset, more = fragment & _FRAGMENT_OFFSET, fragment & _MORE_FRAGMENTS
    return [
        _fragment(
            packet[:IPV4_HEADER],
            payload[at : at + room],
            offset + at // 8 | (more if at + room >= len(payload) else _MORE_FRAGMENTS),
        )
        for at in range(0, len(payload), room)
    ]


def _finished(superpacket: memoryview, packet: memoryview) -> bytearray:
    """Return the packet with the checksum that the kernel left to the device."""
    done = bytearray(packet)
    flags, _, _, _, start, offset = VNET_FORMAT.unpack_from(superpacket)
    if flags & NEEDS_CSUM and start + offset + 2 <= len(done):
        checksum = finished(word_sum(memoryview(done)[start:]))
        if offset == UDP_CSUM_OFFSET:  # 0 says "no checksum" there (RFC 768)
            checksum = checksum or MODULUS
        _WORD.pack_into(done, start + offset, checksum)
    return done


def _fragment(header: memoryview, payload: bytearray, place: int) -> memoryview:
    packet = bytearray(PLAIN + bytes(header) + payload)
    at = VNET_HEADER
    _WORD.pack_into(packet, at + 2, IPV4_HEADER + len(payload))
    _WORD.pack_into(packet, at + 6, place)
    _WORD.pack_into(packet, at + 10, 0)
    checksum = finished(word_sum(memoryview(packet)[at : at + IPV4_HEADER]))
    _WORD.pack_into(packet, at + 10, checksum)
    return memoryview(packet)
