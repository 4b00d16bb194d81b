"""One path: round trips, and the byte budget of an unproven address."""

from simulation import endpoint

from sacip_tun.protocol.path import MAX_CREDIT, Path

A = endpoint("192.0.2.1")


def test_round_trips_are_smoothed_and_assumed_slow_before_the_first() -> None:
    path = Path(A)
    assert path.round_trips(3, 0.1) == 3.0
    path.sampled(0.080)
    path.sampled(0.160)
    assert abs((path.rtt or 0) - 0.090) < 1e-9
    assert path.round_trips(1, 0.5) == 0.5
    path.sampled(-1.0)
    assert (path.rtt or 0) > 0


def test_an_unproven_address_gets_its_credit_and_three_times_what_it_sent() -> None:
    path = Path(A)
    assert path.may_carry(10**9)
    path.limit(1000)
    assert path.may_carry(900)
    assert not path.may_carry(101)
    path.received(100)
    assert path.may_carry(400)
    assert not path.may_carry(1)
    path.lift_limit()
    assert path.may_carry(10**9)


def test_credit_is_bounded() -> None:
    path = Path(A)
    path.limit(10**9)
    assert not path.may_carry(MAX_CREDIT + 1)
    assert path.may_carry(MAX_CREDIT)
