"""Segmentation: one super-packet from the TUN becomes a train of complete IP packets.

What the kernel leaves to the device (Documentation/networking/segmentation-offloads.rst):
1. Every segment has the headers of the super-packet and `gso_size` bytes of payload, the last what
   is left.
2. IP length; IPv4 identification + i; IPv4 header checksum.
3. TCP sequence + i * gso_size; FIN and PSH only on the last segment, CWR only on the first.
4. UDP length.
5. The TCP or UDP checksum. The field holds the pseudo-header's sum with the length of the whole
   train; as the kernel's own segmentation does, we exchange that length and add the rest.

A packet that is no train is copied, and its checksum finished where the kernel asks for it.

The train is laid out in an arena with one row a segment, so that each step above is one numpy
operation over a column, whatever the number of segments.
"""

from collections.abc import Sequence
from functools import lru_cache
from struct import Struct
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sacip_tun.datapath.checksum import MODULUS, finished, finished_rows, row_sums, word_sum
from sacip_tun.datapath.codec import MAX_HEADERS, MAX_PACKET, MAX_SEGMENTS
from sacip_tun.datapath.packet import IPV4_HEADER, IPV6_HEADER, inner_length
from sacip_tun.datapath.views import Views
from sacip_tun.datapath.vnet import (
    GSO_ECN,
    GSO_NONE,
    GSO_TCPV4,
    GSO_TCPV6,
    GSO_UDP_L4,
    NEEDS_CSUM,
    RSC_INFO,
    TCP_CSUM_OFFSET,
    UDP_CSUM_OFFSET,
    VNET_FORMAT,
    VNET_HEADER,
    checksum_end,
)
from sacip_tun.protocol.messages import PADDING, padded_length

_TCP: Final = 6
_UDP: Final = 17
_UDP_HEADER: Final = 8
_FIN_PSH: Final = 0x09
_CWR: Final = 0x80

_WORD: Final = Struct(">H")
_NUMBERS: Final = np.arange(MAX_SEGMENTS, dtype=np.uint32)
_PAD: Final = bytes(PADDING)

# Rows are full segments, also the last, and start at multiples of 16 bytes.
_ARENA: Final = 2 * MAX_PACKET + MAX_SEGMENTS * (MAX_HEADERS + PADDING)

# The columns that differ between segments.
_IPV4: Final = np.dtype(
    {"names": ["length", "id", "checksum"], "formats": [">u2"] * 3, "offsets": [2, 4, 10]}
)
_IPV6: Final = np.dtype({"names": ["length"], "formats": [">u2"], "offsets": [4]})
_TCP_FIELDS: Final = np.dtype(
    {
        "names": ["sequence", "flags", "checksum"],
        "formats": [">u4", "u1", ">u2"],
        "offsets": [4, 13, TCP_CSUM_OFFSET],
    }
)
_CHECKSUM: Final = np.dtype({"names": ["checksum"], "formats": [">u2"], "offsets": [0]})
_UDP_FIELDS: Final = np.dtype(
    {"names": ["length", "checksum"], "formats": [">u2"] * 2, "offsets": [4, UDP_CSUM_OFFSET]}
)


class Train(NamedTuple):
    """What a super-packet is made of; lengths in bytes.

    `transport` is where TCP or UDP begins, `headers` where the payload does. Both are 0 for a
    packet that is no train: it is one segment, `size` is its length, and there is no `protocol`.
    """

    version: int
    protocol: int
    transport: int
    headers: int
    size: int
    last: int
    segments: int

    @property
    def full(self) -> int:
        """Length of every segment but the last."""
        return self.headers + self.size

    @property
    def tail(self) -> int:
        """Length of the last segment."""
        return self.headers + self.last


# (gso_type, IP version, csum_offset) of the trains that we asked the kernel for.
_PROTOCOLS: Final = {
    (GSO_TCPV4, 4, TCP_CSUM_OFFSET): _TCP,
    (GSO_TCPV6, 6, TCP_CSUM_OFFSET): _TCP,
    (GSO_UDP_L4, 4, UDP_CSUM_OFFSET): _UDP,
    (GSO_UDP_L4, 6, UDP_CSUM_OFFSET): _UDP,
}


def parse(superpacket: memoryview) -> Train | None:
    """Read a super-packet with every length checked. None if it is malformed or unknown."""
    if not VNET_HEADER < len(superpacket) <= VNET_HEADER + MAX_PACKET:
        return None
    flags, gso_type, _, size, start, offset = VNET_FORMAT.unpack_from(superpacket)
    packet = superpacket[VNET_HEADER:]
    if gso_type == GSO_NONE:
        return _parse_single(packet, checksum_end(superpacket))
    version = packet[0] >> 4
    protocol = _PROTOCOLS.get((gso_type & ~GSO_ECN, version, offset))
    if protocol is None or not flags & NEEDS_CSUM or flags & RSC_INFO or not size:
        return None
    return _parse_train(packet, protocol, start, size)


def _parse_single(packet: memoryview, checksum_end: int) -> Train | None:
    length = inner_length(packet)
    if not length or checksum_end > length:
        return None
    return Train(packet[0] >> 4, 0, 0, 0, length, length, 1)


def _parse_train(packet: memoryview, protocol: int, transport: int, size: int) -> Train | None:
    headers = _headers(packet, protocol, transport)
    payload = len(packet) - headers
    if not headers or headers > MAX_HEADERS or payload <= 0:
        return None
    count = -(-payload // size)
    if count > MAX_SEGMENTS:
        return None
    last = payload - (count - 1) * size
    return Train(packet[0] >> 4, protocol, transport, headers, min(size, payload), last, count)


def _headers(packet: memoryview, protocol: int, transport: int) -> int:
    """Return where the payload begins, by the headers themselves; 0 if they are malformed."""
    if len(packet) < transport + (20 if protocol == _TCP else _UDP_HEADER):
        return 0
    if packet[0] >> 4 == 4:
        good = transport == (packet[0] & 0x0F) * 4 >= IPV4_HEADER and packet[9] == protocol
    else:  # behind extension headers, the kernel knows the protocol
        good = transport > IPV6_HEADER or (transport == IPV6_HEADER and packet[6] == protocol)
    if not good:
        return 0
    if protocol == _UDP:
        return transport + _UDP_HEADER
    offset = (packet[transport + 12] >> 4) * 4
    return transport + offset if offset >= 20 else 0


class Segmenter:
    """Lays the segments of one super-packet out in an arena of its own."""

    def __init__(self) -> None:
        self._arena = np.zeros(_ARENA, np.uint8)
        self._view = memoryview(self._arena.data)
        self._views = Views(self._view)

    def segment(self, superpacket: memoryview, train: Train, mtu: int) -> list[memoryview]:
        """Return the segments, each padded with zeros as `padded_length` says for `mtu`.

        All have one length but the last, which may be shorter. Valid until the next call.
        """
        tail = padded_length(train.tail, mtu)
        if not train.protocol:
            return [self.single(superpacket, train.size, tail)]
        width = padded_length(train.full, mtu)
        stride = padded_length(width)
        rows = self._arena[: train.segments * stride].reshape(train.segments, stride)
        _spread(np.frombuffer(superpacket, np.uint8, offset=VNET_HEADER), train, rows)
        _stamp(superpacket[VNET_HEADER:], train, rows)
        return self._views.cut(train.segments, stride, width, tail)

    def pad_alike(self, packets: Sequence[memoryview], length: int, mtu: int) -> list[memoryview]:
        """Return single packets of one `length`, finished and padded. Valid until the next call.

        All have the virtio_net_hdr of the first.
        """
        width = padded_length(length, mtu)
        stride = padded_length(width)
        rows = self._arena[: len(packets) * stride].reshape(len(packets), stride)
        together = np.frombuffer(b"".join(packets), np.uint8).reshape(len(packets), -1)
        rows[:, :length] = together[:, VNET_HEADER : VNET_HEADER + length]
        rows[:, length:] = 0
        _finish(rows, length, packets[0])
        return self._views.cut(len(packets), stride, width, width)

    def single(self, superpacket: memoryview, length: int, width: int) -> memoryview:
        """Return a packet of `length` bytes, finished and padded. Valid until the next call."""
        packet = self._view[:width]
        packet[:length] = superpacket[VNET_HEADER : VNET_HEADER + length]
        packet[length:] = _PAD[: width - length]
        if superpacket[0] & NEEDS_CSUM:
            _, _, _, _, start, offset = VNET_FORMAT.unpack_from(superpacket)
            checksum = finished(word_sum(packet[start:length]))
            if offset == UDP_CSUM_OFFSET:  # 0 says "no checksum" there (RFC 768)
                checksum = checksum or MODULUS
            _WORD.pack_into(packet, start + offset, checksum)
        return packet


def _finish(rows: NDArray[np.uint8], length: int, vnet: memoryview) -> None:
    """Finish the checksums of packets of one `length`, one a row, where they were left to us."""
    flags, _, _, _, start, offset = VNET_FORMAT.unpack_from(vnet)
    if flags & NEEDS_CSUM:
        checksums = finished_rows(row_sums(rows[:, start:length]))
        if offset == UDP_CSUM_OFFSET:
            checksums[checksums == 0] = MODULUS  # 0 says "no checksum" there (RFC 768)
        _columns(rows, _CHECKSUM, start + offset)["checksum"] = checksums


def _spread(packet: NDArray[np.uint8], train: Train, rows: NDArray[np.uint8]) -> None:
    """Copy the headers to every row and the payload behind them, zeros behind that."""
    headers, size, whole = train.headers, train.size, train.segments - 1
    split = headers + whole * size
    rows[:, :headers] = packet[:headers]
    rows[:whole, headers : train.full] = packet[headers:split].reshape(whole, size)
    rows[:, train.full :] = 0
    rows[whole, headers : train.tail] = packet[split:]
    rows[whole, train.tail :] = 0


def _stamp(packet: memoryview, train: Train, rows: NDArray[np.uint8]) -> None:
    """Make every row the header of its own segment."""
    lengths, behind_ip, steps = _counted(train)
    if train.version == 4:
        _stamp_ipv4(packet[: train.transport], _columns(rows, _IPV4), lengths)
    else:
        _columns(rows, _IPV6)["length"] = lengths - IPV6_HEADER
    if train.protocol == _TCP:
        columns = _columns(rows, _TCP_FIELDS, train.transport)
        _stamp_tcp(packet[train.transport :], columns, steps)
    else:
        columns = _columns(rows, _UDP_FIELDS, train.transport)
        columns["length"] = behind_ip
    whole_train = np.uint32(MODULUS - (len(packet) - train.transport) % MODULUS)
    checksums = finished_rows(row_sums(rows[:, train.transport :]) + behind_ip + whole_train)
    if train.protocol == _UDP:
        checksums[checksums == 0] = MODULUS  # 0 says "no checksum" there (RFC 768)
    columns["checksum"] = checksums


@lru_cache(maxsize=32)
def _counted(train: Train) -> tuple[NDArray[np.uint32], NDArray[np.uint32], NDArray[np.uint32]]:
    """Return of each segment its length, that behind the IP header, and where its payload was.

    Trains of a flow have one shape, so it is remembered.
    """
    lengths = np.full(train.segments, train.full, np.uint32)
    lengths[-1] = train.tail
    steps = np.arange(train.segments, dtype=np.uint32) * np.uint32(train.size)
    behind_ip = lengths - np.uint32(train.transport)
    for counted in (lengths, behind_ip, steps):
        counted.setflags(write=False)
    return lengths, behind_ip, steps


def _stamp_ipv4(header: memoryview, columns: NDArray[np.void], lengths: NDArray[np.uint32]) -> None:
    length, identification, checksum = (_WORD.unpack_from(header, at)[0] for at in (2, 4, 10))
    rest = (word_sum(header) - length - identification - checksum) % MODULUS
    identifications = _NUMBERS[: len(lengths)] + np.uint32(identification)
    if identification + len(lengths) > MODULUS:
        identifications &= 0xFFFF
    columns["length"] = lengths
    columns["id"] = identifications
    columns["checksum"] = finished_rows(lengths + identifications + np.uint32(rest))


def _stamp_tcp(header: memoryview, columns: NDArray[np.void], steps: NDArray[np.uint32]) -> None:
    columns["sequence"] = np.uint32(int.from_bytes(header[4:8], "big")) + steps
    if header[13] & _FIN_PSH:
        columns["flags"][:-1] &= ~_FIN_PSH & 0xFF
    if header[13] & _CWR:
        columns["flags"][1:] &= ~_CWR & 0xFF


def _columns(rows: NDArray[np.uint8], fields: np.dtype[np.void], at: int = 0) -> NDArray[np.void]:
    """Return the named fields of every row, `at` bytes from where it begins."""
    return np.ndarray((len(rows),), fields, rows, at, rows.strides[:1])
