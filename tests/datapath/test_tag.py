"""Tags: the flow of an inner packet and its place in a TCP stream, whatever the bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sacip_tun.datapath.tag import tag_of
from sacip_tun.protocol.hold import UNTAGGED, Tag

FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10
V4 = bytes(range(8))
V6 = bytes(range(32))
PORTS = bytes([1, 2, 3, 4])


def ipv4(protocol: int, body: bytes, *, options: int = 0, fragment: int = 0) -> bytes:
    words = 5 + options
    length = 4 * words + len(body)
    head = bytes([0x40 | words, 0, *length.to_bytes(2, "big"), 0, 0, *fragment.to_bytes(2, "big")])
    return head + bytes([64, protocol, 0, 0]) + V4 + bytes(4 * options) + body


def ipv6(protocol: int, body: bytes) -> bytes:
    return bytes([0x60, 0, 0, 0, *len(body).to_bytes(2, "big"), protocol, 64]) + V6 + body


def tcp(sequence: int, data: bytes = b"", flags: int = ACK, options: int = 0) -> bytes:
    head = PORTS + sequence.to_bytes(4, "big") + bytes(4)
    return head + bytes([(5 + options) << 4, flags]) + bytes(6 + 4 * options) + data


def tag(packet: bytes) -> Tag:
    return tag_of(memoryview(packet))


def test_data_has_its_place_and_length() -> None:
    assert tag(ipv4(6, tcp(77, b"data"))) == Tag(V4 + PORTS + b"\6", 77, 4)
    assert tag(ipv4(6, tcp(77, b"data", options=3), options=2)).payload == 4
    assert tag(ipv6(6, tcp(77, b"data"))) == Tag(V6 + PORTS + b"\6", 77, 4)


def test_padding_is_no_data() -> None:
    assert tag(ipv4(6, tcp(77)) + bytes(8)).payload == 0


def test_a_pure_acknowledgement_has_no_payload_and_a_fin_has() -> None:
    assert tag(ipv4(6, tcp(77))).payload == 0
    assert [tag(ipv4(6, tcp(77, flags=ACK | flag))).payload for flag in (SYN, FIN, RST)] == [1] * 3


def test_the_same_segment_has_the_same_tag_though_its_acknowledgement_is_newer() -> None:
    older, newer = (bytearray(ipv4(6, tcp(77, b"data"))) for _ in range(2))
    newer[28:32] = b"\1\2\3\4"
    assert tag(bytes(older)) == tag(bytes(newer))


def test_udp_has_a_flow_and_no_place() -> None:
    assert tag(ipv4(17, PORTS + bytes(4))) == Tag(V4 + PORTS + b"\x11")


@pytest.mark.parametrize("fragment", [0x2000, 0x0001, 0x1FFF])
def test_a_fragment_counts_by_its_addresses(fragment: int) -> None:
    assert tag(ipv4(6, tcp(1, b"x"), fragment=fragment)) == Tag(V4)


def test_dont_fragment_is_no_fragment() -> None:
    assert tag(ipv4(6, tcp(1, b"x"), fragment=0x4000)).sequence == 1


def test_others_and_what_is_cut_short_count_by_addresses() -> None:
    assert tag(ipv4(1, bytes(8))) == Tag(V4)
    assert tag(ipv4(6, bytes(19))) == Tag(V4)
    assert tag(ipv6(44, bytes(40))) == Tag(V6)


@given(st.binary(max_size=80))
def test_arbitrary_bytes_are_tagged_or_not_and_never_raise(data: bytes) -> None:
    found = tag(data)
    assert found == UNTAGGED or found.payload >= 0


@given(st.binary(min_size=20, max_size=60), st.integers(0, 255))
def test_a_hostile_tcp_header_claims_no_more_than_there_is(body: bytes, offset: int) -> None:
    hostile = bytearray(body)
    hostile[12] = offset
    found = tag(ipv4(6, bytes(hostile)))
    assert 0 <= found.payload <= len(body) + 1
