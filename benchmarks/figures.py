"""What is measured in a round, how it is written, and what becomes of several rounds. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Self

Figures = dict[str, float]
"""By the key of a Figure."""


@dataclass(frozen=True)
class Figure:
    """One column."""

    key: str
    title: str
    unit: str
    digits: int = 0
    scale: float = 1.0
    """What is written is the value times this."""

    def words(self, value: float) -> str:
        return f"{value * self.scale:,.{self.digits}f}"


TCP = (
    Figure("up", "one flow up", "Mbit/s"),
    Figure("down", "one flow down", "Mbit/s"),
    Figure("four up", "four flows up", "Mbit/s"),
    Figure("four down", "four flows down", "Mbit/s"),
    Figure("cpu", "CPU", "s/GB", 2),
    Figure("peak", "largest daemon", "MB"),
)
ROUND_TRIPS = (
    Figure("idle p50", "idle, p50", "ms", 3),
    Figure("idle p99", "idle, p99", "ms", 3),
    Figure("loaded up p50", "four flows up, p50", "ms", 2),
    Figure("loaded up p99", "four flows up, p99", "ms", 2),
    Figure("loaded down p50", "four flows down, p50", "ms", 2),
    Figure("loaded down p99", "four flows down, p99", "ms", 2),
)
UDP = tuple(
    figure
    for size in (1300, 64)
    for figure in (
        Figure(f"udp {size}", f"{size} bytes", "packets/s"),
        Figure(f"udp {size}", f"{size} bytes", "Mbit/s", scale=size * 8 / 1e6),
        Figure(f"udp {size} lost", f"{size} bytes, lost then", "%", 1, 100),
    )
)
CROWD = (
    Figure("up", "one flow up", "Mbit/s"),
    Figure("resident", "hub's daemon", "MB"),
    Figure("peak", "its peak", "MB"),
)


@dataclass(frozen=True)
class Spread:
    """A figure over all rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Self | None:
        """Return it, None where there is no value."""
        found = list(values)
        return cls(median(found), min(found), max(found)) if found else None


@dataclass(frozen=True)
class Round:
    """What one row of the tables came to in one round."""

    row: str
    number: int
    figures: Figures = field(default_factory=dict)
    error: str | None = None
    """Why it could not be measured."""


def spread(rounds: Sequence[Round], row: str, key: str) -> Spread | None:
    """Return one figure of one row; None where no round has it."""
    mine = (one.figures for one in rounds if one.row == row)
    return Spread.of(figures[key] for figures in mine if key in figures)


def row_of_crowd(peers: int) -> str:
    """Return the name of the row of a hub with so many peers."""
    return f"{peers:,} peer{'s' if peers > 1 else ''}"
