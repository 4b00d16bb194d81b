import pytest

from sacip_tun.lab.arrivals import Arrivals


def noted(*arrivals: tuple[float, int]) -> Arrivals:
    found = Arrivals()
    for now, size in arrivals:
        found.note(size, now)
    return found


def test_bytes_are_added_up_in_bins_from_the_first_arrival_on() -> None:
    found = noted((100.0, 5), (100.004, 6), (100.012, 7), (100.051, 8))
    assert found.first_unix == 100.0
    assert found.bins == [11, 7, 0, 0, 0, 8]


def test_a_senders_own_rhythm_is_no_silence() -> None:
    found = noted((100.0, 1), (100.002, 1), (100.102, 1), (100.103, 1))
    assert found.silences == [pytest.approx((100.002, 100.102))]
    assert found.longest == pytest.approx(0.1)
    assert found.longest_from_unix == 100.002


def test_what_is_broken_off_was_silent_to_the_end() -> None:
    found = noted((100.0, 1), (100.001, 1))
    found.broken_off(107.001)
    assert found.longest == pytest.approx(7.0)
    assert found.silences == [pytest.approx((100.001, 107.001))]


def test_where_nothing_came_there_is_no_silence_to_tell_of() -> None:
    found = Arrivals()
    found.broken_off(100.0)
    assert (found.first_unix, found.silences, found.longest) == (None, [], 0.0)
