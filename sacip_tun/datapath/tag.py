"""The tag of an inner packet: to which flow it belongs, and where in a TCP stream it stands."""

from typing import Final

from sacip_tun.datapath.flow import FLAGS, TCP, TCP_HEADER, UDP, UDP_HEADER
from sacip_tun.datapath.packet import IPV4_HEADER, IPV6_HEADER, inner_length
from sacip_tun.protocol.hold import UNTAGGED, Tag

# FIN, SYN and RST: a segment with one of them is news even without data.
_NEWS: Final = 0x07
# More fragments, or an offset: what follows the IP header is then not a transport header.
_FRAGMENT: Final = 0x3FFF


def tag_of(packet: memoryview) -> Tag:
    """Return the tag of an IP packet, which may be a whole train of segments.

    Fragments and IPv6 extension headers are not looked through; such packets count by addresses.
    """
    length = inner_length(packet)
    if not length:
        return UNTAGGED
    if packet[0] >> 4 == 6:
        protocol, transport, addresses = packet[6], IPV6_HEADER, bytes(packet[8:40])
    else:
        protocol, transport = packet[9], (packet[0] & 0x0F) * 4
        addresses = bytes(packet[12:IPV4_HEADER])
        if (packet[6] << 8 | packet[7]) & _FRAGMENT:
            return Tag(addresses)
    least = {TCP: TCP_HEADER, UDP: UDP_HEADER}.get(protocol)
    if least is None or length < transport + least:
        return Tag(addresses)
    flow = addresses + bytes(packet[transport : transport + 4]) + bytes([protocol])
    return Tag(flow) if protocol == UDP else _tcp_tag(flow, packet, transport, length)


def _tcp_tag(flow: bytes, packet: memoryview, transport: int, length: int) -> Tag:
    sequence = int.from_bytes(packet[transport + 4 : transport + 8], "big")
    data = length - transport - (packet[transport + 12] >> 4) * 4
    news = bool(packet[transport + FLAGS] & _NEWS)
    return Tag(flow, sequence, max(data, 0) + news)
