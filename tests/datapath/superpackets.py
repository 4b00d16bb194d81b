"""Super-packets for tests, made with scapy and not with the code under test."""

import struct
from dataclasses import dataclass, replace
from typing import Any

from scapy.layers.inet import IP, TCP, UDP, in4_pseudoheader
from scapy.layers.inet6 import IPv6, in6_pseudoheader
from scapy.packet import Raw
from scapy.utils import checksum

VNET = struct.Struct("=BBHHHH")
SOURCE = {4: "10.7.0.1", 6: "fd07::1"}
DESTINATION = {4: "10.7.0.2", 6: "fd07::2"}
GSO_TYPES = {(4, "tcp"): 1, (6, "tcp"): 4, (4, "udp"): 5, (6, "udp"): 5}
TIMESTAMP = [("NOP", None), ("NOP", None), ("Timestamp", (123456, 654321))]


@dataclass(frozen=True)
class Flow:
    """A connection and the header of its next packet."""

    version: int = 4
    protocol: str = "tcp"
    ports: tuple[int, int] = (40000, 443)
    sequence: int = 0xFFFF_F000  # wraps early
    identification: int = 0xFFF0
    flags: str = "A"
    dont_fragment: bool = True
    ecn: int = 0
    options: tuple[Any, ...] = tuple(TIMESTAMP)

    @property
    def transport(self) -> int:
        return 20 if self.version == 4 else 40

    @property
    def headers(self) -> int:
        return len(self.packet(b""))

    def packet(self, payload: bytes) -> bytes:
        """Return one complete packet; scapy computes lengths and checksums."""
        return bytes(self._inner() / self._transport() / Raw(payload))

    def superpacket(self, payload: bytes, size: int) -> memoryview:
        """Return what the TUN gives for a train with `size` bytes of payload a segment."""
        packet = self._with_pseudo_sum(self.packet(payload))
        offset = 16 if self.protocol == "tcp" else 6
        gso_type = GSO_TYPES[self.version, self.protocol]
        vnet = VNET.pack(1, gso_type, self.headers, size, self.transport, offset)
        return memoryview(vnet + packet)

    def single(self, payload: bytes, *, needs_checksum: bool) -> memoryview:
        """Return what the TUN gives for one packet."""
        packet = self.packet(payload)
        if not needs_checksum:
            return memoryview(bytes(10) + packet)
        offset = 16 if self.protocol == "tcp" else 6
        vnet = VNET.pack(1, 0, 0, 0, self.transport, offset)
        return memoryview(vnet + self._with_pseudo_sum(packet))

    def segments(self, payload: bytes, size: int) -> list[bytes]:
        """Return what the wire must see of such a train: the oracle, one packet at a time."""
        pieces = [payload[at : at + size] for at in range(0, len(payload), size)]
        return [
            replace(
                self,
                sequence=(self.sequence + at * size) % 2**32,
                identification=(self.identification + at) % 2**16,
                flags=self._flags(first=at == 0, last=at == len(pieces) - 1),
            ).packet(piece)
            for at, piece in enumerate(pieces)
        ]

    def _flags(self, *, first: bool, last: bool) -> str:
        only_last, only_first = set("FP"), set("C")
        return "".join(
            flag
            for flag in self.flags
            if (last or flag not in only_last) and (first or flag not in only_first)
        )

    def _inner(self) -> Any:
        if self.version == 4:
            return IP(
                src=SOURCE[4],
                dst=DESTINATION[4],
                id=self.identification,
                flags="DF" if self.dont_fragment else 0,
                tos=self.ecn,
            )
        return IPv6(src=SOURCE[6], dst=DESTINATION[6], tc=self.ecn, fl=0x12345)

    def _transport(self) -> Any:
        sport, dport = self.ports
        if self.protocol == "udp":
            return UDP(sport=sport, dport=dport)
        return TCP(
            sport=sport,
            dport=dport,
            seq=self.sequence,
            ack=77,
            flags=self.flags,
            window=501,
            options=list(self.options),
        )

    def _with_pseudo_sum(self, packet: bytes) -> bytes:
        """Return the packet as the kernel leaves it to a device: NEEDS_CSUM."""
        length = len(packet) - self.transport
        number = 6 if self.protocol == "tcp" else 17
        if self.version == 4:
            pseudo_header = in4_pseudoheader(number, IP(packet), length)
        else:
            pseudo_header = bytes(in6_pseudoheader(number, IPv6(packet), length))
        at = self.transport + (16 if self.protocol == "tcp" else 6)
        pseudo_sum = 0xFFFF - checksum(pseudo_header)
        return packet[:at] + pseudo_sum.to_bytes(2, "big") + packet[at + 2 :]


FLOWS = [Flow(version, protocol) for version in (4, 6) for protocol in ("tcp", "udp")]


def rebuilt(packet: bytes) -> bytes:
    """Return the packet with lengths and checksums as scapy computes them."""
    parsed = IP(packet) if packet[0] >> 4 == 4 else IPv6(packet)
    for layer, fields in ((IP, ("len", "chksum")), (IPv6, ("plen",))):
        if layer in parsed:
            for field in fields:
                parsed[layer].delfieldval(field)
    for layer, fields in ((TCP, ("chksum",)), (UDP, ("len", "chksum"))):
        if layer in parsed:
            for field in fields:
                parsed[layer].delfieldval(field)
    return bytes(parsed)


def payload_of(length: int) -> bytes:
    """Return recognisable bytes."""
    return bytes((at * 7 + at // 251) & 0xFF for at in range(length))
