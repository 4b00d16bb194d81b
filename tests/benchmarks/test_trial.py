import pytest
from moves import MOVES, Step
from trial import outages


def step(at, *, breaks=False, mends=False):
    return Step(at, "mover", ("ip link",), breaks, mends)


def test_an_outage_lasts_from_where_it_breaks_to_where_it_is_mended() -> None:
    spans = [
        (step(0), (10.0, 10.1)),
        (step(1, breaks=True), (11.0, 11.1)),
        (step(2), (12.0, 12.1)),
        (step(3, mends=True), (13.0, 13.1)),
    ]
    assert outages(spans) == ((11.0, 13.1),)


def test_a_replaced_address_is_an_outage_as_short_as_its_commands() -> None:
    replaced = step(0, breaks=True, mends=True)
    assert outages([(replaced, (10.0, 10.004))]) == ((10.0, 10.004),)


def test_outages_of_two_sides_that_overlap_are_one() -> None:
    both = step(0, breaks=True, mends=True)
    assert outages([(both, (10.0, 10.5)), (both, (10.2, 10.8))]) == ((10.0, 10.8),)
    apart = [(both, (10.0, 10.5)), (both, (11.0, 11.5))]
    assert outages(apart) == ((10.0, 10.5), (11.0, 11.5))


@pytest.mark.parametrize("move", MOVES, ids=lambda move: move.name)
def test_every_outage_of_the_table_is_mended(move) -> None:
    planned = [(step, (step.at, step.at)) for step in move.steps]
    breaking = [step.at for step in move.steps if step.breaks]
    mending = [step.at for step in move.steps if step.mends]
    assert len(breaking) == len(mending)
    assert all(since <= until for since, until in zip(breaking, mending, strict=True))
    # Overlapping ones are merged, so there may be fewer.
    assert bool(outages(planned)) is bool(breaking)
