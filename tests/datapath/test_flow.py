from dataclasses import replace

import pytest
from superpackets import FLOWS, Flow

from sacip_tun.datapath.flow import Candidate, Facts, examine, intact, same_bytes


def facts(packet: bytes) -> Facts:
    return examine(memoryview(packet), len(packet))


def candidate(packet: bytes) -> Candidate:
    found = facts(packet).candidate
    assert found is not None
    return found


@pytest.mark.parametrize("flow", FLOWS, ids=str)
def test_data_is_a_candidate_and_intact(flow: Flow) -> None:
    packet = flow.packet(b"hello")
    found = candidate(packet)
    assert (found.transport, found.headers, found.length) == (
        flow.transport,
        flow.headers,
        len(packet),
    )
    assert found.payload == 5
    assert found.sequence == (flow.sequence if flow.protocol == "tcp" else 0)
    assert found.atomic
    assert intact(memoryview(packet), found)
    for at in range(8, len(packet)):  # before that, IPv6 has no checksum
        broken = bytearray(packet)
        broken[at] ^= 0x10
        changed = facts(bytes(broken)).candidate
        assert not changed or not intact(memoryview(broken), changed)


@pytest.mark.parametrize("flow", FLOWS, ids=str)
def test_one_shape_for_all_segments_of_a_train(flow: Flow) -> None:
    next_one = replace(flow, sequence=9, identification=9)
    shapes = {
        candidate(flow.packet(b"abc")).shape,
        candidate(next_one.packet(b"longer")).shape,
        candidate(replace(next_one, flags="PA").packet(b"x")).shape,
    }
    assert len(shapes) == 1
    assert candidate(replace(flow, ports=(1, 2)).packet(b"abc")).shape not in shapes
    assert candidate(replace(flow, ecn=1).packet(b"abc")).shape not in shapes


def test_versions_and_protocols_have_masks_of_their_own() -> None:
    masks = {same_bytes(version, protocol, 80) for version in (4, 6) for protocol in (6, 17)}
    assert len(masks) == 4
    assert {len(mask) for mask in masks} == {80}


@pytest.mark.parametrize("flags", ["S", "SA", "FA", "R", "RA", "UA", "CA", ""])
def test_other_flags_belong_to_the_connection_and_are_no_candidates(flags: str) -> None:
    connection = candidate(Flow().packet(b"abc")).connection
    assert facts(Flow(flags=flags).packet(b"abc")) == Facts(connection, None)


def test_what_may_be_overtaken_has_no_connection() -> None:
    acknowledgement = Flow().packet(b"")
    icmp = bytes([0x45, 0, 0, 28, 0, 0, 0, 0, 64, 1]) + bytes(18)
    fragment = bytearray(Flow().packet(b"abc"))
    fragment[7] = 1
    for packet in (acknowledgement, icmp, bytes(fragment), Flow().packet(b"")[:30]):
        assert facts(packet) == Facts(None, None)


def test_a_broken_tcp_header_ends_what_is_being_merged() -> None:
    packet = bytearray(Flow().packet(b"abc"))
    for offset in (0x40, 0xF0):
        packet[32] = offset
        found = facts(bytes(packet))
        assert found.candidate is None
        assert found.connection is not None
