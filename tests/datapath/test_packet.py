import pytest
from superpackets import Flow

from sacip_tun.datapath.packet import destination, inner_length, source, udp_ports

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


@pytest.mark.parametrize("packet", [FOUR, SIX])
def test_every_shorter_piece_is_malformed(packet: bytes) -> None:
    assert not any(inner_length(memoryview(packet[:cut])) for cut in range(len(packet)))


@pytest.mark.parametrize("version", [4, 6])
def test_ports_of_udp_and_of_nothing_else(version) -> None:
    header = bytearray(20 if version == 4 else 40)
    header[0] = version << 4 | (5 if version == 4 else 0)
    header[9 if version == 4 else 6] = 17
    total = len(header) + 8
    if version == 4:
        header[2:4] = total.to_bytes(2, "big")
    else:
        header[4:6] = (8).to_bytes(2, "big")
    packet = bytes(header) + bytes.fromhex("ca6c 1234 0008 0000")
    assert udp_ports(memoryview(packet)) == (0xCA6C, 0x1234)
    for length in range(total):
        assert udp_ports(memoryview(packet[:length])) is None
    other = bytearray(packet)
    other[9 if version == 4 else 6] = 6
    assert udp_ports(memoryview(other)) is None
    if version == 4:
        fragment = bytearray(packet)
        fragment[7] = 1
        assert udp_ports(memoryview(fragment)) is None
