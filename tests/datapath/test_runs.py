"""The vectorised comparison and the one packet by packet must agree on everything."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from superpackets import FLOWS, Flow, payload_of

from sacip_tun.datapath import runs as module
from sacip_tun.datapath.coalesce import Coalescer
from sacip_tun.datapath.codec import MAX_COALESCED, SuperPacket
from sacip_tun.datapath.runs import runs
from sacip_tun.datapath.segment import Segmenter, parse

SIZES = [60, 61, 128]


def views(packets: list[bytes]) -> list[memoryview]:
    return [memoryview(packet.ljust(-(-len(packet) // 16) * 16, b"\0")) for packet in packets]


def split(superpackets: list[SuperPacket]) -> list[bytes]:
    """Return the packets that the kernel would make of them."""
    packets = []
    for superpacket in superpackets:
        joined = memoryview(b"".join(superpacket.parts))
        train = parse(joined)
        assert train is not None
        packets += map(bytes, Segmenter().segment(joined, train, 0))
    return packets


def lengths(packets: list[bytes]) -> list[int]:
    return [len(run.packets) for run in runs(views(packets))]


@pytest.mark.parametrize("flow", [*FLOWS, Flow(dont_fragment=False)], ids=str)
@pytest.mark.parametrize("size", SIZES)
def test_a_train_is_one_run(flow: Flow, size: int) -> None:
    assert lengths(flow.segments(payload_of(40 * size), size)) == [40]


def test_a_few_packets_are_left_to_be_compared_one_by_one() -> None:
    assert lengths(Flow().segments(payload_of(300), 100)) == [1, 1, 1]


def test_a_run_is_not_longer_than_a_superpacket() -> None:
    assert lengths(Flow().segments(payload_of(100 * 60), 60)) == [
        MAX_COALESCED,
        100 - MAX_COALESCED,
    ]
    assert lengths(Flow().segments(payload_of(65_000), 6_500)) == [10]
    assert lengths(Flow().segments(payload_of(65_000), 6_500) * 2) == [10, 10]


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    parts=st.lists(
        st.tuples(st.sampled_from(FLOWS), st.sampled_from(SIZES), st.integers(1, 12)),
        min_size=1,
        max_size=3,
    ),
    edits=st.lists(
        st.tuples(st.integers(0, 40), st.integers(0, 70), st.sampled_from([1, 8, 64, 255])),
        max_size=4,
    ),
    zero_checksums=st.booleans(),
)
def test_both_ways_merge_the_same(
    monkeypatch: pytest.MonkeyPatch,
    parts: list[tuple[Flow, int, int]],
    edits: list[tuple[int, int, int]],
    zero_checksums: bool,
) -> None:
    packets: list[bytearray] = []
    for flow, size, count in parts:
        train = replace(flow, dont_fragment=size == 60)
        packets += map(bytearray, train.segments(payload_of(size * count), size))
    for which, at, value in edits:
        packets[which % len(packets)][at] ^= value
    if zero_checksums:
        for packet in packets[::2]:
            packet[26:28] = bytes(2)
    batch = views([bytes(packet) for packet in packets])
    monkeypatch.setattr(module, "_MIN_ROWS", 2)
    vectorised = Coalescer().coalesce(batch, offload=True)
    monkeypatch.setattr(module, "_MIN_ROWS", 1_000)
    one_by_one = Coalescer().coalesce(batch, offload=True)
    assert sorted(split(vectorised)) == sorted(split(one_by_one))
    assert len(vectorised) <= len(one_by_one)
