"""What a router says to the sender of a packet that it cannot pass on.

    too big for the next link
    IPv4: type 3, code 4, "fragmentation needed and DF set" (RFC 792, RFC 1191 section 4)
    IPv6: type 2, "packet too big" (RFC 4443 section 3.2)

    nobody there
    IPv4: type 3, code 1, "host unreachable" (RFC 792)
    IPv6: type 1, code 3, "address unreachable" (RFC 4443 section 3.1)

    0  type, code, checksum
    4  too big, IPv4: two unused bytes, then the MTU of the next hop in two; IPv6: that MTU in four
       nobody there: four unused bytes
    8  the packet that is answered, as much of it as fits

The source is the destination of that packet: the one address that surely lies behind the TUN, so
that no reverse path filter minds. RFC 1122 3.2.2 and RFC 4443 2.4 say what must not be answered.
"""

from struct import Struct
from typing import Final

from sacip_tun.datapath.checksum import finished, word_sum
from sacip_tun.datapath.packet import IPV4_HEADER, IPV6_HEADER, inner_length

_ICMPV4: Final = 1
_ICMPV6: Final = 58
_ICMP: Final = Struct("!BBHI")
_WORD: Final = Struct("!H")
_IPV4: Final = Struct("!BBHHHBBH4s4s")
_IPV6: Final = Struct("!IHBB16s16s")

# Whole errors have at most so many bytes (RFC 1812 4.3.2.3, RFC 4443 2.4 c).
_MAX_ERROR: Final = {4: 576, 6: 1280}
# No host believes less (RFC 1191 section 3, RFC 8201 section 4).
_LEAST_MTU: Final = {4: 68, 6: 1280}
# Destination unreachable, source quench, redirect, time exceeded, parameter problem (RFC 792).
_ICMPV4_ERRORS: Final = frozenset({3, 4, 5, 11, 12})
# Errors have the types up to here (RFC 4443 2.1), and a redirect is answered no more than they are.
_LAST_ICMPV6_ERROR: Final = 127
_REDIRECT: Final = 137
_DONT_FRAGMENT: Final = 0x4000
_FRAGMENT_OFFSET: Final = 0x1FFF
# Internetwork control (RFC 1812 4.3.2.5), as routers mark their errors.
_TOS: Final = 0xC0
_TTL: Final = 64


def too_big(packet: memoryview, mtu: int) -> bytes | None:
    """Return the IP packet to send back for one that is longer than `mtu` bytes.

    None where it must not be answered, where it is malformed, and for IPv4 without DF.
    """
    if not inner_length(packet):
        return None
    version = packet[0] >> 4
    mtu = max(mtu, _LEAST_MTU[version])
    if version == 4:
        whole = _WORD.unpack_from(packet, 6)[0] & _DONT_FRAGMENT
        return _error_ipv4(packet, 3, 4, mtu) if whole and _is_answerable_ipv4(packet) else None
    return _error_ipv6(packet, 2, 0, mtu) if _is_answerable_ipv6(packet) else None


def unreachable(packet: memoryview) -> bytes | None:
    """Return the IP packet to send back for one to somebody who is not there.

    None where it must not be answered, and where it is malformed.
    """
    if not inner_length(packet):
        return None
    if packet[0] >> 4 == 4:
        return _error_ipv4(packet, 3, 1, 0) if _is_answerable_ipv4(packet) else None
    return _error_ipv6(packet, 1, 3, 0) if _is_answerable_ipv6(packet) else None


def _is_answerable_ipv4(packet: memoryview) -> bool:
    header = (packet[0] & 0x0F) * 4
    (fragment,) = _WORD.unpack_from(packet, 6)
    if fragment & _FRAGMENT_OFFSET:
        return False
    if packet[9] == _ICMPV4 and (len(packet) <= header or packet[header] in _ICMPV4_ERRORS):
        return False
    # Class D and above are groups, broadcasts and reserved; 0 is "this network", 127 the loopback.
    return packet[16] < 224 and packet[12] < 224 and packet[12] not in {0, 127}


def _is_answerable_ipv6(packet: memoryview) -> bool:
    if packet[6] == _ICMPV6:
        kind = packet[IPV6_HEADER] if len(packet) > IPV6_HEADER else 0
        if kind <= _LAST_ICMPV6_ERROR or kind == _REDIRECT:
            return False
    source = bytes(packet[8:24])
    unicast = packet[24] != 0xFF and source[0] != 0xFF
    return unicast and any(source[:15])  # neither unspecified nor the loopback


def _error_ipv4(packet: memoryview, kind: int, code: int, mtu: int) -> bytes:
    quoted = packet[: _MAX_ERROR[4] - IPV4_HEADER - _ICMP.size]
    message = bytearray(_ICMP.pack(kind, code, 0, mtu) + quoted)
    _WORD.pack_into(message, 2, finished(word_sum(message)))
    length = IPV4_HEADER + len(message)
    source, destination = bytes(packet[16:20]), bytes(packet[12:16])
    fields = (0x45, _TOS, length, 0, 0, _TTL, _ICMPV4, 0, source, destination)
    header = bytearray(_IPV4.pack(*fields))
    _WORD.pack_into(header, 10, finished(word_sum(header)))
    return bytes(header + message)


def _error_ipv6(packet: memoryview, kind: int, code: int, mtu: int) -> bytes:
    quoted = packet[: _MAX_ERROR[6] - IPV6_HEADER - _ICMP.size]
    message = bytearray(_ICMP.pack(kind, code, 0, mtu) + quoted)
    source, destination = bytes(packet[24:40]), bytes(packet[8:24])
    total = word_sum(source) + word_sum(destination) + len(message) + _ICMPV6 + word_sum(message)
    _WORD.pack_into(message, 2, finished(total) or 0xFFFF)
    header = _IPV6.pack(6 << 28 | _TOS << 20, len(message), _ICMPV6, _TTL, source, destination)
    return header + bytes(message)
