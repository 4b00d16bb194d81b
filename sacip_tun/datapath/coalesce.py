"""Coalescing: received inner packets become few super-packets for the TUN.

The kernel then handles a train of TCP or UDP segments as one packet, and re-segments it where it
must be forwarded. Rules, all there so that nobody can see that packets were merged:
1. Only candidates merge (flow.py), and only where both are intact: a merged packet gets new
   checksums, which must not hide an error.
2. A segment extends only the latest chain of its connection: no overtaking.
3. It has the shape of the first one, and the next sequence number and IPv4 identification.
4. It is not longer than the first. A shorter one, or one with PSH, ends the chain.
5. At most MAX_COALESCED segments and 65,535 bytes.

Payloads are not copied: a chain is written as a list of views.
"""

from collections.abc import Sequence
from struct import Struct
from typing import Final

from sacip_tun.datapath.checksum import MODULUS, finished, word_sum
from sacip_tun.datapath.codec import MAX_COALESCED, MAX_PACKET, SuperPacket
from sacip_tun.datapath.flow import (
    ADDRESSES,
    FLAGS,
    PSH,
    TCP,
    Candidate,
    intact,
)
from sacip_tun.datapath.packet import IPV4_HEADER, IPV6_HEADER, inner_length
from sacip_tun.datapath.runs import Run, runs
from sacip_tun.datapath.vnet import (
    GSO_TCPV4,
    GSO_TCPV6,
    GSO_UDP_L4,
    NEEDS_CSUM,
    PLAIN,
    TCP_CSUM_OFFSET,
    UDP_CSUM_OFFSET,
    VNET_FORMAT,
)

_WORD: Final = Struct(">H")


class Coalescer:
    """Merges batches. Keeps nothing between two of them but the count of `malformed` packets."""

    def __init__(self) -> None:
        self.malformed = 0

    def coalesce(
        self, packets: Sequence[memoryview], *, offload: bool, udp_offload: bool = True
    ) -> list[SuperPacket]:
        """Return super-packets in the order of their first packets (see Codec.coalesce)."""
        if not offload or len(packets) == 1:
            return self._apart(packets)
        chains: list[_Chain] = []
        latest: dict[bytes, _Chain] = {}
        for run in runs(packets, udp=udp_offload):
            if not run.length:
                self.malformed += len(run.packets)
            elif not _extends(latest, run):
                chain = _Chain(run)
                chains.append(chain)
                _remember(latest, run, chain)
        return [chain.superpacket() for chain in chains]

    def _apart(self, packets: Sequence[memoryview]) -> list[SuperPacket]:
        superpackets = []
        for packet in packets:
            length = inner_length(packet)
            if length:
                superpackets.append(_alone(packet[:length]))
            else:
                self.malformed += 1
        return superpackets


class _Chain:
    """A super-packet that is being made: a first run and what extended it."""

    __slots__ = ("count", "first", "open", "packet", "parts", "push", "size", "verified")

    def __init__(self, run: Run) -> None:
        self.first = run.facts.candidate
        self.packet = run.packets[0][: run.length]
        self.verified = len(run.packets) > 1
        self.parts: list[memoryview] = []
        self.count = 0
        self.size = 0
        self.push = False
        self.open = False
        if self.first:
            self._add(run, self.first, self.first.payload)

    def extend(self, run: Run, candidate: Candidate) -> bool:
        """Take the run in, if by all rules it continues this chain."""
        first = self.first
        if not first or not self.open or not self._continued_by(candidate, first):
            return False
        payload = candidate.payload
        if (
            payload > first.payload
            or (payload < first.payload and len(run.packets) > 1)  # only one may be shorter
            or self.count + len(run.packets) > MAX_COALESCED
            or first.headers + self.size + payload * len(run.packets) > MAX_PACKET
        ):
            return False
        if not self._verify(first) or not (
            len(run.packets) > 1 or intact(run.packets[0], candidate)
        ):
            self.open = False
            return False
        self._add(run, candidate, first.payload)
        return True

    def superpacket(self) -> SuperPacket:
        """Return the chain as one write, with new headers if it has more than one packet."""
        if self.first is None or self.count == 1:
            return _alone(self.packet)
        vnet, header = _merged_header(self.packet, self.first, self.size, push=self.push)
        source, destination = _addresses(self.packet)
        return SuperPacket(source, destination, [vnet, header, *self.parts])

    def _continued_by(self, candidate: Candidate, first: Candidate) -> bool:
        if candidate.shape != first.shape or candidate.checksummed != first.checksummed:
            return False
        if first.protocol == TCP and candidate.sequence != (first.sequence + self.size) % 2**32:
            return False
        expected = (first.identification + self.count) % 2**16
        return candidate.atomic or candidate.identification == expected

    def _verify(self, first: Candidate) -> bool:
        """Verify the first packet, but only once a second one wants to join it."""
        self.verified = self.verified or intact(self.packet, first)
        return self.verified

    def _add(self, run: Run, candidate: Candidate, full: int) -> None:
        headers, length = candidate.headers, candidate.length
        self.parts += [packet[headers:length] for packet in run.packets]
        self.count += len(run.packets)
        self.size += candidate.payload * len(run.packets)
        if candidate.protocol == TCP:
            self.push = bool(run.packets[-1][candidate.transport + FLAGS] & PSH)
        self.open = candidate.payload == full and not self.push


def _extends(latest: dict[bytes, _Chain], run: Run) -> bool:
    connection, candidate = run.facts
    if connection is None or candidate is None:
        return False
    chain = latest.get(connection)
    return chain is not None and chain.extend(run, candidate)


def _remember(latest: dict[bytes, _Chain], run: Run, chain: _Chain) -> None:
    connection, candidate = run.facts
    if candidate:
        latest[candidate.connection] = chain
    elif connection:
        latest.pop(connection, None)


def _alone(packet: memoryview) -> SuperPacket:
    return SuperPacket(*_addresses(packet), [PLAIN, packet])


def _addresses(packet: memoryview) -> tuple[bytes, bytes]:
    if packet[0] >> 4 == 4:
        return bytes(packet[12:16]), bytes(packet[16:20])
    return bytes(packet[8:24]), bytes(packet[24:40])


def _merged_header(
    packet: memoryview, first: Candidate, size: int, *, push: bool
) -> tuple[bytes, bytes]:
    """Return the virtio_net_hdr and the headers of a train with `size` bytes of payload."""
    header = bytearray(packet[: first.headers])
    length, transport = first.headers + size, first.transport
    if first.version == 4:
        _WORD.pack_into(header, 2, length)
        _WORD.pack_into(header, 10, 0)
        _WORD.pack_into(header, 10, finished(word_sum(header[:IPV4_HEADER])))
    else:
        _WORD.pack_into(header, 4, length - IPV6_HEADER)
    if first.protocol == TCP:
        kind = GSO_TCPV4 if first.version == 4 else GSO_TCPV6
        offset = TCP_CSUM_OFFSET
        header[transport + FLAGS] |= PSH if push else 0
    else:
        kind, offset = GSO_UDP_L4, UDP_CSUM_OFFSET
        _WORD.pack_into(header, transport + 4, length - transport)
    addresses = word_sum(header[ADDRESSES[first.version] : transport])
    pseudo_sum = (addresses + first.protocol + length - transport) % MODULUS
    _WORD.pack_into(header, transport + offset, pseudo_sum)
    vnet = VNET_FORMAT.pack(NEEDS_CSUM, kind, first.headers, first.payload, transport, offset)
    return vnet, bytes(header)
