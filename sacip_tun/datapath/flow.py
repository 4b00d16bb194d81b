"""What must be known of one inner packet before it may be merged with others.

A packet is a *candidate* if it is plain data of a TCP or UDP flow, such as the kernel would make
by segmenting a train:
1. IPv4 without options and not a fragment, or IPv6 without extension headers.
2. TCP with payload and the flags ACK, perhaps PSH and ECE, and no other.
3. UDP with payload and the right length. A checksum of 0 is "none" in IPv4, an error in IPv6.

Candidates that may follow each other have one `shape`: the bytes of their headers, without those
that differ between the segments of a train.
"""

from functools import lru_cache
from typing import Final, NamedTuple

from sacip_tun.datapath.checksum import MODULUS, word_sum
from sacip_tun.datapath.packet import IPV4_HEADER, IPV6_HEADER

TCP: Final = 6
UDP: Final = 17
TCP_HEADER: Final = 20
UDP_HEADER: Final = 8
FLAGS: Final = 13  # place in the TCP header
PSH: Final = 0x08
_ACK: Final = 0x10
_ECE: Final = 0x40

_PLAIN_IPV4: Final = 0x45  # version 4 and a header of five words
_DONT_FRAGMENT: Final = 0x40

# Where the addresses begin: with the transport header they are one stretch of bytes, and nearly
# all that a checksum covers.
ADDRESSES: Final = {4: 12, 6: 8}

# 255 for the bytes that are the same in every segment of a train (RFC 791, 8200, 9293, 768).
_SAME_IP: Final = {
    4: bytes.fromhex("ffff 0000 0000 ffff ffff 0000 ffffffff ffffffff"),  # not length, id, checksum
    6: bytes.fromhex("ffffffff 0000 ffff" + "ff" * 32),  # not length
}
_SAME_TRANSPORT: Final = {
    TCP: bytes.fromhex("ffffffff 00000000 ffffffff fff7 ffff 0000 ffff"),  # not seq, PSH, checksum
    UDP: bytes.fromhex("ffffffff 0000 0000"),  # not length, checksum
}


class Candidate(NamedTuple):
    """A packet that may be merged. Lengths in bytes.

    `transport` is where TCP or UDP begins, `headers` where the payload does, `length` where it
    ends. `identification` must count up, unless the packet is `atomic` (RFC 6864: DF, or IPv6).
    """

    connection: bytes
    shape: int
    version: int
    protocol: int
    transport: int
    headers: int
    length: int
    sequence: int
    identification: int
    atomic: bool
    push: bool
    checksummed: bool

    @property
    def payload(self) -> int:
        """Length of the payload."""
        return self.length - self.headers


class Facts(NamedTuple):
    """A packet's connection and candidacy.

    With neither it may be overtaken. With a connection alone it may not: it ends what was being
    merged there.
    """

    connection: bytes | None
    candidate: Candidate | None


_INDIFFERENT: Final = Facts(None, None)


def examine(packet: memoryview, length: int) -> Facts:
    """Read a packet whose `inner_length` is `length`; the header is not touched."""
    if packet[0] >> 4 == 6:
        protocol, transport = packet[6], IPV6_HEADER
    elif packet[0] != _PLAIN_IPV4 or packet[6] & ~_DONT_FRAGMENT or packet[7]:
        return _INDIFFERENT
    else:
        protocol, transport = packet[9], IPV4_HEADER
    if protocol == TCP and length >= transport + TCP_HEADER:
        return _examine_tcp(packet, transport, length)
    if protocol == UDP and length >= transport + UDP_HEADER:
        return _examine_udp(packet, transport, length)
    return _INDIFFERENT


def intact(packet: memoryview, candidate: Candidate) -> bool:
    """Verify the checksums of IPv4 and of TCP or UDP."""
    if candidate.version == 4 and word_sum(packet[:IPV4_HEADER]):
        return False
    if not candidate.checksummed:
        return True
    total = word_sum(packet[ADDRESSES[candidate.version] : candidate.length])
    return (total + pseudo_header(candidate)) % MODULUS == 0


def pseudo_header(candidate: Candidate) -> int:
    """Return the sum of the pseudo-header's words, without the addresses."""
    return candidate.protocol + candidate.length - candidate.transport


@lru_cache(maxsize=256)
def same_bytes(version: int, protocol: int, headers: int) -> bytes:
    """Return `headers` bytes: 255 where the segments of a train agree, 0 where they may differ.

    TCP options are compared whole.
    """
    return (_SAME_IP[version] + _SAME_TRANSPORT[protocol]).ljust(headers, b"\xff")


@lru_cache(maxsize=256)
def _same_number(version: int, protocol: int, headers: int) -> int:
    return int.from_bytes(same_bytes(version, protocol, headers), "big")


def _examine_tcp(packet: memoryview, transport: int, length: int) -> Facts:
    headers = transport + (packet[transport + 12] >> 4) * 4
    connection = _connection(packet, transport)
    if not transport + TCP_HEADER <= headers <= length:
        return Facts(connection, None)
    flags = packet[transport + FLAGS]
    if flags & ~(PSH | _ECE) != _ACK:
        return Facts(connection, None)
    if headers == length:
        return _INDIFFERENT
    sequence = int.from_bytes(packet[transport + 4 : transport + 8], "big")
    return Facts(connection, _candidate(packet, TCP, headers, length, sequence, connection))


def _examine_udp(packet: memoryview, transport: int, length: int) -> Facts:
    connection = _connection(packet, transport)
    headers = transport + UDP_HEADER
    claimed = packet[transport + 4] << 8 | packet[transport + 5]
    if headers == length or claimed != length - transport:
        return Facts(connection, None)
    candidate = _candidate(packet, UDP, headers, length, 0, connection)
    if candidate.version == 6 and not candidate.checksummed:
        return Facts(connection, None)
    return Facts(connection, candidate)


def _connection(packet: memoryview, transport: int) -> bytes:
    """Return addresses, ports and protocol."""
    if transport == IPV4_HEADER:
        return bytes(packet[12:24]) + bytes(packet[9:10])
    return bytes(packet[8:44]) + bytes(packet[6:7])


def _candidate(
    packet: memoryview, protocol: int, headers: int, length: int, sequence: int, connection: bytes
) -> Candidate:
    version = packet[0] >> 4
    same = _same_number(version, protocol, headers)
    shape = int.from_bytes(packet[:headers], "big") & same
    if version == 4:
        transport, identification = IPV4_HEADER, packet[4] << 8 | packet[5]
        atomic = bool(packet[6] & _DONT_FRAGMENT)
    else:
        transport, identification, atomic = IPV6_HEADER, 0, True
    push, checksummed = False, True
    if protocol == TCP:
        push = bool(packet[transport + FLAGS] & PSH)
    else:
        checksummed = bool(packet[transport + 6] | packet[transport + 7])
    return Candidate(
        connection,
        shape,
        version,
        protocol,
        transport,
        headers,
        length,
        sequence,
        identification,
        atomic,
        push,
        checksummed,
    )
