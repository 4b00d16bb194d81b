from dataclasses import replace

from superpackets import Flow, payload_of

from sacip_tun.datapath.coalesce import Coalescer


def views(packets: list[bytes]) -> list[memoryview]:
    return [memoryview(packet) for packet in packets]


def test_nothing_is_kept_between_two_batches() -> None:
    coalescer = Coalescer()
    one, two = Flow().segments(payload_of(2000), 1000)
    for packet in (one, two):
        (superpacket,) = coalescer.coalesce(views([packet]), offload=True)
        assert superpacket.parts == [bytes(10), packet]


def test_malformed_packets_are_counted_over_all_batches() -> None:
    coalescer = Coalescer()
    assert coalescer.coalesce(views([b"", b"x"]), offload=True) == []
    assert coalescer.coalesce(views([b"y"]), offload=False) == []
    assert coalescer.malformed == 3


def test_an_empty_batch_is_nothing() -> None:
    assert Coalescer().coalesce([], offload=True) == []


def test_the_psh_of_the_last_segment_is_kept() -> None:
    packets = Flow(flags="PA").segments(payload_of(10_000), 1000)
    (superpacket,) = Coalescer().coalesce(views(packets), offload=True)
    assert superpacket.parts[1][33] == 0x18
    (superpacket,) = Coalescer().coalesce(views(packets[:-1]), offload=True)
    assert superpacket.parts[1][33] == 0x10


def test_a_corrupt_first_packet_does_not_spoil_the_next() -> None:
    flow = Flow()
    first = bytearray(flow.packet(payload_of(1000)))
    first[100] ^= 1
    rest = replace(flow, sequence=flow.sequence + 1000, identification=flow.identification + 1)
    packets = [bytes(first), *rest.segments(payload_of(2000), 1000)]
    superpackets = Coalescer().coalesce(views(packets), offload=True)
    assert [len(superpacket.parts) for superpacket in superpackets] == [2, 4]
