"""The seam: what the daemon asks of a codec, and nothing of how it is done.

A *super-packet* is what a TUN with IFF_VNET_HDR gives and takes: a virtio_net_hdr of 10 bytes and
one IP packet of up to 65,535 bytes, which may be a whole train of TCP or UDP segments.

    out: super-packet -> seal -> datagrams back to back -> sendmsg with UDP_SEGMENT
    in:  recvmsg with UDP_GRO -> open -> inner packets -> coalesce -> super-packets -> writev

Rules of every codec:
1. Hostile bytes never raise. What cannot be opened is counted or handed back.
2. A codec knows keys and counters. It does not know peers, and it checks no replay: the caller
   does, between `open` and `coalesce`, and takes control frames out there too.
3. Views that a codec returns are valid until the next call of the same method, or until the
   caller changes the buffer that it passed in.
4. A codec is for one thread.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

# Bytes of one IP packet (its length field has 16 bits), and of one read from a UDP socket.
MAX_PACKET: Final = 65_535

# Bytes of datagrams that are opened together: the more, the less each costs.
OPEN_CAPACITY: Final = 4 * MAX_PACKET

# Segments of one super-packet. 64 KB at the smallest MSS in real use (RFC 879: 536) are 122; beyond
# 1,024 the segments are smaller than 64 bytes, which only a forged header asks for.
MAX_SEGMENTS: Final = 1_024

# Headers of a segment, IP with TCP options: 40 or 60 bytes each, and room for IPv6 extensions.
MAX_HEADERS: Final = 120

# Single packets that are sealed as one batch: what UDP_SEGMENT sends in one call before Linux 6.9.
MAX_ALIKE: Final = 64

# Room that a segment may take in `out` beyond its share of the super-packet: WireGuard's header and
# tag (32), padding (15) and a copy of the inner headers.
SEGMENT_OVERHEAD: Final = 32 + 15 + MAX_HEADERS

# Room that `seal` may need in `out`, for any super-packet. The exact need is
# `len(superpacket) + segments(superpacket) * SEGMENT_OVERHEAD`.
SEAL_CAPACITY: Final = MAX_PACKET + MAX_SEGMENTS * SEGMENT_OVERHEAD


@dataclass(slots=True)
class Sealed:
    """A run of WireGuard data messages (type 4) at the start of `out`.

    All `count` datagrams are `segment_size` bytes long, but the last may be shorter; `length` is
    the sum. This is the shape that UDP_SEGMENT sends with one system call. All three are 0 for a
    super-packet that is malformed.
    """

    segment_size: int
    count: int
    length: int


class Opened(NamedTuple):
    """Consecutive datagrams of one received buffer that have the same receiver index.

    `packets[i]` is the plaintext of the message with `counters[i]`: an inner packet still padded, a
    control frame, or nothing at all (a keepalive). `failed` datagrams did not authenticate and are
    in neither list.

    Where `receiver` is None, the datagrams were not for an open session: too short, another type
    than 4, or an index that is not in the keyring. They stand in `packets` as they came, for the
    tunnel to answer or to count; `counters` is empty.
    """

    receiver: int | None
    counters: list[int]
    packets: list[memoryview]
    failed: int


class SuperPacket(NamedTuple):
    """One write to the TUN, and the inner addresses that it claims.

    `source` and `destination` are packed, 4 or 16 bytes, and the same for every packet in it: one
    check against the allowed addresses covers all. `parts` are for `os.writev`, at most
    `COALESCED_PARTS` of them; the first is the virtio_net_hdr, all zero unless packets were merged.
    """

    source: bytes
    destination: bytes
    parts: list[bytes | memoryview]


# TCP and UDP packets in one merged super-packet; the kernel's UDP limit before Linux 6.9 (64).
MAX_COALESCED: Final = 64
COALESCED_PARTS: Final = 2 + MAX_COALESCED


class Codec(Protocol):
    """Batch calls over buffers, never one call a packet."""

    @property
    def malformed(self) -> int:
        """Inner packets that `coalesce` dropped since the codec was made (Drop.BAD_INNER)."""

    def segments(self, superpacket: memoryview) -> int:
        """Return how many counters `seal` will use for this super-packet, 0 if it is malformed.

        `superpacket` starts at the virtio_net_hdr and ends where the IP packet ends.
        """

    def seal(
        self,
        superpacket: memoryview,
        cipher: ChaCha20Poly1305,
        receiver: int,
        first_counter: int,
        mtu: int,
        out: memoryview,
    ) -> Sealed:
        """Segment a super-packet and seal every segment into `out`, with consecutive counters.

        `receiver` is the index of the remote session. Each segment is padded with zeros to a
        multiple of 16 bytes, but not beyond `mtu`, the inner MTU in bytes (WireGuard 5.4.6); a
        segment that is larger than `mtu` is sealed as it is. Checksums that the kernel left to the
        device are finished.

        `out` needs `len(superpacket) + segments(superpacket) * SEGMENT_OVERHEAD` bytes, never more
        than SEAL_CAPACITY, and may be dirty; bytes behind `length` may be overwritten.
        """

    def seal_single(
        self,
        superpacket: memoryview,
        cipher: ChaCha20Poly1305,
        receiver: int,
        counter: int,
        mtu: int,
        out: memoryview,
    ) -> int:
        """Seal a packet that `plain_glance` (load.py) knows as plain; return the datagram's length.

        As `seal`, without what a train needs: this is what a keystroke waits for. Returns 0 where
        the checksum is asked for outside of the packet.
        """

    def seal_alike(
        self,
        packets: Sequence[memoryview],
        cipher: ChaCha20Poly1305,
        receiver: int,
        first_counter: int,
        mtu: int,
        out: memoryview,
    ) -> Sealed:
        """Seal single packets, each behind its virtio_net_hdr, as `seal` would one by one.

        They must be alike: one length, MAX_PACKET bytes in all, and the same virtio_net_hdr, IP
        version and length field; load.py groups them. At most MAX_ALIKE. `out` as for `seal`.
        """

    def open(
        self, buffer: memoryview, segment_size: int, keyring: Mapping[int, ChaCha20Poly1305]
    ) -> list[Opened]:
        """Open the datagrams in `buffer`, `segment_size` bytes each but the last.

        `buffer` has at most OPEN_CAPACITY bytes. A `segment_size` of 0, or not less than that,
        means one datagram. `keyring` holds the receiving key of each local session index.

        The plaintexts lie in an arena of the codec: valid until the next `open`.
        """

    def open_single(
        self, datagram: memoryview, keyring: Mapping[int, ChaCha20Poly1305]
    ) -> tuple[int, int, memoryview] | None:
        """Open one datagram; return receiver, counter and plaintext as `open` does.

        None where it did not authenticate or is not for an open session: `open` says which.
        """

    def coalesce(
        self, packets: Sequence[memoryview], *, offload: bool, udp_offload: bool = True
    ) -> list[SuperPacket]:
        """Merge inner packets, in the order in which they were sent, into few super-packets.

        Padding is cut off by the length in the IP header. A packet is merged only with the packets
        of its connection, and only if the kernel would rebuild exactly that packet by segmenting;
        all checksums of merged packets are verified. Nothing overtakes within a connection, except
        that data may overtake a pure acknowledgement. Without `offload` nothing is merged, without
        `udp_offload` no UDP (kernels before Linux 6.2 refuse merged UDP).

        A wrong version or length drops the packet and adds to `malformed`.
        """
