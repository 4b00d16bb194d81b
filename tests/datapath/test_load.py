"""Loads: what may be sealed in one go is found, and nothing else is."""

from dataclasses import replace

import pytest
from datapath.superpackets import Flow, payload_of
from hypothesis import given
from hypothesis import strategies as st

from sacip_tun.datapath.codec import MAX_ALIKE, MAX_PACKET
from sacip_tun.datapath.load import Load, loads

UDP = {version: Flow(version, "udp") for version in (4, 6)}


def single(flow: Flow, length: int) -> memoryview:
    return flow.single(payload_of(length), needs_checksum=True)


def counts(found: list[Load]) -> list[int]:
    return [len(load.packets) for load in found]


@pytest.mark.parametrize("version", [4, 6])
def test_packets_of_one_flow_and_one_length_are_one_load(version) -> None:
    packets = [single(UDP[version], 500) for _ in range(7)]
    (load,) = loads(packets)
    assert load.packets == packets
    assert load.length == 7 * (len(packets[0]) - 10)
    addresses = packets[0][22:30] if version == 4 else packets[0][18:50]
    assert load.destination == bytes(addresses[len(addresses) // 2 :])
    assert load.flow[: len(addresses)] == bytes(addresses)


@pytest.mark.parametrize("version", [4, 6])
def test_another_flow_length_mark_or_checksum_state_begins_another_load(version) -> None:
    flow = UDP[version]
    others = [
        single(replace(flow, ports=(1, 2)), 500),
        single(flow, 501),
        single(replace(flow, ecn=3), 500),
        flow.single(payload_of(500), needs_checksum=False),
        single(Flow(version), 500),
    ]
    for other in others:
        assert counts(loads([single(flow, 500), other, single(flow, 500)])) == [1, 1, 1]


def test_a_train_is_a_load_of_its_own() -> None:
    flow = Flow()
    train = flow.superpacket(payload_of(3000), 1000)
    assert counts(loads([train, train, single(flow, 1000)])) == [1, 1, 1]


@pytest.mark.parametrize("version", [4, 6])
def test_a_load_has_no_more_than_is_sealed_at_once(version) -> None:
    found = loads([single(UDP[version], 100)] * (2 * MAX_ALIKE + 1))
    assert counts(found) == [MAX_ALIKE, MAX_ALIKE, 1]
    large = loads([single(UDP[version], 1400)] * 100)
    assert all(load.length <= MAX_PACKET for load in large)
    assert sum(counts(large)) == 100


def test_fragments_of_one_packet_have_the_flow_of_their_addresses() -> None:
    first = bytearray(single(UDP[4], 500))
    later = bytearray(first)
    first[16:18] = b"\x20\x00"
    later[16:18] = b"\x00\x40"
    flows = {load.flow for load in loads([memoryview(first), memoryview(later)])}
    assert flows == {bytes(first[22:30]) + b"\x11"}


@pytest.mark.parametrize(
    "packet", [b"", b"\x45", b"\x45" + bytes(30), b"\x60" + bytes(20), b"\x70" + bytes(60)]
)
def test_what_is_no_ip_packet_has_no_destination(packet) -> None:
    found = loads([memoryview(bytes(10) + packet)] * 2)
    assert [load.destination for load in found] == [b"", b""]


@given(st.lists(st.tuples(st.sampled_from([4, 6]), st.integers(0, 3), st.sampled_from([9, 80]))))
def test_nothing_is_lost_and_nothing_changes_places(drawn) -> None:
    packets = [
        single(replace(UDP[version], ports=(port, 9)), length) for version, port, length in drawn
    ]
    found = loads(packets)
    assert [packet for load in found for packet in load.packets] == packets
    for load in found:
        assert len({(len(packet), bytes(packet[:14])) for packet in load.packets}) == 1


@given(st.binary(max_size=80))
def test_no_bytes_raise(data) -> None:
    (load,) = loads([memoryview(bytes(10) + data)])
    assert load.length == len(data)
