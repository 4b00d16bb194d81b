"""What senders of too large packets are told, read by scapy."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6EchoRequest, ICMPv6PacketTooBig, IPv6
from scapy.packet import Raw
from superpackets import rebuilt

from sacip_tun.datapath.icmp import too_big, unreachable


def v4(*layers, **fields) -> bytes:
    packet = IP(**{"src": "10.9.0.2", "dst": "10.8.0.1", "flags": "DF", **fields})
    for layer in layers or (UDP(sport=1, dport=2) / Raw(bytes(1400)),):
        packet /= layer
    return bytes(packet)


def v6(*layers, **fields) -> bytes:
    packet = IPv6(**{"src": "fd00::2", "dst": "fd01::1", **fields})
    for layer in layers or (UDP(sport=1, dport=2) / Raw(bytes(1400)),):
        packet /= layer
    return bytes(packet)


def test_ipv4_is_told_with_the_mtu_and_its_own_packet() -> None:
    packet = v4()
    answer = too_big(memoryview(packet), 1220)
    assert answer is not None
    parsed = IP(answer)
    assert (parsed.src, parsed.dst) == ("10.8.0.1", "10.9.0.2")
    assert (parsed[ICMP].type, parsed[ICMP].code, parsed[ICMP].nexthopmtu) == (3, 4, 1220)
    assert answer[28:] == packet[:548]
    assert len(answer) == parsed.len == 576
    assert rebuilt(answer) == answer
    del parsed[ICMP].chksum
    assert bytes(parsed) == answer


@pytest.mark.parametrize(("mtu", "told"), [(1300, 1300), (1200, 1280)])
def test_ipv6_is_told_with_1280_at_least(mtu: int, told: int) -> None:
    packet = v6()
    answer = too_big(memoryview(packet), mtu)
    assert answer is not None
    parsed = IPv6(answer)
    assert (parsed.src, parsed.dst) == ("fd01::1", "fd00::2")
    assert parsed[ICMPv6PacketTooBig].mtu == told
    assert answer[48:] == packet[: 1280 - 48]
    assert len(answer) == 1280
    del parsed[ICMPv6PacketTooBig].cksum
    assert bytes(parsed) == answer


@pytest.mark.parametrize("length", [0, 1, 7])
def test_a_short_packet_is_quoted_whole_whatever_its_length(length: int) -> None:
    for packet, parse, kind in (
        (v4(TCP() / Raw(bytes(length))), IP, ICMP),
        (v6(TCP() / Raw(bytes(length))), IPv6, ICMPv6PacketTooBig),
    ):
        answer = too_big(memoryview(packet), 1300)
        assert answer is not None
        parsed = parse(answer)
        parsed[kind].delfieldval("chksum" if kind is ICMP else "cksum")
        assert bytes(parsed) == answer
        assert answer.endswith(packet)


@pytest.mark.parametrize(
    "packet",
    [
        v4(flags=0),
        v4(frag=10),
        v4(dst="224.0.0.1"),
        v4(dst="255.255.255.255"),
        v4(src="0.0.0.0"),  # noqa: S104  an address of a packet
        v4(src="127.0.0.1"),
        v4(src="224.0.0.1"),
        *(v4(ICMP(type=kind) / Raw(bytes(1400))) for kind in (3, 4, 5, 11, 12)),
        bytes(IP(src="10.9.0.2", dst="10.8.0.1", flags="DF", proto=1)),
        v6(dst="ff02::1"),
        v6(src="::"),
        v6(src="::1"),
        v6(ICMPv6DestUnreach() / Raw(bytes(1400))),
        v6(ICMPv6PacketTooBig() / Raw(bytes(1400))),
        b"",
        b"\x45" * 19,
        bytes(60),
    ],
)
def test_nobody_is_told_about_these(packet: bytes) -> None:
    assert too_big(memoryview(packet), 1220) is None


def test_large_echo_requests_are_answered() -> None:
    assert too_big(memoryview(v4(ICMP(type=8) / Raw(bytes(1400)))), 1220)
    assert too_big(memoryview(v6(ICMPv6EchoRequest(data=bytes(1400)))), 1280)


@given(st.binary(max_size=200), st.integers(0, 70_000))
def test_hostile_bytes_never_raise(data: bytes, mtu: int) -> None:
    for first in (b"", b"\x45", b"\x4f", b"\x60"):
        too_big(memoryview(first + data), min(mtu, 65535))


@pytest.mark.parametrize("flags", ["DF", 0])
def test_nobody_there_is_said_for_ipv4_whatever_its_flags(flags) -> None:
    packet = v4(flags=flags)
    answer = unreachable(memoryview(packet))
    assert answer is not None
    parsed = IP(answer)
    assert (parsed.src, parsed.dst) == ("10.8.0.1", "10.9.0.2")
    assert (parsed[ICMP].type, parsed[ICMP].code) == (3, 1)
    assert answer[24:28] == bytes(4)
    assert answer[28:] == packet[:548]
    del parsed[ICMP].chksum
    assert bytes(parsed) == answer


def test_nobody_there_is_said_for_ipv6() -> None:
    packet = v6()
    answer = unreachable(memoryview(packet))
    assert answer is not None
    parsed = IPv6(answer)
    assert (parsed.src, parsed.dst) == ("fd01::1", "fd00::2")
    assert parsed[ICMPv6DestUnreach].code == 3
    del parsed[ICMPv6DestUnreach].cksum
    assert bytes(parsed) == answer


@pytest.mark.parametrize(
    "packet",
    [
        v4(frag=10),
        v4(dst="224.0.0.1"),
        v4(ICMP(type=3)),
        v6(dst="ff02::1"),
        v6(ICMPv6DestUnreach()),
    ],
)
def test_errors_and_groups_are_not_answered(packet: bytes) -> None:
    assert unreachable(memoryview(packet)) is None


@given(st.binary(max_size=200))
def test_hostile_bytes_to_nobody_never_raise(data: bytes) -> None:
    for first in (b"", b"\x45", b"\x4f", b"\x60"):
        unreachable(memoryview(first + data))
