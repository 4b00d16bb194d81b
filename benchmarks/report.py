"""docs/handover.md, made of the results."""

from collections.abc import Sequence
from pathlib import Path

import plot
import table
from contenders import CONTENDERS
from limits import ALLOWANCE, not_held
from moves import BY_NAME, MOVES, Move
from summary import summarized
from traffic import PAIRS
from trial import Result

PAGE = """\
# What a move does to what runs in the tunnel

Made by `make handover` on {date}, not by hand: {processors} processors, Linux {kernel}, Python
{python}; {versions}.

Both ends, and the routers between them, are network namespaces of one machine. What runs in the
tunnel is real, and each line of this runs in a lab of its own:

{traffic}

An **outage** is the time in which the network itself was unusable, whatever a tunnel does; the
figures are what comes on top. The others are configured as their manuals tell a user who moves, and
not helped afterwards ([why so](decisions/0030-measuring-moves.md)).
{runs}

## Connections: the longest stall beyond the outage

Of all TCP connections and directions, the one that waited longest: median and worst of the runs.
*died*: an end was told that the connection is over. *never*: nothing came within
{patience}.

**To hold** is what ours may cost where nobody else uses the machine; {allowance} ms more are
allowed for that here ([limits.py](../benchmarks/limits.py)). {verdict}

{stalls}

## The one-way stream

100 packets/s of UDP to the mover, which says nothing itself. Lost: what was sent while the network
was usable and never came. Gap: the longest, beyond the outage. Median and worst.

{streams}

## sacip-tun, flow by flow

The longest silence beyond the outage, median and worst; of keystrokes, the longest wait for an
echo. Retransmitted segments: of all connections together, those of the outage included.

{ours}

## One handover over time

{drawn}. What is drawn is the download alone, from the hub to the mover.

![throughput of each contender while the address changes](handover.svg)
"""
# What follows there is of containers/prove.py: it stays.
LAST = "\n## In containers\n"
TRAFFIC = "\n".join(f"- {traffic.title}" for pair in PAIRS for traffic in pair)


def write(directory: Path, results: Sequence[Result], machine: dict[str, str], drawn: str) -> None:
    """Write handover.md and handover.svg. Raises ImportError where matplotlib is missing."""
    names, moves, summaries = _known(results)
    page = PAGE.format(
        **machine,
        traffic=TRAFFIC,
        runs=_runs(names, summaries),
        patience=_patience(names),
        allowance=round(ALLOWANCE * 1000),
        verdict=_verdict(not_held(results, moves)),
        stalls=table.stalls(moves, names, summaries),
        streams=table.streams(moves, names, summaries),
        ours=table.ours(moves, summaries),
        drawn=BY_NAME[drawn].title[0].upper() + BY_NAME[drawn].title[1:],
    )
    path = directory / "handover.md"
    path.write_text(page + _kept(path))
    plot.write(directory / "handover.svg", results, drawn)


def _kept(path: Path) -> str:
    return "".join(path.read_text().partition(LAST)[1:]) if path.exists() else ""


def _verdict(broken: Sequence[str]) -> str:
    return f"Not held: {'; '.join(broken)}." if broken else "Every row holds."


def tables(results: Sequence[Result]) -> str:
    """Return the tables alone."""
    names, moves, summaries = _known(results)
    parts = (
        table.stalls(moves, names, summaries),
        table.streams(moves, names, summaries),
        table.ours(moves, summaries),
    )
    return "\n\n".join(parts)


def _known(results: Sequence[Result]) -> tuple[list[str], list[Move], table.Summaries]:
    summaries = {}
    for move in MOVES:
        for name in CONTENDERS:
            summary = summarized(results, move.name, name)
            if summary is not None:
                summaries[move.name, name] = summary
    made = {move for move, _ in summaries}
    names = [name for name in CONTENDERS if any(name == other for _, other in summaries)]
    return names, [move for move in MOVES if move.name in made], summaries


def _runs(names: Sequence[str], summaries: table.Summaries) -> str:
    most = {
        name: max(summary.runs for (_, other), summary in summaries.items() if other == name)
        for name in names
    }
    return f"Runs: {', '.join(f'{count} of {name}' for name, count in most.items())}."


def _patience(names: Sequence[str]) -> str:
    return ", ".join(f"{CONTENDERS[name].patience:.0f} s ({name})" for name in names)
