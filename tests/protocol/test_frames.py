"""SACIP frames: what is encoded reads back, and nothing hostile does more than be refused."""

from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sacip_tun.protocol.address import Endpoint
from sacip_tun.protocol.errors import Drop, RemoteError
from sacip_tun.protocol.frames import (
    FRAME_SIZE,
    HEADER,
    MAX_CANDIDATES,
    Code,
    Frame,
    Reason,
    code_name,
)
from sacip_tun.protocol.received import SPAN, Received

endpoints = st.builds(Endpoint, st.ip_addresses(), st.integers(0, 65535))
u64 = st.integers(0, 2**64 - 1)
frames = st.builds(
    Frame,
    st.sampled_from(Code),
    u64,
    u64,
    u64,
    old=st.none() | endpoints,
    new=st.none() | endpoints,
    observed=st.none() | endpoints,
    reason=st.none() | st.sampled_from(Reason),
    candidates=st.lists(endpoints, max_size=MAX_CANDIDATES).map(tuple),
)


@given(frames)
def test_every_frame_reads_back_and_has_one_size(frame: Frame) -> None:
    data = frame.encode()
    assert len(data) == FRAME_SIZE
    assert data[0] == 20
    assert Frame.parse(data) == frame


@given(endpoints, st.integers(1, 65535), st.integers(0, 9000))
def test_a_probe_of_the_mtu_has_the_size_that_was_asked_for(new, mtu: int, size: int) -> None:
    frame = Frame(Code.PATH_CHALLENGE, 1, 2, 3, new=new, mtu=mtu)
    data = frame.encode(size)
    assert len(data) == max(size, FRAME_SIZE)
    assert Frame.parse(data) == frame


told = st.builds(
    Received,
    st.integers(0, 2**32 - 1),
    u64,
    st.integers(0, 2**SPAN - 1).map(lambda n: n | 1 << 959),
)


@given(frames, st.lists(told, max_size=2).map(tuple))
def test_the_largest_change_fits(frame: Frame, received: tuple[Received, ...]) -> None:
    """It has both addresses, a reason, four candidates and what arrived in two sessions."""
    largest = replace(frame, code=Code.CHANGE, observed=None, received=received)
    assert len(largest.encode()) == FRAME_SIZE
    assert Frame.parse(largest.encode()) == largest


@given(frames, told)
def test_an_answer_that_says_what_arrived_fits(frame: Frame, received: Received) -> None:
    answer = Frame(Code.CHANGE_ACK, observed=frame.observed, received=(received, received))
    assert Frame.parse(answer.encode()) == answer
    assert len(answer.encode()) == FRAME_SIZE


@given(st.binary(max_size=300))
def test_arbitrary_bytes_raise_nothing_but_bad_frame(data: bytes) -> None:
    with suppress(RemoteError):
        Frame.parse(b"\x14\x01" + data)
    with pytest.raises(RemoteError) as refused:
        Frame.parse(data[:31])
    assert refused.value.reason is Drop.BAD_FRAME


@given(frames, st.integers(0, FRAME_SIZE - 1))
def test_a_frame_shorter_than_all_frames_is_refused(frame: Frame, length: int) -> None:
    with pytest.raises(RemoteError):
        Frame.parse(frame.encode()[:length])


def test_unknown_codes_tlvs_and_reasons_are_ignored() -> None:
    body = bytes([200, 3, 1, 2, 3, 4, 1, 99])
    header = HEADER.pack(20, 1, 77, 0, HEADER.size + len(body), 0, 1, 2, 3)
    frame = Frame.parse((header + body).ljust(FRAME_SIZE, b"\0"))
    assert (frame.code, frame.reason, frame.old) == (77, None, None)
    assert code_name(77) == "code 77"
    assert code_name(Code.CHANGE) == "CHANGE"


@pytest.mark.parametrize("field", [(0, 19), (1, 2), (4, 255)])
def test_wrong_type_version_or_length_is_refused(field: tuple[int, int]) -> None:
    data = bytearray(Frame(Code.HELLO).encode())
    data[field[0]] = field[1]
    with pytest.raises(RemoteError):
        Frame.parse(bytes(data))


def test_bytes_on_the_wire_are_those_of_the_document() -> None:
    frame = Frame(Code.CHANGE, 1, 2, 3, new=Endpoint.parse("192.168.1.2:51820"))
    wire = "14010500002a0000000000000000000100000000000000020000000000000003"
    assert frame.encode()[:42].hex() == wire + "02080400ca6cc0a80102"
