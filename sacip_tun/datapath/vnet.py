"""The virtio_net_hdr: what the kernel and a device tell each other about offloads.

    0  flags        u8   NEEDS_CSUM: the checksum is still to be finished
    1  gso_type     u8   kind of the train, or NONE for one packet
    2  hdr_len      u16  bytes of all headers; a hint, not to be trusted on reading
    4  gso_size     u16  payload bytes of every segment but the last
    6  csum_start   u16  first byte that the checksum covers, counted from the IP header
    8  csum_offset  u16  place of the checksum, counted from csum_start

Native byte order (a TUN is a legacy device). Source: linux/virtio_net.h, virtio 1.2 section 5.1.6.
With NEEDS_CSUM the checksum field holds the sum of the pseudo-header, not inverted.
"""

from struct import Struct
from typing import Final

VNET_FORMAT: Final = Struct("=BBHHHH")
VNET_HEADER: Final = VNET_FORMAT.size
# "One packet, nothing left to do."
PLAIN: Final = bytes(VNET_HEADER)

NEEDS_CSUM: Final = 1
RSC_INFO: Final = 4

GSO_NONE: Final = 0
GSO_TCPV4: Final = 1
GSO_TCPV6: Final = 4
GSO_UDP_L4: Final = 5
GSO_ECN: Final = 0x80

TCP_CSUM_OFFSET: Final = 16
UDP_CSUM_OFFSET: Final = 6


def checksum_end(superpacket: memoryview) -> int:
    """Return where the checksum that is to be finished ends, from the IP header on; 0 for none."""
    flags, _, _, _, start, offset = VNET_FORMAT.unpack_from(superpacket)
    return start + offset + 2 if flags & NEEDS_CSUM else 0
