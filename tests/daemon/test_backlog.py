"""The backlog below a socket: short where the link is slow, and never in the way of a fast one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sacip_tun.daemon.backlog import DRAIN_TIME, FIRST, LONGEST, SHORTEST, WHOLE_BURST, Backlog


class Link:
    """A socket over a link of so many bytes a second, kept full."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.length = 0
        self.now = 0.0
        self.backlog = Backlog(self.resize)

    def resize(self, length: int) -> None:
        self.length = length

    def fill_and_drain(self, late: float = 0.0) -> float:
        """Return how long half of the buffer took; we notice it so many seconds `late`."""
        self.backlog.full(now=self.now)
        elapsed = self.length / 2 / self.rate
        self.now += elapsed + late
        left = max(0, self.length / 2 - late * self.rate)
        self.backlog.drained(left=int(left), now=self.now)
        return elapsed


@pytest.mark.parametrize("megabits", [10, 50, 200, 1000])
def test_half_of_it_leaves_in_about_the_time_that_is_wanted(megabits) -> None:
    link = Link(megabits * 1e6 / 8)
    for _ in range(20):
        elapsed = link.fill_and_drain()
    longest = LONGEST / 2 / link.rate
    assert elapsed == pytest.approx(min(DRAIN_TIME, longest), rel=0.2)


def test_a_link_that_became_fast_is_given_room_within_a_few_rounds() -> None:
    link = Link(1e6)
    for _ in range(20):
        link.fill_and_drain()
    assert link.backlog.burst == link.length < WHOLE_BURST
    link.rate = 1e9
    for _ in range(8):
        link.fill_and_drain()
    assert link.length == LONGEST
    assert link.backlog.burst == WHOLE_BURST


@given(st.lists(st.floats(0, 100)))
def test_it_has_bounds(pauses) -> None:
    link = Link(1.0)
    now = 0.0
    for pause in pauses:
        link.backlog.full(now=now)
        now += pause
        link.backlog.drained(left=1, now=now)
        assert SHORTEST <= link.length <= LONGEST
        assert 0 < link.backlog.burst <= WHOLE_BURST


def test_room_without_having_been_full_says_nothing() -> None:
    link = Link(1.0)
    link.backlog.drained(left=0, now=5.0)
    assert link.length == FIRST
    assert link.backlog.burst == WHOLE_BURST


def test_after_a_move_it_takes_all_for_a_while_and_is_measured_anew_then() -> None:
    link = Link(1e6)
    for _ in range(20):
        link.fill_and_drain()
    link.backlog.full(now=link.now)
    link.backlog.loosen()
    assert (link.length, link.backlog.burst) == (LONGEST, WHOLE_BURST)
    link.fill_and_drain()  # who knows what that was
    assert link.length == LONGEST
    link.backlog.tighten()
    assert (link.length, link.backlog.burst) == (FIRST, WHOLE_BURST)
    for _ in range(20):
        link.fill_and_drain()
    shortened = link.length
    link.backlog.tighten()
    assert link.length == shortened < FIRST


def test_there_is_always_room_for_one_message() -> None:
    link = Link(1e6)
    for _ in range(20):
        link.fill_and_drain()
    before = link.length
    with link.backlog.room_for_one():
        assert link.length == LONGEST
    assert link.length == before


@pytest.mark.parametrize("megabits", [100, 1000])
def test_who_is_always_late_does_not_take_a_fast_link_for_a_slow_one(megabits) -> None:
    link, late = Link(megabits * 1e6 / 8), 0.003
    for _ in range(20):
        link.fill_and_drain(late)
    # Half of the buffer covers the time for which we do not look, as far as it may.
    assert link.length / 2 >= min(late * link.rate, LONGEST / 2) / 2
