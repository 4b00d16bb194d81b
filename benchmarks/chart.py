"""The picture in docs/performance.md: a panel for each thing that matters, a bar for each row."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contenders import BARE, CARRIERS, OURS
from figures import spread
from ledger import Ledger


@dataclass(frozen=True)
class Panel:
    """One panel; of two figures the first is the dark bar."""

    title: str
    keys: tuple[str, ...]
    words: tuple[str, ...] = ("",)
    logarithmic: bool = False


PANELS = (
    Panel("one TCP flow, Mbit/s", ("up", "down"), ("up", "down")),
    Panel("CPU, seconds a GB", ("cpu",)),
    Panel(
        "round trip, four flows up, ms", ("loaded up p50", "loaded up p99"), ("p50", "p99"),
        logarithmic=True,
    ),
    Panel("idle round trip, ms", ("idle p50", "idle p99"), ("p50", "p99"), logarithmic=True),
    Panel("UDP received, packets/s", ("udp 1300", "udp 64"), ("1300 bytes", "64 bytes")),
    Panel("largest daemon, MB", ("peak",)),
)  # fmt: skip
COLOUR, OTHERS = "#0b6e4f", "#888888"
HEIGHT = 0.38
ERRORS = {"elinewidth": 0.7, "ecolor": "#333333"}


def write(path: Path, ledger: Ledger) -> None:
    """Draw it. Raises ImportError where matplotlib is missing."""
    import matplotlib as mpl  # noqa: PLC0415 - an optional extra, needed for the picture alone

    mpl.use("Agg")
    # Without these the file would differ from run to run without a difference.
    mpl.rcParams.update({"svg.hashsalt": "performance", "svg.fonttype": "none", "font.size": 8})
    figure = _figure(ledger)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=110)


def _figure(ledger: Ledger) -> Any:  # noqa: ANN401 - matplotlib's
    from matplotlib.figure import Figure  # noqa: PLC0415 - as above

    rows = [row for row in ledger.rows() if row in CARRIERS]
    figure = Figure(figsize=(12.5, 1.2 + 0.62 * len(rows)), layout="constrained")
    axes = figure.subplots(2, 3, sharey=True, squeeze=False)
    for plot, panel in zip(axes.flat, PANELS, strict=True):
        _draw(plot, panel, rows, ledger)
    axes[0, 0].invert_yaxis()
    return figure


def _draw(plot: Any, panel: Panel, rows: list[str], ledger: Ledger) -> None:  # noqa: ANN401
    limit = _limit(panel, rows, ledger)
    for number, key in enumerate(panel.keys):
        shift = (number - (len(panel.keys) - 1) / 2) * HEIGHT
        for place, row in enumerate(rows):
            found = spread(ledger.rounds, row, key)
            if found is not None:
                colour = COLOUR if row.startswith(OURS) else OTHERS
                look = {"color": colour, "alpha": 0.55 if number else 1, "error_kw": ERRORS}
                errors = [[found.median - found.low], [found.high - found.median]]
                plot.barh(place + shift, found.median, HEIGHT, xerr=errors, **look)
                end = min(found.high, limit * 0.88)
                plot.text(end, place + shift, _words(found.median), va="center", fontsize=6.5)
    words = f" ({', then '.join(panel.words)})" if len(panel.keys) > 1 else ""
    plot.set_title(f"{panel.title}{words}", loc="left", fontsize=8.5, fontweight="bold")
    plot.set_yticks(range(len(rows)), rows)
    if panel.logarithmic:
        plot.set_xscale("log")
        plot.margins(x=0.18)
    else:
        plot.set_xlim(0, limit)
    plot.spines[["top", "right"]].set_visible(False)


def _limit(panel: Panel, rows: list[str], ledger: Ledger) -> float:
    """Return where the axis ends; what no tunnel carries may be cut off there."""
    if panel.logarithmic:
        return math.inf
    found = [spread(ledger.rounds, row, key) for row in rows if row != BARE for key in panel.keys]
    return 1.2 * max((one.high for one in found if one is not None), default=1.0)


def _words(value: float) -> str:
    return f" {value:.3g}" if value < 100 else f" {value:,.0f}"
