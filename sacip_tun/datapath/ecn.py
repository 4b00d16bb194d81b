"""ECN: the two bits by which a network says "congested" without dropping (RFC 3168).

A tunnel copies them out, and what the network did to them on the way back in (RFC 6040); so a queue
anywhere on the path can slow the inner senders down without a loss.

They are the low bits of the byte that IPv4 calls TOS and IPv6 traffic class, behind the six bits of
the DSCP (RFC 2474). Whatever changes them in an IPv4 header mends its checksum by the difference
(RFC 1624): a checksum that was wrong stays wrong, and nobody takes the packet for intact.
"""

from struct import Struct, error
from typing import Final

from sacip_tun.datapath.checksum import MODULUS
from sacip_tun.datapath.packet import IPV4_HEADER, IPV6_HEADER

NOT_ECT: Final = 0
ECT_1: Final = 1
ECT_0: Final = 2
CE: Final = 3

# What becomes of inner bits (rows) under outer bits (columns); None is a drop (RFC 6040 figure 4).
_COMBINED: Final = (
    # NOT_ECT, ECT_1, ECT_0, CE
    (NOT_ECT, NOT_ECT, NOT_ECT, None),
    (ECT_1, ECT_1, ECT_1, CE),
    (ECT_0, ECT_1, ECT_0, CE),
    (CE, CE, CE, CE),
)
# Outer bits that change no packet and drop none: all, in a network without congestion.
_IDLE: Final = frozenset({NOT_ECT, ECT_0})
# Pairs of inner and outer bits that no encapsulator makes, and no queue (the same figure).
_STRANGE: Final = frozenset(
    {(NOT_ECT, ECT_1), (NOT_ECT, ECT_0), (NOT_ECT, CE), (ECT_1, ECT_0), (CE, ECT_1)}
)

_WORD: Final = Struct(">H")


def traffic_class(packet: memoryview) -> int:
    """Return the DSCP and ECN bits as one byte; 0 for what is no whole IP header."""
    length = len(packet)
    version = packet[0] >> 4 if length else 0
    if version == 4 and length >= IPV4_HEADER:
        return packet[1]
    if version == 6 and length >= IPV6_HEADER:
        return (packet[0] << 4 | packet[1] >> 4) & 0xFF
    return 0


def encapsulated(packet: memoryview, dscp: int | None) -> int:
    """Return the traffic class of the outer header: the inner ECN bits behind `dscp`.

    None stands for the inner DSCP. This is the normal mode of RFC 6040 4.1.
    """
    inner = traffic_class(packet)
    return inner if dscp is None else dscp << 2 | inner & CE


def mark(packet: memoryview) -> bool:
    """Say "congested" in an IP packet or the headers of a train, in place; False if not ECT.

    `packet` begins with the IP header. The headers of a train are the pattern of all its segments.
    """
    if traffic_class(packet) & CE == NOT_ECT:
        return False
    _set(packet, CE)
    return True


def is_strange(packet: memoryview, outer: int) -> bool:
    """Tell whether somebody on the way must have changed the ECN bits against the rules."""
    return (traffic_class(packet) & CE, outer) in _STRANGE


def decapsulated(packets: list[memoryview], outer: int) -> list[memoryview]:
    """Return inner packets with the ECN bits that they have after outer ones, changed in place.

    What cannot bear the mark of the outer header is left out: the drop says it instead. What is no
    whole IP packet cannot either.
    """
    if outer in _IDLE or _all_have(packets, outer):
        return packets
    kept = []
    for packet in packets:
        inner = traffic_class(packet) & CE
        combined = _COMBINED[inner][outer]
        if combined is None:
            continue
        if combined != inner:
            _set(packet, combined)
        kept.append(packet)
    return kept


def _all_have(packets: list[memoryview], outer: int) -> bool:
    """Tell whether all have the bits `outer` (CE or ECT_1), so that the loop can be spared."""
    try:
        heads = set(map(_WORD.unpack_from, packets))
    except error:
        return False
    return all(_class_of(head) & CE == outer for (head,) in heads)


def _class_of(head: int) -> int:
    """Return the traffic class out of the first two bytes of an IP header."""
    return head & 0xFF if head >> 12 == 4 else head >> 4 & 0xFF


def _set(packet: memoryview, ecn: int) -> None:
    """Write the ECN bits of a whole IPv4 or IPv6 header."""
    if packet[0] >> 4 == 6:
        packet[1] = packet[1] & 0xCF | ecn << 4
        return
    change = ecn - (packet[1] & CE)
    packet[1] += change
    checksum = (_WORD.unpack_from(packet, 10)[0] - change) % MODULUS
    _WORD.pack_into(packet, 10, checksum)
