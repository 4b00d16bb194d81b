"""What has to hold: ratios to the others in the same run, and bounds. Pure.

Medians over the rounds count; the rounds were interleaved, so that what else the machine did met
all alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from contenders import OPENVPN, OURS, WIREGUARD
from figures import Round, row_of_crowd, spread


class Bound(StrEnum):
    """From which side."""

    LEAST = "at least"
    MOST = "at most"


@dataclass(frozen=True)
class Target:
    """`key` of `row` is at least, or at most, `factor` times that of each of `others`."""

    title: str
    key: str
    bound: Bound
    factor: float
    others: tuple[str, ...] = ()
    """Empty where `factor` is the bound itself."""
    row: str = OURS

    def judge(self, rounds: Sequence[Round]) -> "Verdict":
        """Compare the medians."""
        ours = spread(rounds, self.row, self.key)
        others = [spread(rounds, name, self.key) for name in self.others]
        known = [other.median for other in others if other is not None]
        if ours is None or len(known) < len(others):
            return Verdict(self, None if ours is None else ours.median)
        # The better one of the others is the harder one.
        other = (max if self.bound is Bound.LEAST else min)(known, default=None)
        limit = self.factor if other is None else self.factor * other
        held = ours.median >= limit if self.bound is Bound.LEAST else ours.median <= limit
        return Verdict(self, ours.median, other, limit, held)

    @property
    def demand(self) -> str:
        """What it says, in words."""
        if not self.others:
            return f"{self.bound} {self.factor:g}"
        times = "" if self.factor == 1 else f"{self.factor:g} times "
        better = "the better of " if len(self.others) > 1 else ""
        return f"{self.bound} {times}that of {better}{' and '.join(self.others)}"


@dataclass(frozen=True)
class Verdict:
    """Whether a target is held; None where a row is missing."""

    target: Target
    ours: float | None = None
    other: float | None = None
    """That of the others which is the harder one; None where there is none to compare with."""
    limit: float | None = None
    held: bool | None = None

    @property
    def word(self) -> str:
        return {True: "held", False: "**not held**", None: "not measured"}[self.held]

    def __str__(self) -> str:
        return (
            f"{self.word.strip('*')}: {self.target.title}: {number(self.ours)}, "
            f"{self.target.demand} ({number(self.other)}): {number(self.limit)}"
        )


BOTH = (WIREGUARD, OPENVPN)
MANY = row_of_crowd(10_000)
TARGETS = (
    Target("one TCP flow up, Mbit/s", "up", Bound.LEAST, 2.5, BOTH),
    Target("one TCP flow down, Mbit/s", "down", Bound.LEAST, 2.5, BOTH),
    Target("CPU s/GB", "cpu", Bound.MOST, 0.5, (OPENVPN,)),
    Target("round trip, four flows up, p50 ms", "loaded up p50", Bound.MOST, 1, (WIREGUARD,)),
    Target("round trip, four flows down, p50 ms", "loaded down p50", Bound.MOST, 1, (WIREGUARD,)),
    Target("idle round trip, p50 ms", "idle p50", Bound.MOST, 1, (WIREGUARD,)),
    Target("UDP of 1300 bytes, packets/s", "udp 1300", Bound.LEAST, 1, BOTH),
    Target("largest daemon after all of it, MB", "peak", Bound.MOST, 80),
    Target("hub with 10,000 idle peers, MB", "resident", Bound.MOST, 100, row=MANY),
    Target(
        "one TCP flow up beside 10,000 idle peers, Mbit/s",
        "up",
        Bound.LEAST,
        0.9,
        (row_of_crowd(1),),
        row=MANY,
    ),
)


def verdicts(rounds: Sequence[Round]) -> list[Verdict]:
    """Judge all targets."""
    return [target.judge(rounds) for target in TARGETS]


def number(value: float | None) -> str:
    """Return it with three digits that count."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
