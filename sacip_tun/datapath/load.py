"""A load: what is sealed in one go. One train of a flow, or single packets that are alike.

Many programs send packet by packet. Packets that were read together, belong to one flow and have
one length need one look at their headers, one lookup of the peer, one leave to send and one system
call, and numpy does for all of them what is to be done for each.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from sacip_tun.datapath.codec import MAX_ALIKE, MAX_PACKET
from sacip_tun.datapath.packet import IPV4_HEADER, IPV6_HEADER, UDP, destination
from sacip_tun.datapath.tag import tag_of
from sacip_tun.datapath.vnet import GSO_NONE, VNET_HEADER

_TCP: Final = 6
_PLAIN_IPV4: Final = 0x45  # version 4 and a header of five words
_PORTS: Final = 4
# Where the IP packet begins, and where the transport header does: behind the virtio_net_hdr.
_IP: Final = VNET_HEADER
_OVER_IPV4: Final = _IP + IPV4_HEADER
_OVER_IPV6: Final = _IP + IPV6_HEADER
_MORE_OR_OFFSET: Final = 0x3F


@dataclass(slots=True)
class Load:
    """Super-packets to one inner address; more than one are plain packets, and alike.

    `flow` is their addresses, ports (of TCP and UDP) and protocol, `length` their bytes in all.
    `destination` is a packed address; empty for what is no IP packet. `since` is when it began to
    wait in the fair queue, in seconds.
    """

    flow: bytes
    destination: bytes
    packets: list[memoryview]
    length: int
    since: float = 0.0


class Glance(NamedTuple):
    """What one look at a super-packet shows; packets with one `head` and one `flow` are alike."""

    head: bytes
    flow: bytes
    destination: bytes


def plain_glance(superpacket: memoryview) -> Glance | None:
    """Look at a packet without IPv4 options and without bytes behind it; None for any other."""
    length = len(superpacket) - _IP
    if length < IPV4_HEADER + _PORTS:
        return None
    first = superpacket[_IP]
    if first == _PLAIN_IPV4 and superpacket[12] << 8 | superpacket[13] == length:
        whole = not (superpacket[16] & _MORE_OR_OFFSET or superpacket[17])
        return _glance(superpacket, 14, superpacket[19], 22, _OVER_IPV4, whole=whole)
    if first >> 4 == 6 and length == IPV6_HEADER + (superpacket[14] << 8 | superpacket[15]):
        return _glance(superpacket, 16, superpacket[16], 18, _OVER_IPV6, whole=True)
    return None


def _glance(
    superpacket: memoryview, head: int, protocol: int, addresses: int, ports: int, *, whole: bool
) -> Glance:
    with_ports = whole and protocol in {_TCP, UDP} and len(superpacket) >= ports + _PORTS
    end = ports + _PORTS if with_ports else ports
    flow = bytes(superpacket[addresses:end]) + bytes((protocol,))
    width = (ports - addresses) // 2
    return Glance(bytes(superpacket[:head]), flow, flow[width : 2 * width])


def glance(superpacket: memoryview) -> Glance:
    """Read what tells one load from another."""
    return plain_glance(superpacket) or _slow_glance(superpacket)


def _slow_glance(superpacket: memoryview) -> Glance:
    """Look at what has IPv4 options, bytes behind the packet, or is malformed."""
    packet = superpacket[VNET_HEADER:]
    # Of such packets none is like another: their own bytes are the head.
    return Glance(bytes(superpacket), tag_of(packet).flow, destination(packet) or b"")


def loads(superpackets: Iterable[memoryview]) -> list[Load]:
    """Group super-packets to loads, in order."""
    found: list[Load] = []
    before: Glance | None = None
    for superpacket in superpackets:
        seen = glance(superpacket)
        length = len(superpacket) - VNET_HEADER
        if seen == before and _has_room(found[-1], length):
            found[-1].packets.append(superpacket)
            found[-1].length += length
        else:
            found.append(Load(seen.flow, seen.destination, [superpacket], length))
        # Neither a train nor what is malformed is ever like what follows.
        before = seen if seen.destination and superpacket[1] == GSO_NONE else None
    return found


def _has_room(load: Load, length: int) -> bool:
    return len(load.packets) < MAX_ALIKE and load.length + length <= MAX_PACKET
