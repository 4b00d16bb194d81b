"""Suspects: who failed must be well for a while, and for longer each time."""

from ipaddress import ip_address

from sacip_tun.protocol.suspects import FIRST_PENALTY, MAX_PENALTY, MEMORY, Suspects

A, B = ip_address("192.0.2.1"), ip_address("192.0.2.2")


def recover(suspects: Suspects, now: float) -> float:
    """Answer twice a second until cleared; return the time that took."""
    began = now
    while not suspects.answered(A, now=now):
        now += 0.5
        assert now - began < 1000
    return now - began


def test_who_was_never_blamed_is_no_suspect() -> None:
    suspects = Suspects()
    assert A not in suspects
    assert not suspects
    assert not suspects.answered(A, now=1.0)


def test_one_answer_is_not_enough() -> None:
    suspects = Suspects()
    suspects.blame(A, now=0.0)
    assert A in suspects
    assert suspects
    assert not suspects.answered(A, now=1.0)
    assert suspects.is_well(A)
    assert not suspects.answered(A, now=1.0 + FIRST_PENALTY - 0.1)
    assert suspects.answered(A, now=1.0 + FIRST_PENALTY)
    assert A not in suspects
    assert not suspects


def test_a_gap_begins_the_count_anew() -> None:
    suspects = Suspects()
    suspects.blame(A, now=0.0)
    suspects.answered(A, now=1.0)
    suspects.unanswered(A)
    assert not suspects.is_well(A)
    assert not suspects.answered(A, now=5.0)
    assert suspects.answered(A, now=5.0 + FIRST_PENALTY)


def test_each_relapse_takes_twice_as_long_up_to_a_bound() -> None:
    suspects, now = Suspects(), 0.0
    times = []
    for _ in range(8):
        suspects.blame(A, now=now)
        times.append(recover(suspects, now))
        now += times[-1] + 1.0
    assert times == [2.0, 4.0, 8.0, 16.0, 32.0, 64.0, MAX_PENALTY, MAX_PENALTY]


def test_a_failure_long_ago_does_not_count() -> None:
    suspects = Suspects()
    suspects.blame(A, now=0.0)
    recover(suspects, 1.0)
    suspects.blame(A, now=MEMORY + 1.0)
    assert recover(suspects, MEMORY + 2.0) == FIRST_PENALTY


def test_an_address_that_is_gone_is_forgotten() -> None:
    suspects = Suspects()
    suspects.blame(A, now=0.0)
    suspects.blame(B, now=0.0)
    suspects.forget(frozenset({B}))
    assert A not in suspects
    assert B in suspects
