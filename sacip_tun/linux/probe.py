"""What this kernel makes of offloads, tried before any traffic: on loopback and on our own TUN.

1. UDP_SEGMENT: a run of equal datagrams over loopback, between two sockets of our own. Some kernels
   send a wrong run without a word of it, so the bytes are compared.
2. The TUN: one merged packet of each kind, while the interface is still down. The kernel reads the
   virtio_net_hdr before it looks at the interface (Linux 5.1): EINVAL for what it cannot take, EIO
   for what it could, and either way no packet goes anywhere. The last segment is the shorter one,
   since Linux 6.6.44 refuses just those (tailscale#13041). Should the interface be up after all,
   nobody forwards what has a TTL of 0.

Nothing is concluded from what did not arrive, or from a host without loopback.
"""

import errno
import os
import select
import socket
import struct

from sacip_tun.linux.ancillary import UDP_SEGMENT
from sacip_tun.linux.tun import VIRTIO_NET_HDR_GSO_UDP_L4, Tun

LOOPBACK = {4: (socket.AF_INET, "127.0.0.1"), 6: (socket.AF_INET6, "::1")}
# As many datagrams, of as many bytes; all have one length, which is where kernels went wrong
# (torvalds/linux b10b446, in 7.0).
COUNT, SIZE = 8, 1024
# How long loopback may take, in milliseconds; it takes none, as it is one call into the kernel.
PATIENCE = 20

NEEDS_CSUM = 1
TCP, UDP = 6, 17
# Payload of a segment, and of two of which the second is shorter.
SEGMENT, PAYLOAD = 8, bytes(12)
# virtio_net_hdr, fields as in datapath/vnet.py.
VNET = struct.Struct("=BBHHHH")
HEADERS = {
    TCP: struct.pack("!8xIBBHHH", 0, 0x50, 0x10, 0, 0, 0),  # no options, ACK
    UDP: struct.pack("!4xHH", 8 + len(PAYLOAD), 0),
}
CSUM_OFFSETS = {TCP: 16, UDP: 6}
VIRTIO_NET_HDR_GSO_TCPV4, VIRTIO_NET_HDR_GSO_TCPV6 = 1, 4


def corrupts_runs(version: int) -> bool:
    """Tell whether datagrams of one UDP_SEGMENT call arrive otherwise than they were sent.

    `version` is 4 or 6. False also where that cannot be found out.
    """
    family, host = LOOPBACK[version]
    sent = [os.urandom(SIZE) for _ in range(COUNT)]
    kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
    try:
        with socket.socket(family, kind) as sender, socket.socket(family, kind) as receiver:
            for sock in (sender, receiver):
                sock.bind((host, 0))
            receiver.connect(sender.getsockname())  # nobody else's datagrams
            segment = (socket.SOL_UDP, UDP_SEGMENT, struct.pack("=H", SIZE))
            sender.sendmsg((b"".join(sent),), (segment,), 0, receiver.getsockname())
            arrived = _arrived(receiver)
    except OSError:
        return False
    return any(datagram not in sent for datagram in arrived)


def _arrived(receiver: socket.socket) -> list[bytes]:
    """Return COUNT datagrams, or as many as come."""
    poll = select.poll()
    poll.register(receiver, select.POLLIN)
    arrived: list[bytes] = []
    while len(arrived) < COUNT and poll.poll(PATIENCE):
        arrived.append(receiver.recv(COUNT * SIZE + 1))
    return arrived


def try_merged(tun: Tun) -> None:
    """Write one merged packet of each kind, and let what the kernel refuses rest (Tun.refused)."""
    kinds = [(VIRTIO_NET_HDR_GSO_TCPV4, 4, TCP), (VIRTIO_NET_HDR_GSO_TCPV6, 6, TCP)]
    kinds += [(VIRTIO_NET_HDR_GSO_UDP_L4, version, UDP) for version in LOOPBACK]
    for gso_type, version, protocol in kinds:
        used = tun.udp_offload if protocol == UDP else tun.offload
        if used and _is_refused(tun, _merged(gso_type, version, protocol)):
            tun.refused(gso_type)


def _is_refused(tun: Tun, parts: list[bytes]) -> bool:
    try:
        tun.write(parts)
    except OSError as error:
        return error.errno == errno.EINVAL
    return False


def _merged(gso_type: int, version: int, protocol: int) -> list[bytes]:
    """Return two segments to nowhere as one super-packet, its checksum left to be finished."""
    transport = HEADERS[protocol] + PAYLOAD
    if version == 4:
        network = struct.pack("!BBHHHBBH8x", 0x45, 0, 20 + len(transport), 0, 0, 0, protocol, 0)
    else:
        network = struct.pack("!IHBB32x", 6 << 28, len(transport), protocol, 0)
    start = len(network)
    headers = start + len(HEADERS[protocol])
    vnet = VNET.pack(NEEDS_CSUM, gso_type, headers, SEGMENT, start, CSUM_OFFSETS[protocol])
    return [vnet, network, transport]
