"""Timestamps: exact, whitened or marked, and never standing still."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sacip_tun.protocol.errors import LocalError
from sacip_tun.protocol.tai64n import speaks_sacip, timestamp

BILLION = 10**9
# From 1900 to 2200: a clock may be wrong.
clocks = st.integers(-70 * 365 * 86400 * BILLION, 230 * 365 * 86400 * BILLION)


def test_the_label_is_that_of_other_implementations() -> None:
    # 1970-01-01 00:00:10 TAI has the label 2^62 + 10; leap seconds are left out.
    assert timestamp(0, None, sacip=False).hex() == "400000000000000a00000000"
    assert timestamp(BILLION, None, sacip=False).hex() == "400000000000000b00000000"
    assert timestamp(1_700_000_000 * BILLION + 0x3ABCDEF0, None, sacip=False).hex() == (
        "400000006553f10a3a000000"
    )


def test_magic() -> None:
    assert timestamp(0, None, sacip=True).hex() == "400000000000000a005ac101"
    assert speaks_sacip(timestamp(0x12345678, None, sacip=True))
    assert not speaks_sacip(timestamp(0x12345678, None, sacip=False))
    assert not speaks_sacip(timestamp(0x5AC101, None, sacip=False))


@pytest.mark.parametrize("bit", range(24))
def test_magic_is_exact(bit: int) -> None:
    marked = int.from_bytes(timestamp(0, None, sacip=True), "big")
    assert not speaks_sacip((marked ^ 1 << bit).to_bytes(12, "big"))


@given(clocks, st.booleans())
def test_within_a_step_of_the_clock(unix_ns: int, sacip: bool) -> None:
    stamp = timestamp(unix_ns, None, sacip=sacip)
    seconds = int.from_bytes(stamp[:8], "big") - (2**62 + 10)
    nanoseconds = int.from_bytes(stamp[8:], "big")
    assert len(stamp) == 12
    assert nanoseconds < BILLION
    assert abs(unix_ns - (seconds * BILLION + nanoseconds)) < 1 << 24
    assert speaks_sacip(stamp) is sacip


@given(st.lists(st.tuples(clocks, st.booleans()), min_size=2, max_size=20))
def test_strictly_increasing_whatever_the_clock_does(clock: list[tuple[int, bool]]) -> None:
    previous = None
    for unix_ns, sacip in clock:
        stamp = timestamp(unix_ns, previous, sacip=sacip)
        assert previous is None or stamp > previous
        assert speaks_sacip(stamp) is sacip
        assert int.from_bytes(stamp[8:], "big") < BILLION
        previous = stamp


def test_standing_clock_goes_through_the_end_of_a_second() -> None:
    stamps = [timestamp(0, None, sacip=True)]
    for _ in range(130):
        stamps.append(timestamp(0, stamps[-1], sacip=True))
    assert stamps == sorted(set(stamps))
    assert stamps[59].hex() == "400000000000000b005ac101"
    assert all(speaks_sacip(stamp) for stamp in stamps)


def test_one_step_of_the_clock_is_enough() -> None:
    first = timestamp(5 * BILLION, None, sacip=True)
    later = timestamp(5 * BILLION + (1 << 24), first, sacip=False)
    assert later > first
    assert timestamp(9 * BILLION, first, sacip=False) == timestamp(9 * BILLION, None, sacip=False)


def test_the_end_of_time() -> None:
    with pytest.raises(LocalError, match="clock"):
        timestamp(0, b"\xff" * 8 + (59 << 24).to_bytes(4, "big"), sacip=True)
    with pytest.raises(LocalError, match="clock"):
        timestamp(-(2**63) * BILLION, None, sacip=True)
