"""Facts about one inner IP packet, read with every length checked.

IPv4 (RFC 791): 0 version, IHL · 2 total length · 12 source · 16 destination
IPv6 (RFC 8200): 0 version · 4 payload length · 8 source · 24 destination
"""

from typing import Final

IPV4_HEADER: Final = 20
IPV6_HEADER: Final = 40
UDP: Final = 17
_PLAIN_IPV4: Final = 0x45  # version 4 and a header of five words


def inner_length(packet: memoryview) -> int:
    """Return the bytes that the IP header claims, without padding; 0 if the packet is malformed."""
    version = packet[0] >> 4 if packet else 0
    if version == 4:
        return _ipv4_length(packet)
    if version == 6 and len(packet) >= IPV6_HEADER:
        length = IPV6_HEADER + (packet[4] << 8 | packet[5])
        return length if length <= len(packet) else 0
    return 0


def whole(padded: memoryview) -> tuple[memoryview, bytes]:
    """Return a packet without its padding, and its packed source; that is empty if it is malformed.

    In one step, for what is looked at packet by packet.
    """
    length = len(padded)
    if length >= IPV4_HEADER and padded[0] == _PLAIN_IPV4:
        said = padded[2] << 8 | padded[3]
        if IPV4_HEADER <= said <= length:
            return padded[:said], bytes(padded[12:16])
        return padded, b""
    packet = padded[: inner_length(padded)]
    return packet, source(packet) or b""


def source(packet: memoryview) -> bytes | None:
    """Return the packed source address, 4 or 16 bytes; None if the packet is malformed."""
    if not inner_length(packet):
        return None
    return bytes(packet[12:16] if packet[0] >> 4 == 4 else packet[8:24])


def destination(packet: memoryview) -> bytes | None:
    """Return the packed destination address, 4 or 16 bytes; None if the packet is malformed."""
    if not inner_length(packet):
        return None
    return bytes(packet[16:20] if packet[0] >> 4 == 4 else packet[24:40])


def _ipv4_length(packet: memoryview) -> int:
    if len(packet) < IPV4_HEADER:
        return 0
    header = (packet[0] & 0x0F) * 4
    length = packet[2] << 8 | packet[3]
    return length if IPV4_HEADER <= header <= length <= len(packet) else 0
