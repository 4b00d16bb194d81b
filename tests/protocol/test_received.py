"""RECEIVED: what is told about a window reads back, and hostile bytes are refused."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sacip_tun.protocol.errors import Drop, RemoteError
from sacip_tun.protocol.received import BITMAP_SIZE, SPAN, Received
from sacip_tun.protocol.replay import ReplayWindow

HEAD = 12
told = st.builds(
    Received, st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1), st.integers(0, 2**SPAN - 1)
)


@given(told)
def test_it_reads_back_and_fits_a_tlv(received: Received) -> None:
    value = received.encode()
    assert HEAD <= len(value) <= HEAD + BITMAP_SIZE <= 255
    assert Received.decode(value) == received


@given(st.binary(max_size=300))
def test_hostile_bytes_are_refused_or_harmless(value: bytes) -> None:
    with suppress(RemoteError):
        received = Received.decode(value)
        assert HEAD <= len(value) <= HEAD + BITMAP_SIZE
        for counter in (0, received.following, 2**64 - 1):
            assert isinstance(received.lacks(counter), bool)


@pytest.mark.parametrize("length", [0, HEAD - 1, HEAD + BITMAP_SIZE + 1])
def test_another_length_is_refused(length: int) -> None:
    with pytest.raises(RemoteError) as refused:
        Received.decode(bytes(length))
    assert refused.value.reason is Drop.BAD_FRAME


@given(st.sets(st.integers(0, 3 * SPAN), max_size=300))
def test_exactly_the_counters_that_did_not_arrive_are_lacking(arrived: set[int]) -> None:
    window = ReplayWindow()
    for counter in sorted(arrived):
        window.accept(counter)
    received = Received.decode(Received.of(7, window).encode())
    highest = max(arrived, default=-1)
    for counter in range(highest + 3):
        forgotten = counter <= highest - SPAN
        assert received.lacks(counter) == (counter not in arrived and not forgotten)


def test_of_an_unused_window_everything_is_lacking() -> None:
    received = Received.of(1, ReplayWindow())
    assert (received.following, received.bitmap) == (0, 0)
    assert received.lacks(0)
