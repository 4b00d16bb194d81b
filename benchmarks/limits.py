"""What each move may cost, and which of our rows do not hold it.

The stalls are those that the protocol promises, where the round trip is below 1 ms: what is planned
costs nothing that a person notices; a change that comes by itself costs the time in which copies of
a CHANGE are repeated; silence has to be noticed first (docs/protocol.md 5, 6 and 12).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from contenders import OURS
from moves import Move
from summary import summarized
from trial import Result

# Seconds that a shared machine of two processors adds to any of them by keeping a process waiting.
ALLOWANCE = 0.040


@dataclass(frozen=True)
class Limit:
    """The longest stall beyond the outage, in seconds, and how much of the stream may be lost."""

    stall: float
    lost: int = 0


PLANNED, REPLACED, AFTER_AN_OUTAGE = Limit(0.020), Limit(0.060), Limit(0.100)
# Unanswered traffic is asked about after 200 ms, and another path taken after two challenges more.
SILENT = Limit(0.300)
# A stream that breaks off is asked about after 250 ms; what went to the old mapping after the peer
# said what had arrived is lost.
REBOUND = Limit(0.300, lost=30)

LIMITS = {
    "test-1": PLANNED,
    "planned": PLANNED,
    "second-interface": PLANNED,
    "test-2": PLANNED,
    "churn": PLANNED,
    "no-promotion": AFTER_AN_OUTAGE,
    "outage-5": AFTER_AN_OUTAGE,
    "outage-20": AFTER_AN_OUTAGE,
    "outage-60": AFTER_AN_OUTAGE,
    "outage-600": AFTER_AN_OUTAGE,
    "suspend": AFTER_AN_OUTAGE,
    "dead-path": SILENT,
    "nat-rebinding": REBOUND,
}


def limit_of(move: Move) -> Limit:
    """Return what a move may cost."""
    return LIMITS.get(move.name, REPLACED)


def not_held(results: Sequence[Result], moves: Sequence[Move]) -> list[str]:
    """Return in which rows of ours the medians do not hold, a line each."""
    return [line for move in moves for line in _broken(results, move)]


def _broken(results: Sequence[Result], move: Move) -> list[str]:
    summary, limit = summarized(results, move.name, OURS), limit_of(move)
    if summary is None:
        return []
    found = [f"{move.name}: {error}" for error in summary.errors]
    broken = summary.broken().items()
    found += [f"{move.name}: {', '.join(names)} {outcome.value}" for outcome, names in broken]
    stall = summary.stall()
    if stall is not None and stall.median > limit.stall + ALLOWANCE:
        found.append(f"{move.name}: stalls for {stall.median:.3f} s, not {limit.stall} s")
    lost = summary.of("stream", lambda seen: seen.lost_beyond)
    if lost is not None and lost.median > limit.lost:
        found.append(f"{move.name}: {lost.median:.0f} packets are lost, not {limit.lost}")
    twice = summary.of("stream", lambda seen: seen.duplicated)
    if twice is not None and twice.worst:
        found.append(f"{move.name}: {twice.worst:.0f} packets came twice")
    return found
