import pytest
from hypothesis import given
from hypothesis import strategies as st
from superpackets import Flow

from sacip_tun.datapath.packet import destination, inner_length, source, whole

FOUR, SIX = Flow(4).packet(b"four"), Flow(6).packet(b"six")


def test_addresses_are_read_packed() -> None:
    assert source(memoryview(FOUR)) == bytes([10, 7, 0, 1])
    assert destination(memoryview(FOUR)) == bytes([10, 7, 0, 2])
    assert source(memoryview(SIX)) == bytes.fromhex("fd07").ljust(15, b"\0") + b"\1"
    assert destination(memoryview(SIX)) == bytes.fromhex("fd07").ljust(15, b"\0") + b"\2"


@pytest.mark.parametrize("packet", [FOUR, SIX])
def test_the_length_is_without_padding(packet: bytes) -> None:
    assert inner_length(memoryview(packet + bytes(11))) == len(packet)


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        FOUR[:19],
        FOUR[:-1],
        b"\x44" + FOUR[1:],
        b"\x4f" + FOUR[1:40],
        FOUR[:2] + b"\0\x13" + FOUR[4:],
        SIX[:39],
        SIX[:-1],
        b"\x54" + FOUR[1:],
        b"\x14" + SIX[1:],
    ],
)
def test_a_malformed_packet_has_no_facts(packet: bytes) -> None:
    view = memoryview(packet)
    assert (inner_length(view), source(view), destination(view)) == (0, None, None)


@given(
    start=st.sampled_from([b"", b"\x45", FOUR, SIX, FOUR[:3], b"\x46" + FOUR[1:], b"\x45\0\0\x13"]),
    more=st.binary(max_size=60),
)
def test_a_packet_is_trimmed_in_one_step_as_in_several(start: bytes, more: bytes) -> None:
    padded = memoryview(start + more)
    packet, address = whole(padded)
    assert address == (source(padded) or b"")
    assert not address or packet == padded[: inner_length(padded)]


@pytest.mark.parametrize("packet", [FOUR, SIX])
def test_every_shorter_piece_is_malformed(packet: bytes) -> None:
    assert not any(inner_length(memoryview(packet[:cut])) for cut in range(len(packet)))
