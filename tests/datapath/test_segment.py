import pytest
from superpackets import FLOWS, VNET, Flow, payload_of

from sacip_tun.datapath.segment import Segmenter, Train, parse


def test_a_train_is_described_by_its_own_headers() -> None:
    superpacket = bytearray(Flow().superpacket(payload_of(2500), 1000))
    superpacket[2:4] = b"\x01\x00"  # hdr_len is only a hint
    assert parse(memoryview(superpacket)) == Train(4, 6, 20, 52, 1000, 500, 3)
    assert parse(Flow(6, "udp").superpacket(payload_of(2000), 1000)) == Train(
        6, 17, 40, 48, 1000, 1000, 2
    )


def test_a_train_shorter_than_one_segment_is_one_segment() -> None:
    train = parse(Flow().superpacket(payload_of(30), 1000))
    assert train == Train(4, 6, 20, 52, 30, 30, 1)
    assert train.full == train.tail == 82


def test_bytes_behind_a_single_packet_are_not_sent() -> None:
    single = Flow().single(b"abc", needs_checksum=True)
    train = parse(memoryview(bytes(single) + b"rubbish"))
    assert train is not None
    assert train.size == len(single) - 10
    (packet,) = Segmenter().segment(memoryview(bytes(single) + b"rubbish"), train, 1420)
    assert packet[: train.size] == Flow().packet(b"abc")
    assert not any(packet[train.size :])


@pytest.mark.parametrize("flow", FLOWS, ids=str)
def test_the_superpacket_is_not_written_to(flow: Flow) -> None:
    superpacket = flow.superpacket(payload_of(3000), 1000)
    before = bytes(superpacket)
    train = parse(superpacket)
    assert train is not None
    packets = Segmenter().segment(superpacket, train, 1420)
    assert superpacket.readonly
    assert bytes(superpacket) == before
    assert [bytes(packet[: train.full]) for packet in packets] == flow.segments(
        payload_of(3000), 1000
    )


def test_only_checksums_that_the_kernel_left_are_written() -> None:
    packet = bytearray(Flow().packet(b"abc"))
    packet[36] ^= 1  # wrong, but not ours
    superpacket = memoryview(VNET.pack(0, 0, 0, 0, 20, 16) + bytes(packet))
    train = parse(superpacket)
    assert train is not None
    assert Segmenter().segment(superpacket, train, 0)[0][: len(packet)] == packet
