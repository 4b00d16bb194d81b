"""The replay window: a numbered table in the manner of the kernel's selftest, and a naive model."""

from collections.abc import Callable, Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sacip_tun.protocol.limits import REJECT_AFTER_MESSAGES, REPLAY_WINDOW
from sacip_tun.protocol.replay import ReplayWindow

LIM = REPLAY_WINDOW + 1
REJECT = REJECT_AFTER_MESSAGES

# Counter, whether it is new; in this order, into one window.
TABLE = [
    (0, True),  # 1
    (0, False),
    (1, True),
    (1, False),
    (9, True),  # 5: a gap
    (8, True),
    (7, True),
    (7, False),
    (9, False),
    (LIM, True),  # 10: the window moves on by as much as it may without losing 1
    (LIM - 1, True),
    (LIM - 1, False),
    (LIM - 2, True),
    (2, True),
    (2, False),  # 15
    (0, False),
    (LIM + 16, True),
    (LIM + 16, False),
    (3, False),
    (17, True),  # 20: the oldest that still fits
    (16, False),
    (LIM * 4, True),  # all of the ring is passed over
    (LIM * 4 - REPLAY_WINDOW, True),
    (LIM * 4 - REPLAY_WINDOW, False),
    (LIM * 4 - REPLAY_WINDOW - 1, False),  # 25
    (LIM * 4 - REPLAY_WINDOW + 1, True),
    (10, False),
    (0, False),
    (REJECT, False),
    (REJECT + 1, False),  # 30
    (2**64 - 1, False),
    (LIM * 4 + 1, True),
    (REJECT - 1, True),
    (REJECT, False),
    (REJECT - 1, False),  # 35
    (REJECT - 2, True),
    (REJECT - 2, False),
    (REJECT - 1 - REPLAY_WINDOW, True),
    (REJECT - 2 - REPLAY_WINDOW, False),
    (REJECT + 2, False),  # 40
    (0, False),
]


class Model:
    """The rules, said in the shortest way."""

    def __init__(self) -> None:
        self.seen = set[int]()

    def accept(self, counter: int) -> bool:
        highest = max(self.seen, default=-1)
        good = (
            counter < REJECT_AFTER_MESSAGES
            and counter >= highest - REPLAY_WINDOW
            and counter not in self.seen
        )
        if good:
            self.seen.add(counter)
        return good


def test_table() -> None:
    window = ReplayWindow()
    for number, (counter, new) in enumerate(TABLE, start=1):
        assert window.accept(counter) is new, f"line {number}: {counter}"


def test_table_in_batches_of_one() -> None:
    window = ReplayWindow()
    for number, (counter, new) in enumerate(TABLE, start=1):
        assert window.accept_batch([counter]) == [new], f"line {number}: {counter}"


def test_table_in_one_batch() -> None:
    counters, expected = zip(*TABLE, strict=True)
    assert ReplayWindow().accept_batch(counters) == list(expected)


RANGES: list[tuple[Sequence[int], int, bool]] = [
    (range(1, REPLAY_WINDOW + 1), 0, True),
    (range(2, REPLAY_WINDOW + 2), 1, True),
    (range(2, REPLAY_WINDOW + 2), 0, False),
    (range(REPLAY_WINDOW, -1, -1), 0, False),
    (range(REPLAY_WINDOW, 0, -1), 0, True),
    (range(REPLAY_WINDOW + 1, 0, -1), 0, False),
    (range(REPLAY_WINDOW, 0, -1), REPLAY_WINDOW + 1, True),
]


@pytest.mark.parametrize(("counters", "then", "new"), RANGES)
def test_whole_windows_up_and_down(counters: Sequence[int], then: int, *, new: bool) -> None:
    one, batch = ReplayWindow(), ReplayWindow()
    assert all(one.accept(counter) for counter in counters)
    assert batch.accept_batch(counters) == [True] * len(counters)
    assert one.accept(then) is batch.accept(then) is new


def test_downwards_then_up_pushes_zero_out() -> None:
    window = ReplayWindow()
    window.accept_batch(range(REPLAY_WINDOW, 0, -1))
    assert window.accept(REPLAY_WINDOW + 1)
    assert not window.accept(0)


def test_highest() -> None:
    window = ReplayWindow()
    assert window.highest == -1
    window.accept(5)
    window.accept(3)
    assert window.highest == 5
    window.accept_batch([6, 7, 8])
    assert window.highest == 8
    window.accept(REJECT)
    assert window.highest == 8


@pytest.mark.parametrize("length", [1, 45, 8191, 8192, 8193, 20000])
@pytest.mark.parametrize("first", [0, 1, 8100, 8192, 12345])
def test_a_run_of_any_length_is_remembered(first: int, length: int) -> None:
    window = ReplayWindow()
    window.accept(0)
    run = list(range(first or 1, (first or 1) + length))
    assert window.accept_batch(run) == [True] * length
    assert window.highest == run[-1]
    assert window.accept_batch(run) == [False] * length


def test_a_run_into_the_limit_ends_there() -> None:
    window = ReplayWindow()
    run = range(REJECT - 3, REJECT + 3)
    assert window.accept_batch(run) == [True] * 3 + [False] * 3
    assert window.highest == REJECT - 1


def test_a_run_up_to_the_limit_is_whole() -> None:
    assert ReplayWindow().accept_batch([REJECT - 2, REJECT - 1]) == [True, True]


def test_an_empty_batch() -> None:
    window = ReplayWindow()
    assert window.accept_batch([]) == []
    assert window.highest == -1


def test_what_a_gap_skips_is_new_later() -> None:
    window = ReplayWindow()
    window.accept_batch(range(9000))
    window.accept_batch(range(9100, 9200))
    assert window.accept_batch(range(9000, 9100)) == [True] * 100
    assert window.accept_batch(range(9000, 9200)) == [False] * 200


near = st.integers(0, 3 * LIM)
far = st.integers(0, 2**64 - 1)
end = st.integers(REJECT - 2 * LIM, REJECT + 2)
runs = st.builds(
    lambda first, length: list(range(first, first + length)),
    st.one_of(near, end),
    st.integers(0, 70),
)
batches = st.lists(st.one_of(runs, st.lists(st.one_of(near, end, far), max_size=20)), max_size=12)


@given(batches)
@example([[LIM], [0, 1, 2, 3]])
@example([list(range(64)), list(range(8190, 8254)), list(range(8100, 8190))])
def test_against_the_model(batches: list[list[int]]) -> None:
    model, one, batched = Model(), ReplayWindow(), ReplayWindow()
    for batch in batches:
        expected = [model.accept(counter) for counter in batch]
        assert [one.accept(counter) for counter in batch] == expected
        assert batched.accept_batch(batch) == expected
        assert one.highest == batched.highest == max(model.seen, default=-1)


@given(st.permutations(range(100)), st.integers(0, 9000))
def test_any_order_within_the_window_loses_nothing(order: list[int], offset: int) -> None:
    window = ReplayWindow()
    counters = [offset + counter for counter in order]
    assert window.accept_batch(counters) == [True] * 100
    assert window.accept_batch(counters) == [False] * 100


class OneByOneForbidden(ReplayWindow):
    def accept(self, counter: int) -> bool:
        raise AssertionError(counter)


@pytest.mark.parametrize("form", [list, lambda run: run])
def test_a_new_run_is_taken_whole(form: Callable[[range], Sequence[int]]) -> None:
    window = OneByOneForbidden()
    for first in range(0, 20_000, 64):
        assert window.accept_batch(form(range(first, first + 64))) == [True] * 64
    assert window.accept_batch([REJECT - 2, REJECT - 1]) == [True, True]


def test_the_ring_keeps_its_size() -> None:
    window = ReplayWindow()
    for first in range(0, 100_000, 777):
        window.accept_batch(range(first, first + 100))
    assert len(window._ring) == 8192
