"""Packets that are made to fit: everything of every connection arrives, in valid packets."""

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.packet import Raw
from scapy.utils import checksum
from superpackets import FLOWS, Flow, payload_of, rebuilt

from sacip_tun.datapath.codec import SEAL_CAPACITY
from sacip_tun.datapath.fit import fitted, longest
from sacip_tun.datapath.packet import inner_length
from sacip_tun.datapath.python import PythonCodec

KEY = ChaCha20Poly1305(bytes(32))
TCP_FLOWS = [flow for flow in FLOWS if flow.protocol == "tcp"]


def packets_of(superpackets: list[memoryview], limit: int) -> list[bytes]:
    """Seal and open again with the real codec, and return the inner packets without padding."""
    packets = []
    for superpacket in superpackets:
        out = memoryview(bytearray(SEAL_CAPACITY))
        sealed = PythonCodec().seal(superpacket, KEY, 1, 0, limit, out)
        assert sealed.count
        assert sealed.segment_size <= limit + 32
        for run in PythonCodec().open(out[: sealed.length], sealed.segment_size, {1: KEY}):
            packets += [bytes(packet[: inner_length(packet)]) for packet in run.packets]
    return packets


def is_valid(packet: bytes) -> bool:
    return rebuilt(packet) == packet


@settings(deadline=None)
@given(
    st.sampled_from(TCP_FLOWS),
    st.integers(1, 40_000),
    st.integers(1200, 1420),
    st.sampled_from([516, 708, 1000, 1199, 1220, 1260, 1300, 1340]),
)
def test_a_train_is_cut_into_smaller_valid_segments(flow, length, mtu, limit) -> None:
    payload = payload_of(length)
    train = flow.superpacket(payload, mtu - flow.headers)
    cut = fitted(train, limit)
    packets = packets_of(cut, limit)
    assert packets == flow.segments(payload, limit - flow.headers)
    assert all(is_valid(packet) and len(packet) <= limit for packet in packets)


@settings(deadline=None)
@given(
    st.sampled_from(TCP_FLOWS),
    st.integers(1221, 9000),
    st.booleans(),
    st.sampled_from(["A", "PA", "FPA", "EA"]),
)
def test_a_single_segment_becomes_several(flow, length, partial, flags) -> None:
    flow = replace(flow, flags=flags)
    payload = payload_of(length)
    pieces = fitted(flow.single(payload, needs_checksum=partial), 1220)
    assert packets_of(pieces, 1220) == flow.segments(payload, 1220 - flow.headers)


@pytest.mark.parametrize("flow", TCP_FLOWS)
def test_what_passed_in_is_left_alone(flow: Flow) -> None:
    train = bytearray(flow.superpacket(payload_of(5000), 1368))
    before = bytes(train)
    fitted(memoryview(train), 1220)
    assert bytes(train) == before


def test_longest_is_a_full_segment_or_the_packet() -> None:
    flow = TCP_FLOWS[0]
    assert longest(flow.superpacket(payload_of(5000), 1368)) == flow.headers + 1368
    assert longest(flow.superpacket(payload_of(100), 1368)) == flow.headers + 100
    assert longest(flow.single(payload_of(100), needs_checksum=True)) == flow.headers + 100
    assert longest(memoryview(bytes(40))) == 0


def corrupted(flow: Flow) -> memoryview:
    whole = bytearray(flow.single(payload_of(1350), needs_checksum=False))
    whole[-1] ^= 1
    return memoryview(whole)


@pytest.mark.parametrize(
    "superpacket",
    [
        corrupted(TCP_FLOWS[0]),
        corrupted(TCP_FLOWS[1]),
        *(replace(f, flags="S").single(payload_of(1350), needs_checksum=True) for f in TCP_FLOWS),
        *(replace(f, flags="UA").single(payload_of(1350), needs_checksum=True) for f in TCP_FLOWS),
        *(f.single(payload_of(1350), needs_checksum=True) for f in FLOWS if f.protocol == "udp"),
        *(f.superpacket(payload_of(5000), 1350) for f in FLOWS if f.protocol == "udp"),
        memoryview(bytes(10) + bytes(IPv6(nh=60) / Raw(bytes(1350)))),
        memoryview(bytes(10) + bytes(IP(frag=1, flags="DF", proto=6) / Raw(bytes(1350)))),
        memoryview(bytes(60)),
        memoryview(bytes(10)),
    ],
)
def test_what_cannot_be_cut_is_left_to_the_caller(superpacket: memoryview) -> None:
    assert fitted(superpacket, 1220) == []


def reassembled(fragments: list[bytes]) -> bytes:
    """Put fragments together as RFC 791 says."""
    parsed = [IP(fragment) for fragment in fragments]
    body = bytearray()
    for packet in parsed:
        assert packet.frag * 8 == len(body)
        body += bytes(packet.payload)
    assert [bool(packet.flags.MF) for packet in parsed] == [True] * (len(parsed) - 1) + [False]
    assert len({packet.id for packet in parsed}) == 1
    assert all(checksum(fragment[:20]) == 0 for fragment in fragments)
    head = IP(fragments[0][:20])
    head.flags = 0
    del head.len, head.chksum
    return bytes(head / Raw(bytes(body)))


@settings(deadline=None)
@given(st.integers(1221, 9000), st.booleans(), st.sampled_from([516, 1220, 1221, 1340]))
def test_udp_that_may_be_fragmented_is(length: int, partial: bool, limit: int) -> None:
    flow = Flow(4, "udp", dont_fragment=False)
    payload = payload_of(length)
    if len(flow.packet(payload)) <= limit:
        return
    pieces = fitted(flow.single(payload, needs_checksum=partial), limit)
    packets = packets_of(pieces, limit)
    assert len(packets) >= 2
    assert all(len(packet) <= limit for packet in packets)
    assert reassembled(packets) == flow.packet(payload)


def test_a_fragment_can_be_fragmented_again() -> None:
    flow = Flow(4, "udp", dont_fragment=False)
    payload = payload_of(3000)
    first = fitted(flow.single(payload, needs_checksum=False), 1420)
    again = [piece for part in first for piece in (fitted(part, 700) or [part])]
    assert reassembled(packets_of(again, 700)) == flow.packet(payload)


def test_tcp_without_df_is_cut_and_not_fragmented() -> None:
    flow = Flow(4, "tcp", dont_fragment=False)
    payload = payload_of(1360)
    packets = packets_of(fitted(flow.single(payload, needs_checksum=True), 1220), 1220)
    assert all(TCP in IP(packet) for packet in packets)
    assert packets == flow.segments(payload, 1220 - flow.headers)


@given(st.binary(max_size=120), st.integers(68, 1420))
def test_hostile_bytes_never_raise(data: bytes, limit: int) -> None:
    for vnet in (bytes(10), b"\1\1" + bytes(8), b"\1\0\0\0\0\0\x14\0\x10\0"):
        for first in (b"", b"\x45", b"\x4f", b"\x60"):
            superpacket = memoryview(vnet + first + data)
            longest(superpacket)
            fitted(superpacket, limit)
