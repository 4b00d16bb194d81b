"""ECN bits, held against scapy and against the tables of RFC 6040."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, IPOption
from scapy.layers.inet6 import IPv6
from scapy.packet import Packet
from superpackets import DESTINATION, FLOWS, SOURCE, VNET, Flow, payload_of, rebuilt

from sacip_tun.datapath.codec import SEAL_CAPACITY
from sacip_tun.datapath.ecn import (
    CE,
    ECT_0,
    ECT_1,
    NOT_ECT,
    decapsulated,
    is_strange,
    mark,
    traffic_class,
)
from sacip_tun.datapath.packet import inner_length
from sacip_tun.datapath.python import PythonCodec

KEY = ChaCha20Poly1305(bytes(32))
BITS = {"Not-ECT": NOT_ECT, "ECT(0)": ECT_0, "ECT(1)": ECT_1, "CE": CE}
# RFC 6040, figure 4, as it stands there: inner bits, and what comes of them under each outer ones.
FIGURE_4 = """
              Not-ECT      ECT(0)       ECT(1)       CE
    Not-ECT   Not-ECT      Not-ECT(!!!) Not-ECT(!!!) <drop>(!!!)
    ECT(0)    ECT(0)       ECT(0)       ECT(1)       CE
    ECT(1)    ECT(1)       ECT(1)(!)    ECT(1)       CE
    CE        CE           CE           CE(!!!)      CE
"""
versions = st.sampled_from([4, 6])
classes = st.integers(0, 255)


def parsed(packet: bytes | memoryview) -> Packet:
    data = bytes(packet)
    return IP(data) if data[0] >> 4 == 4 else IPv6(data)


def class_of(packet: bytes | memoryview) -> int:
    layers = parsed(packet)
    return layers.tos if IP in layers else layers.tc


def figure_4() -> Iterator[tuple[int, int, int | None, bool]]:
    """Yield each combination: inner, outer, what comes of it (None: drop), whether it is flagged.

    What RFC 6040 flags is "currently unused"; (!!!) is "potentially dangerous" too.
    """
    columns, *rows = [line.split() for line in FIGURE_4.strip().splitlines()]
    for inner, *cells in rows:
        for outer, cell in zip(columns, cells, strict=True):
            result = cell.replace("(!!!)", "").replace("(!)", "")
            yield BITS[inner], BITS[outer], BITS.get(result), "!" in cell


COMBINATIONS = list(figure_4())


def flow_of(version: int, protocol: str, ecn: int, number: int = 0) -> Flow:
    return Flow(version, protocol, ecn=ecn, identification=number)


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


def test_the_figure_has_all_combinations() -> None:
    assert len({(inner, outer) for inner, outer, _, _ in COMBINATIONS}) == 16
    assert [combination[:2] for combination in COMBINATIONS if combination[2] is None] == [(0, 3)]


@given(
    st.sampled_from(COMBINATIONS),
    versions,
    st.sampled_from(["tcp", "udp"]),
    st.integers(0, 63),
    st.integers(0, 0xFFFF),
    st.binary(max_size=64),
    st.integers(0, 15),
)
def test_decapsulation_is_that_of_figure_4(
    combination, version, protocol, dscp, number, payload, padding
) -> None:
    inner, outer, result, flagged = combination
    flow = flow_of(version, protocol, dscp << 2 | inner, number)
    packet = memoryview(bytearray(flow.packet(payload) + bytes(padding)))
    assert is_strange(packet, outer) == flagged
    kept = decapsulated([packet], outer)
    if result is None:
        assert kept == []
        return
    assert kept == [packet]
    expected = flow_of(version, protocol, dscp << 2 | result, number).packet(payload)
    assert packet == expected + bytes(padding)
    assert rebuilt(expected) == expected


@settings(deadline=None)
@given(st.lists(st.tuples(versions, classes), max_size=12), st.sampled_from(list(BITS.values())))
def test_every_packet_of_a_run_is_treated_as_alone(packets, outer) -> None:
    run = [memoryview(bytearray(Flow(v, ecn=both).packet(b"data"))) for v, both in packets]
    alone = [decapsulated([memoryview(bytearray(packet))], outer) for packet in run]
    expected = [packet for kept in alone for packet in kept]
    assert list(decapsulated(run, outer)) == expected


@given(st.lists(st.binary(max_size=44), max_size=5), st.sampled_from(list(BITS.values())))
def test_decapsulation_of_arbitrary_bytes_never_raises(packets, outer) -> None:
    run = [memoryview(bytearray(packet)) for packet in packets]
    kept = decapsulated(run, outer)
    assert len(kept) == len(run) or outer == CE


@settings(deadline=None)
@given(
    st.sampled_from(FLOWS),
    st.sampled_from([ECT_0, ECT_1]),
    st.integers(1, 30_000),
    st.sampled_from([1300, 1368, 700]),
    st.sampled_from(list(BITS.values())),
)
def test_a_flow_is_whole_and_merged_after_decapsulation(flow, ecn, length, size, outer) -> None:
    payload = payload_of(length)
    packets = opened(replace(flow, ecn=ecn).superpacket(payload, size))
    merged = PythonCodec().coalesce(decapsulated(packets, outer), offload=True)
    assert len(merged) == 1
    result = next(found for i, o, found, _ in COMBINATIONS if (i, o) == (ecn, outer))
    superpacket = memoryview(b"".join(merged[0].parts))
    again = [bytes(packet[: inner_length(packet)]) for packet in opened(superpacket)]
    assert again == replace(flow, ecn=result).segments(payload, size)


def test_a_marked_part_of_a_flow_is_not_merged_with_the_rest() -> None:
    flow = Flow(ecn=ECT_0)
    packets = opened(flow.superpacket(payload_of(13_000), 1300))
    run = [*packets[:5], *decapsulated(packets[5:], CE)]
    merged = PythonCodec().coalesce(run, offload=True)
    assert [class_of(part.parts[1]) for part in merged] == [ECT_0, CE]
