"""What goes beside a datagram to and from the kernel: its own end, its length and its class.

Control messages of sendmsg and recvmsg (ip(7), ipv6(7), udp(7)): IP_PKTINFO for the source of what
goes out and the destination of what comes in, UDP_SEGMENT, and IP_TOS or IPV6_TCLASS for the byte
that has the DSCP and the ECN bits.
"""

import errno
import socket
import struct
from ipaddress import ip_address

from sacip_tun.protocol.address import Endpoint

# linux/in.h, udp.h: constants that the socket module lacks.
IP_PKTINFO, UDP_SEGMENT = 8, 103
PKTINFO = {4: (socket.IPPROTO_IP, IP_PKTINFO), 6: (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO)}
TRAFFIC_CLASS = {
    4: (socket.IPPROTO_IP, socket.IP_TOS),
    6: (socket.IPPROTO_IPV6, socket.IPV6_TCLASS),
}
# What makes the kernel tell the traffic class of what comes in.
RECEIVE_TRAFFIC_CLASS = {
    4: (socket.IPPROTO_IP, socket.IP_RECVTOS),
    6: (socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS),
}
# When it came (asm-generic/socket.h): struct __kernel_timespec, seconds and nanoseconds of 64 bits.
SO_TIMESTAMPNS_NEW = 64
_TIMESPEC = struct.Struct("=qq")
# in_pktinfo or in6_pktinfo, the segment size, the traffic class and the time of one receive.
CAPACITY = socket.CMSG_SPACE(20) + 2 * socket.CMSG_SPACE(4) + socket.CMSG_SPACE(_TIMESPEC.size)

Ancillary = list[tuple[int, int, bytes]]


def outgoing(
    version: int, local: Endpoint | None, segment_size: int, traffic_class: int
) -> Ancillary:
    """Return the control messages of a send; a segment size of 0 means one datagram.

    Raises OSError (EINVAL), as the kernel would, where `local` is of the other family.
    """
    messages: Ancillary = []
    if local is not None and local.host.version != version:
        raise OSError(errno.EINVAL, f"{local.host} is no IPv{version} source")
    if local is not None:
        host = local.host.packed
        # in_pktinfo: interface, source, (destination); in6_pktinfo: source, interface.
        info = (
            struct.pack("=i4s4x", local.interface, host)
            if version == 4
            else struct.pack("=16si", host, local.interface)
        )
        messages.append((*PKTINFO[version], info))
    if segment_size:
        messages.append((socket.SOL_UDP, UDP_SEGMENT, struct.pack("=H", segment_size)))
    if traffic_class:
        messages.append((*TRAFFIC_CLASS[version], struct.pack("=i", traffic_class)))
    return messages


def destination(version: int, pktinfo: bytes, port: int) -> Endpoint:
    """Return the address of ours that a datagram came to, with our port.

    For IPv4 it is ipi_spec_dst, not the header's: that may be a broadcast address.
    """
    if version == 4:
        return Endpoint(ip_address(pktinfo[4:8]), port)
    host = ip_address(pktinfo[:16])
    (interface,) = struct.unpack("=i", pktinfo[16:20])
    return Endpoint(host, port, interface if host.is_link_local else 0)


def unix_time(timespec: bytes) -> float:
    """Return the time of a SO_TIMESTAMPNS_NEW message, in seconds since 1970."""
    seconds, nanoseconds = _TIMESPEC.unpack(timespec)
    return float(seconds + nanoseconds * 1e-9)
