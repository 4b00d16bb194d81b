"""What every codec must do, byte for byte. A new codec is added to CODECS and nothing else."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from superpackets import FLOWS, VNET, Flow, payload_of, rebuilt

from sacip_tun.datapath.codec import (
    MAX_COALESCED,
    MAX_PACKET,
    MAX_SEGMENTS,
    OPEN_CAPACITY,
    SEAL_CAPACITY,
    SEGMENT_OVERHEAD,
    Codec,
    Opened,
    Sealed,
    SuperPacket,
)
from sacip_tun.datapath.load import plain_glance
from sacip_tun.datapath.packet import inner_length
from sacip_tun.datapath.python import PythonCodec

CODECS: list[Callable[[], Codec]] = [PythonCodec]
CIPHER = ChaCha20Poly1305(bytes(range(32)))
OTHER = ChaCha20Poly1305(bytes(range(1, 33)))
RECEIVER = 0xA1B2C3D4
KEYRING = {RECEIVER: CIPHER, 0: OTHER}
MTU = 1420
few = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
many = settings(few, max_examples=200)
flows = st.sampled_from(FLOWS)


@pytest.fixture(params=CODECS, ids=lambda made: made.__name__)
def codec(request: pytest.FixtureRequest) -> Codec:
    made: Codec = request.param()
    return made


def sealed(
    codec: Codec, superpacket: memoryview, *, mtu: int = MTU, first: int = 5
) -> tuple[Sealed, memoryview]:
    """Seal into a buffer of exactly the documented size, filled with rubbish."""
    room = len(superpacket) + codec.segments(superpacket) * SEGMENT_OVERHEAD
    assert room <= SEAL_CAPACITY + 10
    out = memoryview(bytearray(b"\xaa" * room))
    result = codec.seal(superpacket, CIPHER, RECEIVER, first, mtu, out)
    return result, out[: result.length]


def datagrams(result: Sealed, out: memoryview) -> list[memoryview]:
    return [out[at : at + result.segment_size] for at in range(0, len(out), result.segment_size)]


def plaintexts(result: Sealed, out: memoryview, first: int = 5) -> list[bytes]:
    """Open each datagram by itself, without the codec: the oracle."""
    return [
        CIPHER.decrypt(bytes(4) + (first + at).to_bytes(8, "little"), bytes(datagram[16:]), None)
        for at, datagram in enumerate(datagrams(result, out))
    ]


def trimmed(packet: bytes | memoryview) -> bytes:
    return bytes(packet[: inner_length(memoryview(packet))])


def wire(codec: Codec, superpacket: memoryview, *, mtu: int = MTU) -> list[bytes]:
    """Return the packets of a super-packet: segmented, sealed and opened again."""
    return [trimmed(packet) for packet in plaintexts(*sealed(codec, superpacket, mtu=mtu))]


def views(packets: list[bytes], *, mtu: int = MTU) -> list[memoryview]:
    """Return the packets padded, as `open` gives them."""
    return [
        memoryview(
            bytearray(packet.ljust(max(len(packet), min(-(-len(packet) // 16) * 16, mtu)), b"\0"))
        )
        for packet in packets
    ]


def merged(codec: Codec, packets: list[bytes]) -> list[SuperPacket]:
    return codec.coalesce(views(packets), offload=True)


def joined(superpacket: SuperPacket) -> memoryview:
    return memoryview(b"".join(superpacket.parts))


def split(codec: Codec, superpackets: list[SuperPacket]) -> list[bytes]:
    """Return the packets that the kernel would make of what is written to the TUN."""
    packets = []
    for superpacket in superpackets:
        if superpacket.parts[0] == bytes(10):
            packets.append(bytes(joined(superpacket)[10:]))
        else:
            packets += wire(codec, joined(superpacket), mtu=0)
    return packets


def counts(superpackets: list[SuperPacket]) -> list[int]:
    """Return how many packets each super-packet has."""
    return [max(1, len(superpacket.parts) - 2) for superpacket in superpackets]


# ---------------------------------------------------------------------------------- seal


@pytest.mark.parametrize("flow", FLOWS, ids=str)
@pytest.mark.parametrize(
    ("length", "size"),
    [
        *[(1, 1), (1, 1368), (2, 1), (1367, 1368), (1368, 1368), (1369, 1368), (2736, 1368)],
        *[(64_240, 1368), (65_000, 1360), (65_415, 1363), (65_400, 9_000), (7_777, 999)],
    ],
)
def test_a_train_is_segmented_as_scapy_builds_it(
    codec: Codec, flow: Flow, length: int, size: int
) -> None:
    payload = payload_of(length)
    packets = wire(codec, flow.superpacket(payload, size))
    assert packets == flow.segments(payload, size)
    assert all(packet == rebuilt(packet) for packet in packets)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("flags", ["FA", "CA", "FPA", "CPA", "CEPA", "FPCEA", "PA", "EA"])
def test_fin_and_psh_are_on_the_last_segment_and_cwr_on_the_first(
    codec: Codec, version: int, flags: str
) -> None:
    flow = Flow(version, flags=flags)
    packets = wire(codec, flow.superpacket(payload_of(5000), 1000))
    assert packets == flow.segments(payload_of(5000), 1000)
    seen = [packet[flow.transport + 13] for packet in packets]
    assert all(not flag & 0x09 for flag in seen[:-1])
    assert all(not flag & 0x80 for flag in seen[1:])


def test_the_ecn_bit_of_the_gso_type_changes_nothing(codec: Codec) -> None:
    flow = Flow(flags="CEA", ecn=2)
    superpacket = bytearray(flow.superpacket(payload_of(3000), 1000))
    superpacket[1] |= 0x80
    assert wire(codec, memoryview(superpacket)) == flow.segments(payload_of(3000), 1000)


@few
@given(flow=flows, length=st.integers(1, 20_000), size=st.integers(400, 9_000))
def test_segments_are_valid_for_every_length(
    codec: Codec, flow: Flow, length: int, size: int
) -> None:
    payload = payload_of(length)
    assert wire(codec, flow.superpacket(payload, size)) == flow.segments(payload, size)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("options", [(), tuple([("NOP", None)] * 40)], ids=["none", "40 bytes"])
def test_every_length_of_tcp_options(codec: Codec, version: int, options: tuple[str]) -> None:
    flow = Flow(version, options=options)
    assert wire(codec, flow.superpacket(payload_of(4000), 700)) == flow.segments(
        payload_of(4000), 700
    )


def test_ipv4_options_are_copied_and_in_the_checksum(codec: Codec) -> None:
    plain = Flow().superpacket(payload_of(3000), 1000)
    vnet = VNET.pack(1, 1, 0, 1000, 24, 16)
    packet = bytearray(plain[10:30]) + b"\x01\x01\x01\x00" + plain[30:]
    packet[0] = 0x46
    packet[2:4] = len(packet).to_bytes(2, "big")
    packets = wire(codec, memoryview(vnet + bytes(rebuilt_ipv4(packet))))
    assert len(packets) == 3
    assert all(packet == rebuilt(packet) for packet in packets)


def rebuilt_ipv4(packet: bytearray) -> bytearray:
    """Give the IPv4 header its checksum, word by word."""
    packet[10:12] = bytes(2)
    total = sum(int.from_bytes(packet[at : at + 2], "big") for at in range(0, 24, 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    packet[10:12] = (0xFFFF - total).to_bytes(2, "big")
    return packet


def test_ipv6_extension_headers_of_a_train_are_copied(codec: Codec) -> None:
    plain = Flow(6).superpacket(payload_of(3000), 1000)
    extension = bytes([6, 0, 1, 4, 0, 0, 0, 0])  # destination options: next is TCP, one PadN
    packet = bytearray(plain[10:50]) + extension + plain[50:]
    packet[6] = 60
    packet[4:6] = (len(packet) - 40).to_bytes(2, "big")
    packets = wire(codec, memoryview(VNET.pack(1, 4, 0, 1000, 48, 16) + bytes(packet)))
    assert len(packets) == 3
    assert all(packet == rebuilt(packet) for packet in packets)


@pytest.mark.parametrize("flow", FLOWS, ids=str)
@pytest.mark.parametrize("needs_checksum", [True, False])
@pytest.mark.parametrize("length", [0, 1, 2, 11, 12, 64, 1000, 1367, 1368, 9000, 65_400])
def test_a_single_packet_is_sealed_with_its_checksum_finished(
    codec: Codec, flow: Flow, length: int, needs_checksum: bool
) -> None:
    superpacket = flow.single(payload_of(length), needs_checksum=needs_checksum)
    assert codec.segments(superpacket) == 1
    assert wire(codec, superpacket) == [flow.packet(payload_of(length))]


@few
@given(flow=flows, payload=st.binary(max_size=300))
def test_every_checksum_of_a_single_packet(codec: Codec, flow: Flow, payload: bytes) -> None:
    assert wire(codec, flow.single(payload, needs_checksum=True)) == [flow.packet(payload)]


@pytest.mark.parametrize("count", [1, 3])
def test_a_udp_checksum_of_zero_is_sent_as_all_ones(codec: Codec, count: int) -> None:
    flow = Flow(protocol="udp", identification=0)
    plain = flow.packet(bytes(2))
    payload = plain[26:28]  # its own checksum as payload makes the sum come to zero
    single = flow.single(payload, needs_checksum=True)
    superpacket = single if count == 1 else flow.superpacket(payload * count, 2)
    packets = wire(codec, superpacket)
    assert [packet[26:28] for packet in packets] == [b"\xff\xff"] * count


@few
@given(
    flow=flows,
    length=st.one_of(st.integers(1, 64), st.integers(1, 1_500), st.just(1_368)),
    count=st.integers(1, 43),
    needs_checksum=st.booleans(),
    mtu=st.sampled_from([0, 1280, MTU, 1500]),
)
def test_packets_that_are_alike_are_sealed_as_one_by_one(
    codec: Codec, flow: Flow, length: int, count: int, needs_checksum: bool, mtu: int
) -> None:
    payload = payload_of(length + count)
    packets = [
        replace(flow, sequence=number, identification=number).single(
            payload[number : number + length], needs_checksum=needs_checksum
        )
        for number in range(count)
    ]
    one_by_one = b"".join(
        sealed(codec, packet, mtu=mtu, first=5 + number)[1] for number, packet in enumerate(packets)
    )
    out = memoryview(bytearray(b"\xaa" * (sum(map(len, packets)) + count * SEGMENT_OVERHEAD)))
    result = codec.seal_alike(packets, CIPHER, RECEIVER, 5, mtu, out)
    assert (result.count, result.length) == (count, len(one_by_one))
    assert out[: result.length] == one_by_one


@few
@given(
    flow=flows,
    payload=st.binary(max_size=300),
    needs_checksum=st.booleans(),
    mtu=st.sampled_from([0, 1280, MTU]),
)
def test_a_plain_packet_is_sealed_alone_as_any_other(
    codec: Codec, flow: Flow, payload: bytes, needs_checksum: bool, mtu: int
) -> None:
    superpacket = flow.single(payload, needs_checksum=needs_checksum)
    assert plain_glance(superpacket) is not None
    _, expected = sealed(codec, superpacket, mtu=mtu)
    out = memoryview(bytearray(b"\xaa" * (len(superpacket) + SEGMENT_OVERHEAD)))
    length = codec.seal_single(superpacket, CIPHER, RECEIVER, 5, mtu, out)
    assert out[:length] == expected


def test_a_checksum_outside_of_the_packet_is_not_finished(codec: Codec) -> None:
    superpacket = memoryview(bytearray(Flow().single(b"text", needs_checksum=True)))
    VNET.pack_into(superpacket, 0, 1, 0, 0, 0, len(superpacket) - 11, 0)
    assert codec.seal_single(superpacket, CIPHER, 1, 0, MTU, memoryview(bytearray(500))) == 0


def test_what_is_no_packet_is_not_sealed_though_it_is_alike(codec: Codec) -> None:
    out = memoryview(bytearray(SEAL_CAPACITY))
    for packet in (b"", b"\x45" + bytes(30), bytes(60), VNET.pack(1, 0, 0, 0, 60, 6) + b"\x45"):
        superpacket = memoryview(packet if len(packet) == 11 else bytes(10) + packet)
        assert codec.seal_alike([superpacket] * 3, CIPHER, 1, 0, MTU, out) == Sealed(0, 0, 0)


def test_datagrams_have_the_layout_of_wireguard(codec: Codec) -> None:
    first = 2**64 - 2**13 - 10
    superpacket = Flow().superpacket(payload_of(5000), 1000)
    result, out = sealed(codec, superpacket, first=first)
    assert result.count == codec.segments(superpacket) == 5
    assert result.length == len(out) == 4 * result.segment_size + len(datagrams(result, out)[-1])
    for at, datagram in enumerate(datagrams(result, out)):
        header = (4).to_bytes(4, "little") + RECEIVER.to_bytes(4, "little")
        assert datagram[:16] == header + (first + at).to_bytes(8, "little")
    assert len(plaintexts(result, out, first)) == 5


@few
@given(
    flow=flows,
    length=st.integers(1, 4_000),
    size=st.integers(300, 1_500),
    mtu=st.integers(576, 1_600),
)
def test_plaintexts_are_padded_to_16_but_not_beyond_the_mtu(
    codec: Codec, flow: Flow, length: int, size: int, mtu: int
) -> None:
    expected = flow.segments(payload_of(length), size)
    packets = plaintexts(*sealed(codec, flow.superpacket(payload_of(length), size), mtu=mtu))
    for packet, segment in zip(packets, expected, strict=True):
        width = max(len(segment), min(-(-len(segment) // 16) * 16, mtu))
        assert packet == segment.ljust(width, b"\0")


def test_nothing_of_an_earlier_packet_is_left_in_the_padding(codec: Codec) -> None:
    sealed(codec, Flow().superpacket(b"\xff" * 65_000, 1368))
    for superpacket in (
        Flow().superpacket(payload_of(2_001), 1_001),
        Flow().single(b"x", needs_checksum=True),
    ):
        for packet in plaintexts(*sealed(codec, superpacket)):
            assert not any(packet[inner_length(memoryview(packet)) :])


def test_the_smallest_segments_fit_the_documented_room(codec: Codec) -> None:
    flow = Flow(6, options=tuple([("NOP", None)] * 40))
    superpacket = flow.superpacket(payload_of(64 * 1_022), 64)
    assert codec.segments(superpacket) == 1_022
    result, out = sealed(codec, superpacket)
    assert result.count == 1_022
    assert b"".join(packet[100:164] for packet in plaintexts(result, out)) == superpacket[110:]


def test_the_number_of_segments_is_bounded(codec: Codec) -> None:
    flow = Flow(protocol="udp")
    assert codec.segments(flow.superpacket(bytes(MAX_SEGMENTS), 1)) == MAX_SEGMENTS
    assert codec.segments(flow.superpacket(bytes(MAX_SEGMENTS + 1), 1)) == 0


TCP4 = bytes(Flow().superpacket(payload_of(3000), 1000))
UDP6 = bytes(Flow(6, "udp").superpacket(payload_of(3000), 1000))
SINGLE = bytes(Flow().single(b"abc", needs_checksum=True))


@pytest.mark.parametrize(
    "superpacket",
    {
        "empty": b"",
        "only a vnet header": bytes(10),
        "version 5": bytes(10) + b"\x50" + bytes(39),
        "IPv4 header cut": bytes(10) + b"\x45" + bytes(18),
        "IPv6 header cut": bytes(10) + b"\x60" + bytes(38),
        "IPv4 longer than the packet": SINGLE[:-1],
        "IHL of four words": SINGLE[:10] + b"\x44" + SINGLE[11:],
        "checksum beyond the end": VNET.pack(1, 0, 0, 0, 40, 40) + SINGLE[10:],
        "train without NEEDS_CSUM": VNET.pack(0, 1, 52, 1000, 20, 16) + TCP4[10:],
        "RSC_INFO": VNET.pack(5, 1, 52, 1000, 20, 16) + TCP4[10:],
        "gso_size 0": VNET.pack(1, 1, 52, 0, 20, 16) + TCP4[10:],
        "csum_start 0": VNET.pack(1, 1, 52, 1000, 0, 16) + TCP4[10:],
        "csum_start beyond the end": VNET.pack(1, 1, 52, 1000, 60_000, 16) + TCP4[10:],
        "csum_start not at TCP": VNET.pack(1, 1, 52, 1000, 24, 16) + TCP4[10:],
        "csum_offset of UDP": VNET.pack(1, 1, 52, 1000, 20, 6) + TCP4[10:],
        "UFO": VNET.pack(1, 3, 28, 1000, 20, 6) + TCP4[10:],
        "unknown type": VNET.pack(1, 0x21, 28, 1000, 20, 16) + TCP4[10:],
        "TCPV6 with IPv4": VNET.pack(1, 4, 52, 1000, 20, 16) + TCP4[10:],
        "TCPV4 with UDP": VNET.pack(1, 1, 52, 1000, 20, 16) + TCP4[10:19] + b"\x11" + TCP4[20:],
        "no payload": TCP4[:62],
        "data offset too small": TCP4[:42] + b"\x40" + TCP4[43:],
        "data offset beyond the end": TCP4[:60],
        "UDP header cut": UDP6[:57],
        "next header not UDP": UDP6[:16] + b"\x06" + UDP6[17:],
        "more than 65,535 bytes": TCP4 + bytes(65_536),
    }.items(),
    ids=lambda item: item[0],
)
def test_a_malformed_superpacket_seals_nothing(
    codec: Codec, superpacket: tuple[str, bytes]
) -> None:
    packet = memoryview(superpacket[1])
    assert codec.segments(packet) == 0
    assert codec.seal(packet, CIPHER, 1, 0, MTU, memoryview(bytearray())) == Sealed(0, 0, 0)


@many
@given(
    flow=flows,
    train=st.booleans(),
    cut=st.integers(0, 400),
    edits=st.lists(st.tuples(st.integers(0, 70), st.integers(0, 255)), max_size=4),
)
def test_no_superpacket_raises(
    codec: Codec, flow: Flow, train: bool, cut: int, edits: list[tuple[int, int]]
) -> None:
    whole = (
        flow.superpacket(bytes(300), 100) if train else flow.single(bytes(9), needs_checksum=True)
    )
    packet = bytearray(whole)[: len(whole) - cut if cut < len(whole) else 0]
    for at, value in edits:
        if at < len(packet):
            packet[at] = value
    result, _ = sealed(codec, memoryview(packet))
    assert result.count == codec.segments(memoryview(packet))


# ---------------------------------------------------------------------------------- open


def data_message(
    plaintext: bytes, counter: int, receiver: int = RECEIVER, cipher: ChaCha20Poly1305 = CIPHER
) -> bytes:
    nonce = bytes(4) + counter.to_bytes(8, "little")
    head = (4).to_bytes(4, "little") + receiver.to_bytes(4, "little")
    return head + counter.to_bytes(8, "little") + cipher.encrypt(nonce, plaintext, None)


def opened(codec: Codec, messages: list[bytes], size: int | None = None) -> list[Opened]:
    buffer = memoryview(b"".join(messages))
    return codec.open(buffer, len(messages[0]) if size is None else size, KEYRING)


@pytest.mark.parametrize("flow", FLOWS, ids=str)
@pytest.mark.parametrize("length", [1, 1300, 1301, 5000, 56_000])
def test_open_undoes_seal(codec: Codec, flow: Flow, length: int) -> None:
    result, out = sealed(codec, flow.superpacket(payload_of(length), 1300), first=9)
    (run,) = codec.open(out, result.segment_size, KEYRING)
    assert run.receiver == RECEIVER
    assert run.counters == list(range(9, 9 + result.count))
    assert run.failed == 0
    assert [bytes(packet) for packet in run.packets] == plaintexts(result, out, 9)


@pytest.mark.parametrize("size", [0, 48, 49, 60_000])
def test_one_datagram_needs_no_segment_size(codec: Codec, size: int) -> None:
    (run,) = opened(codec, [data_message(b"p" * 16, 3)], size)
    assert (run.counters, [bytes(packet) for packet in run.packets]) == ([3], [b"p" * 16])


def test_keepalives_and_control_frames_pass_untouched(codec: Codec) -> None:
    frame = bytes([20, 1]) + payload_of(30)
    assert [bytes(packet) for packet in opened(codec, [data_message(b"", 1)] * 3)[0].packets] == [
        b""
    ] * 3
    (run,) = opened(codec, [data_message(frame, 1), data_message(frame, 2), data_message(b"", 3)])
    assert [bytes(packet) for packet in run.packets] == [frame, frame, b""]


def test_forged_datagrams_are_counted_and_the_others_opened(codec: Codec) -> None:
    messages = [data_message(bytes([at]) * 32, at) for at in range(6)]
    messages[2] = messages[2][:-1] + bytes([messages[2][-1] ^ 1])
    messages[4] = messages[4][:8] + messages[3][8:16] + messages[4][16:]
    (run,) = opened(codec, messages)
    assert run.failed == 2
    assert run.counters == [0, 1, 3, 5]
    assert [packet[0] for packet in run.packets] == [0, 1, 3, 5]


def test_receivers_are_kept_apart_and_strangers_handed_back(codec: Codec) -> None:
    mine = [data_message(b"m" * 16, at) for at in range(2)]
    other = [data_message(b"o" * 16, at, 0, OTHER) for at in range(2)]
    stranger = data_message(b"s" * 16, 1, 99)
    handshake = b"\x01\0\0\0" + bytes(44)
    reserved = mine[0][:1] + b"\1" + mine[0][2:]
    short = bytes(31)
    messages = [mine[0], *other, stranger, handshake, reserved, mine[1], short]
    runs = opened(codec, messages)
    assert [(run.receiver, run.counters, run.failed) for run in runs] == [
        (RECEIVER, [0], 0),
        (0, [0, 1], 0),
        (None, [], 0),
        (RECEIVER, [1], 0),
        (None, [], 0),
    ]
    assert [bytes(packet) for packet in runs[1].packets] == [b"o" * 16] * 2
    assert [bytes(packet) for packet in runs[2].packets] == [stranger, handshake, reserved]
    assert [bytes(packet) for packet in runs[4].packets] == [short]


@pytest.mark.parametrize("size", [0, 1, 16, 31, 32, 33, 148])
@pytest.mark.parametrize("length", [0, 1, 31, 32, 63, 64, 147, 148, 149, 296])
@pytest.mark.parametrize("head", ["00000000", "04000000", "04000000d4c3b2a1", "01000000"])
def test_datagrams_of_every_length_and_type_are_accounted_for(
    codec: Codec, length: int, size: int, head: str
) -> None:
    buffer = memoryview(bytes.fromhex(head).ljust(length, b"\x04")[:length])
    runs = codec.open(buffer, size, KEYRING)
    one = length if not 0 < size < length else size
    assert sum(len(run.packets) + run.failed for run in runs) == (-(-length // one) if one else 0)
    untouched = [bytes(packet) for run in runs if run.receiver is None for packet in run.packets]
    if not any(run.failed for run in runs):
        assert b"".join(untouched) == buffer


@many
@given(buffer=st.binary(max_size=400), size=st.integers(0, 100), valid=st.integers(0, 3))
def test_no_buffer_raises(codec: Codec, buffer: bytes, size: int, valid: int) -> None:
    whole = memoryview(data_message(bytes(16), 1) * valid + buffer)
    runs = codec.open(whole, size, KEYRING)
    assert all(len(run.counters) == len(run.packets) for run in runs if run.receiver is not None)


@many
@given(buffer=st.binary(max_size=100), head=st.sampled_from(["", "04000000d4c3b2a1", "01000000"]))
def test_a_lone_datagram_is_opened_as_any_other_or_left_to_open(
    codec: Codec, buffer: bytes, head: str
) -> None:
    for datagram in (bytes.fromhex(head) + buffer, data_message(buffer, 7)):
        single = codec.open_single(memoryview(datagram), KEYRING)
        found = (bytes(single[2]), *single[:2]) if single is not None else None
        runs = codec.open(memoryview(datagram), 0, KEYRING)
        good = [run for run in runs if run.receiver is not None and run.packets]
        assert found == next(
            ((bytes(run.packets[0]), run.receiver, run.counters[0]) for run in good), None
        )


def test_a_buffer_full_of_keepalives(codec: Codec) -> None:
    buffer = memoryview(data_message(b"", 1) * 2047)
    (run,) = codec.open(buffer, 32, KEYRING)
    assert len(run.packets) == 2047


# ------------------------------------------------------------------------------ coalesce


@pytest.mark.parametrize("flow", [*FLOWS, Flow(flags="PA"), Flow(6, flags="EPA")], ids=str)
@pytest.mark.parametrize(
    ("length", "size"), [(1, 1368), (2736, 1368), (4000, 1368), (50_001, 1001), (58_001, 1000)]
)
def test_coalescing_undoes_segmentation(codec: Codec, flow: Flow, length: int, size: int) -> None:
    original = flow.superpacket(payload_of(length), size)
    result, out = sealed(codec, original)
    (run,) = codec.open(out, result.segment_size, KEYRING)
    (superpacket,) = codec.coalesce(run.packets, offload=True)
    if result.count == 1:
        assert joined(superpacket) == bytes(10) + flow.packet(payload_of(length))
    else:
        assert without_ipv4_checksum(joined(superpacket)) == without_ipv4_checksum(original)


def without_ipv4_checksum(superpacket: memoryview) -> bytes:
    """Blank the one field that the kernel does not look at in a train."""
    blank = bytearray(superpacket)
    if blank[10] >> 4 == 4:
        blank[20:22] = bytes(2)
    return bytes(blank)


@few
@given(flow=flows, length=st.integers(1, 20_000), size=st.integers(400, 1_500))
def test_coalescing_undoes_segmentation_of_every_length(
    codec: Codec, flow: Flow, length: int, size: int
) -> None:
    packets = flow.segments(payload_of(length), size)
    superpackets = merged(codec, packets)
    assert split(codec, superpackets) == packets
    assert len(superpackets) == 1


@pytest.mark.parametrize("flow", FLOWS, ids=str)
def test_the_vnet_header_describes_the_train(codec: Codec, flow: Flow) -> None:
    (superpacket,) = merged(codec, flow.segments(payload_of(3500), 1000))
    kind = {("tcp", 4): 1, ("tcp", 6): 4}.get((flow.protocol, flow.version), 5)
    offset = 16 if flow.protocol == "tcp" else 6
    expected = (1, kind, flow.headers, 1000, flow.transport, offset)
    assert VNET.unpack(superpacket.parts[0]) == expected
    packet = flow.packet(b"")
    addresses = packet[12:20] if flow.version == 4 else packet[8:40]
    assert superpacket.source + superpacket.destination == addresses


def test_payloads_are_views_of_the_packets(codec: Codec) -> None:
    packets = views(Flow().segments(payload_of(10_000), 1000))
    (superpacket,) = codec.coalesce(packets, offload=True)
    payloads = superpacket.parts[2:]
    assert len(payloads) == len(packets) == 10
    for payload, packet in zip(payloads, packets, strict=True):
        assert isinstance(payload, memoryview)
        assert payload.obj is packet.obj


def test_without_offload_nothing_is_merged(codec: Codec) -> None:
    packets = Flow().segments(payload_of(10_000), 1000)
    superpackets = codec.coalesce(views(packets), offload=False)
    assert [joined(superpacket) for superpacket in superpackets] == [
        bytes(10) + packet for packet in packets
    ]
    assert {superpacket.source for superpacket in superpackets} == {bytes([10, 7, 0, 1])}


@pytest.mark.parametrize("version", [4, 6])
def test_without_udp_offload_only_tcp_is_merged(codec: Codec, version: int) -> None:
    udp = Flow(version, "udp").segments(payload_of(9_000), 1000)
    tcp = Flow(version).segments(payload_of(9_000), 1000)
    superpackets = codec.coalesce(views(udp + tcp), offload=True, udp_offload=False)
    assert counts(superpackets) == [*[1] * 9, 9]
    assert split(codec, superpackets) == udp + tcp


def test_no_more_than_the_kernel_takes(codec: Codec) -> None:
    many_small = Flow().segments(payload_of(150 * 100), 100)
    superpackets = merged(codec, many_small)
    assert counts(superpackets) == [MAX_COALESCED, MAX_COALESCED, 22]
    assert split(codec, superpackets) == many_small
    large = Flow().segments(payload_of(60_000), 9_000) + replace(
        Flow(), sequence=(Flow().sequence + 60_000) % 2**32, identification=0xFFF7
    ).segments(payload_of(60_000), 9_000)
    superpackets = merged(codec, large)
    assert split(codec, superpackets) == large
    assert all(len(joined(superpacket)) <= 10 + MAX_PACKET for superpacket in superpackets)


def changed(at: int, value: int, *, repair: bool = True) -> Callable[[bytes], bytes]:
    """Return a change of one byte, after which lengths and checksums are right or not."""

    def change(packet: bytes) -> bytes:
        other = bytearray(packet)
        other[at] ^= value
        return rebuilt(bytes(other)) if repair else bytes(other)

    return change


def as_fragment(packet: bytes) -> bytes:
    return rebuilt(packet[:6] + b"\x20\x00" + packet[8:])


def with_ipv4_option(packet: bytes) -> bytes:
    length = (len(packet) + 4).to_bytes(2, "big")
    head = b"\x46" + packet[1:2] + length + packet[4:20]
    return rebuilt(head + b"\x01\x01\x01\x00" + packet[20:])


def with_extension(packet: bytes) -> bytes:
    length = (len(packet) + 8 - 40).to_bytes(2, "big")
    head = packet[:4] + length + b"\x3c" + packet[7:40]
    return rebuilt(head + bytes([packet[6], 0, 1, 4, 0, 0, 0, 0]) + packet[40:])


FOUR, SIX = Flow(4), Flow(6)
FOUR_UDP, SIX_UDP = Flow(4, "udp", dont_fragment=False), Flow(6, "udp")
WITH_IDS = Flow(4, dont_fragment=False)
ODD: dict[str, tuple[Flow, Callable[[bytes], bytes]]] = {
    "TOS": (FOUR, changed(1, 0x10)),
    "ECN": (FOUR, changed(1, 0x03)),
    "TTL": (FOUR, changed(8, 1)),
    "DF": (FOUR, changed(6, 0x40)),
    "evil bit": (FOUR, changed(6, 0x80)),
    "id jumps": (WITH_IDS, changed(4, 1)),
    "fragment": (FOUR, as_fragment),
    "IPv4 option": (FOUR, with_ipv4_option),
    "IPv4 checksum": (FOUR, changed(10, 1, repair=False)),
    "source": (FOUR, changed(15, 1)),
    "source port": (FOUR, changed(21, 1)),
    "sequence": (FOUR, changed(26, 1)),
    "acknowledgement": (FOUR, changed(31, 1)),
    "reserved bit": (FOUR, changed(32, 1)),
    "window": (FOUR, changed(35, 1)),
    "TCP checksum": (FOUR, changed(36, 1, repair=False)),
    "urgent pointer": (FOUR, changed(39, 1)),
    "option": (FOUR, changed(51, 1)),
    "payload corrupt": (FOUR, changed(80, 1, repair=False)),
    "last byte corrupt": (FOUR, changed(-1, 1, repair=False)),
    **{name: (FOUR, changed(33, bit)) for name, bit in zip("FSRU", (1, 2, 4, 32), strict=True)},
    "ECE": (FOUR, changed(33, 0x40)),
    "CWR": (FOUR, changed(33, 0x80)),
    "no ACK": (FOUR, changed(33, 0x10)),
    "traffic class": (SIX, changed(1, 0x10)),
    "flow label": (SIX, changed(3, 1)),
    "hop limit": (SIX, changed(7, 1)),
    "IPv6 source": (SIX, changed(20, 1)),
    "IPv6 extension": (SIX, with_extension),
    "IPv6 TCP checksum": (SIX, changed(56, 1, repair=False)),
    "IPv6 payload corrupt": (SIX, changed(99, 1, repair=False)),
    "UDP port": (FOUR_UDP, changed(23, 1)),
    "UDP length": (FOUR_UDP, changed(25, 1, repair=False)),
    "UDP checksum": (FOUR_UDP, changed(26, 1, repair=False)),
    "UDP without checksum": (FOUR_UDP, lambda packet: packet[:26] + bytes(2) + packet[28:]),
    "IPv6 UDP checksum": (SIX_UDP, changed(46, 1, repair=False)),
    "IPv6 UDP without checksum": (SIX_UDP, lambda packet: packet[:46] + bytes(2) + packet[48:]),
}


@pytest.mark.parametrize("count", [3, 4, 30])
@pytest.mark.parametrize("size", [1000, 999])
@pytest.mark.parametrize("odd", ODD)
def test_an_odd_packet_is_never_merged(codec: Codec, odd: str, size: int, count: int) -> None:
    flow, change = ODD[odd]
    packets = flow.segments(payload_of(count * size), size)
    middle = count // 2
    packets[middle] = change(packets[middle])
    superpackets = merged(codec, packets)
    assert split(codec, superpackets) == packets
    assert bytes(10) + packets[middle] in [joined(superpacket) for superpacket in superpackets]
    assert counts(superpackets) == [middle, 1, count - middle - 1]


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_first_packet_is_never_merged(codec: Codec, odd: str) -> None:
    flow, change = ODD[odd]
    packets = flow.segments(payload_of(9_000), 1000)
    packets[0] = change(packets[0])
    superpackets = merged(codec, packets)
    assert split(codec, superpackets) == packets
    assert counts(superpackets) == [1, 8]


@pytest.mark.parametrize("count", [3, 30])
def test_psh_ends_a_train(codec: Codec, count: int) -> None:
    packets = Flow().segments(payload_of(count * 1000), 1000)
    middle = count // 2
    packets[middle] = changed(33, 0x08)(packets[middle])
    superpackets = merged(codec, packets)
    assert split(codec, superpackets) == packets
    assert counts(superpackets) == [middle + 1, count - middle - 1]


@pytest.mark.parametrize("flow", FLOWS, ids=str)
@pytest.mark.parametrize(
    ("lengths", "expected"),
    [
        ([1000, 1000, 400, 1000, 1000], [3, 2]),
        ([400, 1000, 1000], [1, 2]),
        ([1000, *[400] * 9], [1, 9]),
        ([1000, 400, 400], [2, 1]),
        ([*[1000] * 9, 400, *[1000] * 9], [10, 9]),
    ],
)
def test_a_shorter_segment_ends_a_train_and_a_longer_begins_one(
    codec: Codec, flow: Flow, lengths: list[int], expected: list[int]
) -> None:
    packets, sequence = [], flow.sequence
    for at, length in enumerate(lengths):
        step = replace(flow, sequence=sequence % 2**32, identification=at)
        packets.append(step.packet(payload_of(length)))
        sequence += length
    superpackets = merged(codec, packets)
    assert split(codec, superpackets) == packets
    assert counts(superpackets) == expected


def test_lengths_within_the_padding_are_told_apart(codec: Codec) -> None:
    flow, packets, sequence = Flow(), [], Flow().sequence
    for at, length in enumerate([1000, 1000, 1000, 1000, 1000, 1000, 999, 1000, 998, 997]):
        step = replace(flow, sequence=sequence % 2**32, identification=at)
        packets.append(step.packet(payload_of(length)))
        sequence += length
    superpackets = merged(codec, packets)
    assert split(codec, superpackets) == packets
    assert counts(superpackets) == [7, 2, 1]


def test_ids_are_free_where_fragments_are_forbidden(codec: Codec) -> None:
    packets = [
        replace(Flow(), identification=0, sequence=at * 1000).packet(payload_of(1000))
        for at in range(10)
    ]
    assert counts(merged(codec, packets)) == [10]
    assert counts(merged(codec, packets[:3])) == [3]


@pytest.mark.parametrize("count", [3, 30])
def test_udp_without_checksums_is_merged_in_ipv4(codec: Codec, count: int) -> None:
    packets = FOUR_UDP.segments(payload_of(count * 1000), 1000)
    bare = [packet[:26] + bytes(2) + packet[28:] for packet in packets]
    superpackets = merged(codec, bare)
    assert counts(superpackets) == [count]
    assert split(codec, superpackets) == packets


def test_interleaved_connections_are_merged_each_for_itself(codec: Codec) -> None:
    flows = [Flow(), Flow(ports=(40001, 443)), Flow(6), Flow(6, "udp")]
    trains = [flow.segments(payload_of(8_000), 1000) for flow in flows]
    mixed = [packet for packets in zip(*trains, strict=True) for packet in packets]
    superpackets = merged(codec, mixed)
    assert counts(superpackets) == [8] * 4
    assert split(codec, superpackets) == [packet for train in trains for packet in train]


@few
@given(flow=flows, count=st.integers(1, 185), size=st.sampled_from([100, 700, 1_300]))
def test_what_several_receives_brought_is_the_trains_that_were_sent(
    codec: Codec, flow: Flow, count: int, size: int
) -> None:
    """More than one super-packet holds: each packet is there once, and in order."""
    packets = flow.segments(payload_of(count * size), size)
    result = [
        CIPHER.encrypt(bytes(4) + n.to_bytes(8, "little"), packet, None)
        for n, packet in enumerate(views(packets))
    ]
    headers = [
        (4).to_bytes(4, "little") + RECEIVER.to_bytes(4, "little") + n.to_bytes(8, "little")
        for n in range(count)
    ]
    buffer = memoryview(b"".join(map(bytes.__add__, headers, result)))
    assert len(buffer) <= OPEN_CAPACITY
    (opened,) = codec.open(buffer, len(result[0]) + 16, KEYRING)
    assert (opened.counters, opened.failed) == (list(range(count)), 0)
    superpackets = codec.coalesce(opened.packets, offload=True)
    assert split(codec, superpackets) == packets
    assert all(len(joined(superpacket)) <= MAX_PACKET + 10 for superpacket in superpackets)


def test_only_the_latest_train_of_a_connection_is_extended(codec: Codec) -> None:
    one, two, three, four = Flow().segments(payload_of(4000), 1000)
    new_window = changed(35, 1)
    packets = [one, new_window(two), three, new_window(four)]
    superpackets = merged(codec, packets)
    assert counts(superpackets) == [1] * 4
    assert split(codec, superpackets) == packets


def test_a_pure_acknowledgement_does_not_stop_a_train(codec: Codec) -> None:
    one, two = Flow().segments(payload_of(2000), 1000)
    acknowledgement = Flow().packet(b"")
    superpackets = merged(codec, [one, acknowledgement, two])
    assert counts(superpackets) == [2, 1]
    assert split(codec, superpackets) == [one, two, acknowledgement]


@pytest.mark.parametrize("flow", [Flow(flags="FA"), Flow(flags="RA"), Flow(flags="SA")], ids=str)
def test_the_end_of_a_connection_is_not_overtaken(codec: Codec, flow: Flow) -> None:
    one, two = Flow().segments(payload_of(2000), 1000)
    packets = [one, flow.packet(b""), two]
    assert split(codec, merged(codec, packets)) == packets


@pytest.mark.parametrize(
    "packet",
    [
        *[b"", b"\x45", bytes(20), b"\x60" + bytes(38), b"\x14" + bytes(30), b"\x44" + bytes(40)],
        *[Flow().packet(b"abc")[:-1], Flow(6).packet(b"abc")[:-1]],
    ],
    ids=lambda packet: packet.hex()[:8] + "/" + str(len(packet)),
)
@pytest.mark.parametrize("offload", [True, False])
def test_wrong_lengths_and_versions_are_dropped_and_counted(
    codec: Codec, packet: bytes, offload: bool
) -> None:
    good = Flow().packet(b"x")
    superpackets = codec.coalesce([memoryview(item) for item in (packet, good)], offload=offload)
    assert [joined(superpacket)[10:] for superpacket in superpackets] == [good]
    assert codec.malformed == 1


@many
@given(
    flow=st.sampled_from([flow for flow in FLOWS if flow.version == 6] + [WITH_IDS]),
    count=st.integers(1, 12),
    edits=st.lists(
        st.tuples(st.integers(0, 11), st.integers(0, 70), st.integers(0, 255)), max_size=6
    ),
    reorder=st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=2),
)
def test_whatever_comes_is_delivered_unchanged_or_counted(
    codec: Codec,
    flow: Flow,
    count: int,
    edits: list[tuple[int, int, int]],
    reorder: list[tuple[int, int]],
) -> None:
    packets = [bytearray(packet) for packet in flow.segments(payload_of(count * 60), 60)]
    for which, at, value in edits:
        packets[which % count][at] = value
    for one, two in reorder:
        packets[one % count], packets[two % count] = packets[two % count], packets[one % count]
    before = codec.malformed
    inputs = [bytes(packet) for packet in packets]
    lengths = [inner_length(memoryview(packet)) for packet in inputs]
    expected = [packet[:length] for packet, length in zip(inputs, lengths, strict=True) if length]
    superpackets = codec.coalesce([memoryview(packet) for packet in inputs], offload=True)
    assert codec.malformed - before == len(inputs) - len(expected)
    assert sorted(split(codec, superpackets)) == sorted(expected)


@pytest.mark.parametrize("count", [3, 30])
def test_a_wrong_udp_length_that_the_checksum_hides_is_not_merged(codec: Codec, count: int) -> None:
    packets = FOUR_UDP.segments(payload_of(count * 1000), 1000)
    middle = bytearray(packets[count // 2])
    middle[24] ^= 0x08  # length + or - 2048, and a payload that makes up for it
    sign = 1 if middle[24] & 0x08 else -1
    word = (int.from_bytes(middle[28:30], "big") - sign * 0x0800) % 0xFFFF
    middle[28:30] = word.to_bytes(2, "big")
    packets[count // 2] = bytes(middle)
    superpackets = merged(codec, packets)
    assert split(codec, superpackets) == packets
    assert counts(superpackets) == [count // 2, 1, count - count // 2 - 1]
