"""CoDel: standing queues are told of, bursts are not (RFC 8289)."""

from itertools import pairwise
from math import sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sacip_tun.datapath.codel import INTERVAL, TARGET, CoDel

STEP = 0.001


def signals(codel: CoDel, waited: float, seconds: float, since: float = 0.0) -> list[float]:
    """Let a packet that `waited` come to the head each millisecond; return when it was told."""
    moments = [since + number * STEP for number in range(round(seconds / STEP))]
    return [now for now in moments if codel.signals(waited, last=False, now=now)]


def test_a_queue_that_stands_for_less_than_an_interval_is_left_alone() -> None:
    codel = CoDel()
    assert signals(codel, 0.05, INTERVAL - 2 * STEP) == []
    assert not codel.signals(TARGET / 2, last=False, now=INTERVAL)
    assert signals(codel, 0.05, INTERVAL - 2 * STEP, since=2 * INTERVAL) == []


def test_a_standing_queue_is_told_of_ever_more_often() -> None:
    told = signals(CoDel(), 0.02, 1.0)
    assert told[0] == pytest.approx(INTERVAL, abs=STEP)
    pauses = [later - earlier for earlier, later in pairwise(told)]
    expected = [INTERVAL / sqrt(count) for count in range(1, len(pauses) + 1)]
    assert pauses == pytest.approx(expected, abs=2 * STEP)


def test_the_last_packet_of_a_queue_is_never_told_of() -> None:
    codel = CoDel()
    assert not any(codel.signals(1.0, last=True, now=number * 0.05) for number in range(100))


def test_a_queue_that_is_bad_again_soon_starts_near_where_it_was() -> None:
    codel = CoDel()
    signals(codel, 0.02, 2.0)
    assert not codel.signals(0.0, last=False, now=2.0)
    again = signals(codel, 0.02, 0.3, since=2.001)
    fresh = signals(CoDel(), 0.02, 0.3)
    assert len(again) > len(fresh)


@given(st.lists(st.tuples(st.floats(0, TARGET * 0.99), st.floats(0, 1))))
def test_what_waits_less_than_the_target_is_never_told_of(steps) -> None:
    codel, now = CoDel(), 0.0
    for waited, pause in steps:
        now += pause
        assert not codel.signals(waited, last=False, now=now)
