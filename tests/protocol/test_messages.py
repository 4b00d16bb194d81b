"""Byte layouts: exact, and nothing but RemoteError for anything else."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sacip_tun.protocol.errors import Drop, RemoteError
from sacip_tun.protocol.messages import (
    COOKIE_REPLY,
    COOKIE_REPLY_SIZE,
    DATA,
    DATA_FORMAT,
    DATA_HEADER,
    INITIATION,
    INITIATION_SIZE,
    MIN_DATA_SIZE,
    RESPONSE,
    RESPONSE_SIZE,
    CookieReply,
    Initiation,
    Response,
    data_counter,
    data_receiver,
    message_type,
    padded_length,
)

Reader = Callable[[bytes], Any]
# What each type is read with, and the one length at which it may succeed (None: any from 32 on).
READERS: list[tuple[int, Reader, int | None]] = [
    (INITIATION, Initiation.parse, INITIATION_SIZE),
    (RESPONSE, Response.parse, RESPONSE_SIZE),
    (COOKIE_REPLY, CookieReply.parse, COOKIE_REPLY_SIZE),
    (DATA, data_receiver, None),
    (DATA, data_counter, None),
]


def test_sizes_are_those_of_the_paper() -> None:
    assert (INITIATION_SIZE, RESPONSE_SIZE, COOKIE_REPLY_SIZE) == (148, 92, 64)
    assert (DATA_HEADER, MIN_DATA_SIZE) == (16, 32)


def test_initiation_layout() -> None:
    message = Initiation(
        0x04030201, b"e" * 32, b"s" * 48, b"t" * 28, mac1=b"1" * 16, mac2=b"2" * 16
    )
    datagram = message.encode()
    assert datagram == (
        b"\1\0\0\0\1\2\3\4" + b"e" * 32 + b"s" * 48 + b"t" * 28 + b"1" * 16 + b"2" * 16
    )
    assert Initiation.parse(datagram) == message


def test_response_layout() -> None:
    message = Response(0x04030201, 0x08070605, b"e" * 32, b"n" * 16, mac1=b"1" * 16, mac2=b"2" * 16)
    datagram = message.encode()
    assert datagram == (
        b"\2\0\0\0\1\2\3\4\5\6\7\10" + b"e" * 32 + b"n" * 16 + b"1" * 16 + b"2" * 16
    )
    assert Response.parse(datagram) == message


def test_cookie_reply_layout() -> None:
    message = CookieReply(0x04030201, b"n" * 24, b"c" * 32)
    datagram = message.encode()
    assert datagram == b"\3\0\0\0\1\2\3\4" + b"n" * 24 + b"c" * 32
    assert CookieReply.parse(datagram) == message


def test_data_header_layout() -> None:
    datagram = b"\4\0\0\0\1\2\3\4\1\0\0\0\0\0\0\x80" + bytes(16)
    assert message_type(datagram) == DATA
    assert data_receiver(datagram) == 0x04030201
    assert data_counter(datagram) == 2**63 + 1
    assert DATA_FORMAT.pack(DATA, 0x04030201, 2**63 + 1) == datagram[:16]
    assert data_counter(memoryview(datagram)) == 2**63 + 1


def test_macs_are_zero_until_they_are_sealed() -> None:
    assert Initiation(1, bytes(32), bytes(48), bytes(28)).encode()[-32:] == bytes(32)
    assert Response(1, 2, bytes(32), bytes(16)).encode()[-32:] == bytes(32)


@pytest.mark.parametrize(("kind", "read", "size"), READERS)
def test_every_other_length_is_malformed(kind: int, read: Reader, size: int | None) -> None:
    for length in range(301):
        datagram = bytes([kind]).ljust(length, b"\0")[:length]
        good = length == size or (size is None and length >= MIN_DATA_SIZE)
        if good:
            read(datagram)
            continue
        with pytest.raises(RemoteError) as caught:
            read(datagram)
        assert caught.value.reason is Drop.MALFORMED


@pytest.mark.parametrize(("kind", "read", "size"), READERS)
def test_every_other_type_is_malformed(kind: int, read: Reader, size: int | None) -> None:
    for other in range(256):
        if other == kind:
            continue
        with pytest.raises(RemoteError) as caught:
            read(bytes([other]).ljust(size or 64, b"\0"))
        assert caught.value.reason is Drop.MALFORMED


@pytest.mark.parametrize(("kind", "read", "size"), READERS)
@pytest.mark.parametrize("at", [1, 2, 3])
def test_reserved_bytes_must_be_zero(kind: int, read: Reader, size: int | None, at: int) -> None:
    datagram = bytearray(size or 64)
    datagram[0] = kind
    datagram[at] = 1
    with pytest.raises(RemoteError):
        read(bytes(datagram))
    with pytest.raises(RemoteError) as caught:
        message_type(bytes(datagram))
    assert caught.value.reason is Drop.UNKNOWN_TYPE


def test_message_type_of_every_first_byte() -> None:
    for kind in range(256):
        datagram = bytes([kind, 0, 0, 0])
        if kind in {INITIATION, RESPONSE, COOKIE_REPLY, DATA}:
            assert message_type(datagram) == kind
            continue
        with pytest.raises(RemoteError) as caught:
            message_type(datagram)
        assert caught.value.reason is Drop.UNKNOWN_TYPE


@pytest.mark.parametrize("length", range(4))
def test_message_type_of_too_little(length: int) -> None:
    with pytest.raises(RemoteError) as caught:
        message_type(b"\4\0\0\0"[:length])
    assert caught.value.reason is Drop.MALFORMED


@given(st.binary(max_size=300))
def test_any_bytes_raise_nothing_but_remote_error(datagram: bytes) -> None:
    for read in (message_type, *(reader for _, reader, _ in READERS)):
        try:
            read(datagram)
        except RemoteError:
            continue


@pytest.mark.parametrize(
    ("length", "mtu", "padded"),
    [
        (0, 0, 0),
        (0, 1420, 0),
        (1, 0, 16),
        (16, 0, 16),
        (17, 0, 32),
        (1419, 1420, 1420),
        (1420, 1420, 1420),
        (1420, 0, 1424),
        (1404, 1420, 1408),
        (1500, 1420, 1500),
        (40, 1, 40),
        (65535, 65535, 65535),
    ],
)
def test_padding(length: int, mtu: int, padded: int) -> None:
    assert padded_length(length, mtu) == padded


@given(st.integers(0, 70000), st.integers(0, 70000))
def test_padding_never_shrinks_nor_passes_the_mtu(length: int, mtu: int) -> None:
    padded = padded_length(length, mtu)
    assert length <= padded < length + 16
    assert padded == length or mtu == 0 or padded <= mtu
