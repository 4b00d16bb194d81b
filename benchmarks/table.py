"""The tables of docs/handover.md. Pure."""

from collections.abc import Sequence

from contenders import CONTENDERS, OURS
from limits import limit_of
from markdown import table
from moves import Move
from summary import Figures, Summary
from verdict import Outcome

WORDS = {Outcome.DIED: "died", Outcome.NEVER: "never", Outcome.CORRUPT: "**corrupt**"}
NOTHING = "-"
Summaries = dict[tuple[str, str], Summary]
"""By move and contender."""


def stalls(moves: Sequence[Move], names: Sequence[str], summaries: Summaries) -> str:
    """Render the main table: the longest stall of any connection beyond the outage."""
    rows = (
        [move.title, _outage(move, summaries), duration(limit_of(move).stall)]
        + [_stall(summaries.get((move.name, name))) for name in names]
        for move in moves
    )
    return table(["move", "outage", "to hold", *names], rows)


def streams(moves: Sequence[Move], names: Sequence[str], summaries: Summaries) -> str:
    """Render what became of the one-way stream."""
    rows = (
        [move.title, *(_stream(summaries.get((move.name, name))) for name in names)]
        for move in moves
    )
    return table(["move", *names], rows)


FLOWS = ("both ways, up", "both ways, down", "up", "down", "keystrokes")


def ours(moves: Sequence[Move], summaries: Summaries) -> str:
    """Render all figures of ours."""
    rows = []
    for move in moves:
        summary = summaries.get((move.name, OURS))
        if summary is not None:
            rows.append([move.title, *_all_figures(summary)])
    heads = ["move", "SHA-256 right", *FLOWS, "retransmitted segments", "moves reported"]
    return table(heads, rows)


def _all_figures(summary: Summary) -> list[str]:
    seen = [observed for flow in summary.connections.values() for observed in flow]
    held = sum(observed.outcome is Outcome.HELD for observed in seen)
    again = summary.retransmissions()
    return [
        f"{held} of {len(seen)}",
        *(_flow(summary, name) for name in FLOWS),
        NOTHING if again is None else f"{again.median:.0f}, {again.worst:.0f}",
        f"{max(summary.moved, default=0)}",
    ]


def _flow(summary: Summary, name: str) -> str:
    seen = summary.flows.get(name, ())
    ends = sorted({WORDS[observed.outcome] for observed in seen if observed.outcome in WORDS})
    return ", ".join(ends) or _two(summary.of(name, lambda observed: observed.beyond))


def _outage(move: Move, summaries: Summaries) -> str:
    """Return what ours met, or else the first that there is."""
    met = (summaries.get((move.name, name)) for name in CONTENDERS)
    outage = next((summary.outage for summary in met if summary is not None), 0.0)
    return duration(outage) if outage else "none"


def _stall(summary: Summary | None) -> str:
    if summary is None or not (summary.flows or summary.errors):
        return NOTHING
    if summary.errors:
        return "could not be made"
    broken = summary.broken()
    if not broken:
        return _two(summary.stall())
    return "; ".join(
        _broken(WORDS[ended], names, summary) for ended, names in sorted(broken.items())
    )


def _broken(word: str, names: list[str], summary: Summary) -> str:
    if len(names) == len(summary.connections):
        return word
    return f"{word}: {' and '.join(names)}"


def _stream(summary: Summary | None) -> str:
    if summary is None or not summary.stream:
        return NOTHING
    lost = summary.of("stream", lambda observed: observed.lost_beyond)
    if any(observed.outcome is Outcome.NEVER for observed in summary.stream):
        return "never came back"
    gap = summary.of("stream", lambda observed: observed.beyond)
    twice = summary.of("stream", lambda observed: observed.duplicated)
    duplicated = f", {twice.worst:.0f} twice" if twice is not None and twice.worst else ""
    return f"{_count(lost)} lost{duplicated}, gap {_two(gap)}"


def _count(figures: Figures | None) -> str:
    return NOTHING if figures is None else f"{figures.median:.0f}, {figures.worst:.0f}"


def _two(figures: Figures | None) -> str:
    return NOTHING if figures is None else durations(figures.median, figures.worst)


def durations(middle: float, worst: float) -> str:
    """Return median and worst, with the unit once where it is the same."""
    first, second = duration(middle), duration(worst)
    if first.split()[1] == second.split()[1]:
        first = first.split()[0]
    return f"{first}, {second}"


def duration(seconds: float) -> str:
    """Return it in the unit that reads best."""
    if round(seconds, 3) < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if round(seconds, 1) < 10 else f"{seconds:.0f} s"
