"""ECN: the two bits by which a network says "congested" without dropping (RFC 3168).

They are the low bits of the byte that IPv4 calls TOS and IPv6 traffic class, behind the six bits of
the DSCP (RFC 2474). Whatever changes them in an IPv4 header mends its checksum by the difference
(RFC 1624): a checksum that was wrong stays wrong, and nobody takes the packet for intact.
"""

from struct import Struct
from typing import Final

from sacip_tun.datapath.checksum import MODULUS
from sacip_tun.datapath.packet import IPV4_HEADER, IPV6_HEADER

NOT_ECT: Final = 0
ECT_1: Final = 1
ECT_0: Final = 2
CE: Final = 3

_WORD: Final = Struct(">H")


def traffic_class(packet: memoryview) -> int:
    """Return the DSCP and ECN bits as one byte; 0 for what is no whole IP header."""
    length = len(packet)
    if length >= IPV4_HEADER and packet[0] >> 4 == 4:
        return packet[1]
    if length >= IPV6_HEADER and packet[0] >> 4 == 6:
        return (packet[0] << 4 & 0xF0) | packet[1] >> 4
    return 0


def mark(packet: memoryview) -> bool:
    """Say "congested" in an IP packet or the headers of a train, in place; False if not ECT.

    `packet` begins with the IP header. The headers of a train are the pattern of all its segments.
    """
    if traffic_class(packet) & CE == NOT_ECT:
        return False
    _set(packet, CE)
    return True


def _set(packet: memoryview, ecn: int) -> None:
    """Write the ECN bits of a whole IPv4 or IPv6 header."""
    if packet[0] >> 4 == 6:
        packet[1] = packet[1] & 0xCF | ecn << 4
        return
    change = ecn - (packet[1] & CE)
    packet[1] += change
    checksum = (_WORD.unpack_from(packet, 10)[0] - change) % MODULUS
    _WORD.pack_into(packet, 10, checksum)
