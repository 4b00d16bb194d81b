"""The figures of several runs of one move, put together. Pure."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Self

from trial import Result
from verdict import Observed, Outcome

STREAM = "stream"


@dataclass(frozen=True)
class Figures:
    """Median and worst of a figure; None where there is none."""

    median: float
    worst: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Self | None:
        found = list(values)
        return cls(median(found), max(found)) if found else None


@dataclass(frozen=True)
class Summary:
    """All runs of one move with one contender."""

    runs: int
    flows: dict[str, tuple[Observed, ...]]
    """By the flow's name, an entry a run."""
    errors: tuple[str, ...]
    outage: float
    moved: tuple[int, ...]
    """How many completed moves our ends reported, a figure for each trial."""

    @property
    def connections(self) -> dict[str, tuple[Observed, ...]]:
        """Those that are to survive: TCP."""
        return {name: seen for name, seen in self.flows.items() if name != STREAM}

    @property
    def stream(self) -> tuple[Observed, ...]:
        return self.flows.get(STREAM, ())

    def broken(self) -> dict[Outcome, list[str]]:
        """Return the flows that did not hold, by how they ended."""
        found: dict[Outcome, list[str]] = {}
        for name, seen in self.connections.items():
            for ended in {observed.outcome for observed in seen} - {Outcome.HELD}:
                found.setdefault(ended, []).append(name)
        return found

    def stall(self) -> Figures | None:
        """Return the longest stall beyond the outage of any connection, run by run."""
        worst_of_runs = zip(*self.connections.values(), strict=False)
        return Figures.of(max(observed.beyond for observed in run) for run in worst_of_runs)

    def of(self, name: str, figure: Callable[[Observed], float | None]) -> Figures | None:
        """Return one figure of one flow."""
        values = (figure(observed) for observed in self.flows.get(name, ()))
        return Figures.of(value for value in values if value is not None)

    def retransmissions(self) -> Figures | None:
        """Return how many segments TCP sent again in all connections, run by run."""
        runs = zip(*self.connections.values(), strict=False)
        return Figures.of(sum(seen.retransmissions or 0 for seen in run) for run in runs)


def summarized(results: Sequence[Result], move: str, contender: str) -> Summary | None:
    """Put together what there is of a move and a contender; None where there is nothing."""
    found = [one for one in results if (one.move, one.contender) == (move, contender)]
    if not found:
        return None
    flows: dict[str, list[Observed]] = {}
    for result in found:
        for observed in result.flows:
            flows.setdefault(observed.name, []).append(observed)
    outage = median(sum(until - since for since, until in one.outages) for one in found)
    return Summary(
        1 + max(result.run for result in found),
        {name: tuple(seen) for name, seen in flows.items()},
        tuple(result.error for result in found if result.error is not None),
        outage,
        tuple(result.moved for result in found if result.moved is not None),
    )
