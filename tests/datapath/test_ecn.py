"""ECN bits, held against scapy and against the tables of RFC 6040."""

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, IPOption
from scapy.layers.inet6 import IPv6
from scapy.packet import Packet
from superpackets import DESTINATION, FLOWS, SOURCE, VNET, Flow, payload_of, rebuilt

from sacip_tun.datapath.codec import SEAL_CAPACITY
from sacip_tun.datapath.ecn import CE, ECT_0, ECT_1, NOT_ECT, mark, traffic_class
from sacip_tun.datapath.packet import inner_length
from sacip_tun.datapath.python import PythonCodec

KEY = ChaCha20Poly1305(bytes(32))
versions = st.sampled_from([4, 6])
classes = st.integers(0, 255)


def parsed(packet: bytes | memoryview) -> Packet:
    data = bytes(packet)
    return IP(data) if data[0] >> 4 == 4 else IPv6(data)


def class_of(packet: bytes | memoryview) -> int:
    layers = parsed(packet)
    return layers.tos if IP in layers else layers.tc


def opened(superpacket: memoryview) -> list[memoryview]:
    """Return the inner packets of a super-packet as a peer finds them, padding included."""
    out, codec = memoryview(bytearray(SEAL_CAPACITY)), PythonCodec()
    sealed = codec.seal(superpacket, KEY, 1, 0, 1420, out)
    (run,) = codec.open(out[: sealed.length], sealed.segment_size, {1: KEY})
    return run.packets


@given(versions, classes)
def test_the_traffic_class_is_that_of_scapy(version: int, both: int) -> None:
    packet = Flow(version, ecn=both).packet(b"data")
    assert traffic_class(memoryview(packet)) == both


@given(st.binary(max_size=60))
def test_arbitrary_bytes_never_raise(data: bytes) -> None:
    packet = bytearray(data)
    marked = mark(memoryview(packet))
    assert marked or packet == data


@given(versions, classes, st.sampled_from(["tcp", "udp"]), st.integers(0, 0xFFFF))
def test_a_mark_is_set_where_the_packet_can_bear_one(version, both, protocol, number) -> None:
    flow = Flow(version, protocol, ecn=both, identification=number)
    packet = bytearray(flow.packet(b"data"))
    assert mark(memoryview(packet)) == (both & 3 != NOT_ECT)
    expected = both | CE if both & 3 else both
    assert packet == replace(flow, ecn=expected).packet(b"data")
    assert rebuilt(packet) == packet


def test_a_mark_is_set_before_options() -> None:
    packet = IP(src=SOURCE[4], dst=DESTINATION[4], tos=ECT_0, options=[IPOption(b"\x94\x04\0\0")])
    marked = bytearray(bytes(packet))
    assert mark(memoryview(marked))
    packet.tos = CE
    assert marked == bytes(packet)


def test_a_wrong_checksum_stays_wrong() -> None:
    packet = bytearray(Flow(ecn=ECT_0).packet(b"data"))
    packet[10] ^= 0x55
    assert mark(memoryview(packet))
    assert rebuilt(packet) != packet


@pytest.mark.parametrize("cut", range(40))
def test_half_a_header_is_left_alone(cut: int) -> None:
    for version in (4, 6):
        whole = Flow(version, ecn=ECT_0).packet(b"data")
        if cut < (20 if version == 4 else 40):
            packet = bytearray(whole[:cut])
            assert not mark(memoryview(packet))
            assert packet == whole[:cut]


@pytest.mark.parametrize("flow", FLOWS, ids=str)
@pytest.mark.parametrize("ecn", [ECT_0, ECT_1])
def test_marked_headers_of_a_train_mark_every_segment(flow: Flow, ecn: int) -> None:
    flow, payload = replace(flow, ecn=0xB8 | ecn), payload_of(9000)
    train = memoryview(bytearray(flow.superpacket(payload, 1300)))
    assert mark(train[VNET.size :])
    segments = [bytes(packet[: inner_length(packet)]) for packet in opened(train)]
    assert segments == replace(flow, ecn=0xB8 | CE).segments(payload, 1300)
