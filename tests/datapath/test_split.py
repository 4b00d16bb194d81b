"""Splitting: both parts together say exactly what the load said, packet by packet."""

import pytest
from datapath.superpackets import Flow, payload_of
from hypothesis import given
from hypothesis import strategies as st
from test_codec_contract import wire

from sacip_tun.datapath.load import Load, loads
from sacip_tun.datapath.python import PythonCodec
from sacip_tun.datapath.split import split, without_first

FLOWS = [Flow(4), Flow(6), Flow(4, "udp"), Flow(6, "udp"), Flow(4, flags="FPAC")]


def packets_of(load: Load | None) -> list[bytes]:
    """What a load becomes on the wire."""
    codec = PythonCodec()
    return [packet for part in (load.packets if load else []) for packet in wire(codec, part)]


def train(flow: Flow, length: int, size: int) -> Load:
    (load,) = loads([memoryview(bytearray(flow.superpacket(payload_of(length), size)))])
    return load


def alike(count: int, length: int) -> Load:
    flow = Flow(4, "udp")
    (load,) = loads([flow.single(payload_of(length), needs_checksum=True) for _ in range(count)])
    return load


@given(
    st.sampled_from(FLOWS), st.integers(1, 9_000), st.integers(500, 1400), st.integers(1, 10_000)
)
def test_the_parts_of_a_train_are_its_segments(flow, length, size, at_most) -> None:
    whole = flow.segments(payload_of(length), size)
    first, rest = split(train(flow, length, size), at_most)
    head = packets_of(first)
    assert head + packets_of(rest) == whole
    assert first.length <= at_most or len(head) == 1 or rest is None
    assert first.length == sum(map(len, first.packets)) - 10


@given(st.integers(2, 40), st.integers(1, 1400), st.integers(1, 30_000))
def test_packets_that_are_alike_are_shared_out(count, length, at_most) -> None:
    load = alike(count, length)
    first, rest = split(load, at_most)
    parts = [first] if rest is None else [first, rest]
    assert [packet for part in parts for packet in part.packets] == load.packets
    assert sum(part.length for part in parts) == load.length
    assert first.length <= at_most or len(first.packets) == 1


@pytest.mark.parametrize("flow", FLOWS)
def test_without_its_first_segment_a_train_is_the_others(flow) -> None:
    whole = flow.segments(payload_of(5000), 1000)
    load: Load | None = train(flow, 5000, 1000)
    for gone in range(1, 5):
        assert load is not None
        load = without_first(load)
        assert packets_of(load) == whole[gone:]
    assert load is not None
    assert without_first(load) is None


def test_without_their_first_packet_packets_that_are_alike_are_the_others() -> None:
    load = alike(3, 100)
    rest = without_first(load)
    assert rest is not None
    assert rest.packets == load.packets[1:]
    assert without_first(alike(1, 100)) is None


def test_a_part_keeps_when_it_came() -> None:
    load = train(FLOWS[0], 5000, 1000)
    load.since = 7.0
    first, rest = split(load, 2000)
    assert rest is not None
    assert (first.since, rest.since) == (7.0, 7.0)
