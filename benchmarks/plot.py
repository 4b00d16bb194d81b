"""One handover over time: what came in through each tunnel, and what ours reported meanwhile."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from contenders import CONTENDERS, OURS
from trial import Result
from verdict import Observed

from sacip_tun.lab.arrivals import BIN

# The flow that is drawn: the fixed side sends, and the mover can only acknowledge.
FLOW = "down"
# Left: the moment itself, a point each 20 ms. Right: all of it, a point each 0.2 s. In seconds from
# the beginning of the move.
CLOSE, CLOSE_BIN = (-0.4, 2.0), 0.02
WIDE, WIDE_BIN = (-1.0, 32.0), 0.2
COLOURS = {OURS: "#0b6e4f", "wireguard-go": "#8a1c1c", "openvpn": "#c65d00", "no tunnel": "#555555"}
# What is marked of our own events, at the mover; the rest is in `sacip-tun monitor`.
MARKED = {
    "prepared": "prepared",
    "moving": "moves",
    "moved": "moved",
    "detached": "no address",
    "degraded": "degraded",
    "recovered": "recovered",
}


def write(path: Path, results: Sequence[Result], move: str) -> None:
    """Draw the first run of `move`; nothing where there is none. Raises ImportError."""
    import matplotlib as mpl  # noqa: PLC0415 - an optional extra, needed for the picture alone

    mpl.use("Agg")
    drawn = _drawn(results, move)
    if drawn:
        # Without these the file would differ from run to run without a difference.
        mpl.rcParams.update({"svg.hashsalt": "handover", "font.size": 9})
        figure = _figure(drawn)
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=110)


def _drawn(results: Sequence[Result], move: str) -> dict[str, tuple[Result, Observed]]:
    found = {}
    for result in results:
        for observed in result.flows:
            if (result.move, observed.name) == (move, FLOW) and observed.bins:
                found[result.contender] = (result, observed)
    return {name: found[name] for name in CONTENDERS if name in found}


def _figure(drawn: dict[str, tuple[Result, Observed]]) -> Any:  # noqa: ANN401 - matplotlib's
    from matplotlib.figure import Figure  # noqa: PLC0415 - as above

    figure = Figure(figsize=(11, 1.2 + 1.7 * len(drawn)), layout="constrained")
    axes = figure.subplots(len(drawn), 2, sharex="col", squeeze=False, width_ratios=(3, 2))
    for row, (name, (result, observed)) in zip(axes, drawn.items(), strict=True):
        for plot, window, width in ((row[0], CLOSE, CLOSE_BIN), (row[1], WIDE, WIDE_BIN)):
            _draw(plot, name, result, observed, window, width)
        row[0].set_ylabel("Mbit/s")
        if name == OURS:
            _mark(row[0], result)
    for plot in axes[-1]:
        plot.set_xlabel("seconds since the move began")
    return figure


def _draw(
    plot: Any,  # noqa: ANN401
    name: str,
    result: Result,
    observed: Observed,
    window: tuple[float, float],
    width: float,
) -> None:
    began, first = result.began or 0.0, observed.first_unix or 0.0
    points = curve(observed.bins, first - began, window, width)
    times, rates = [time for time, _ in points], [rate for _, rate in points]
    plot.fill_between(times, rates, step="post", color=COLOURS[name], alpha=0.25, linewidth=0)
    plot.step(times, rates, where="post", color=COLOURS[name], linewidth=1)
    for since, until in result.outages:
        plot.axvspan(
            since - began, max(until, since + width / 4) - began, color="#ddbb00", alpha=0.4
        )
    plot.axvline(0, color="#999999", linewidth=0.8, linestyle=":")
    plot.set(xlim=window, ylim=(0, 60))
    plot.set_title(name, loc="left", fontsize=9, fontweight="bold", color=COLOURS[name])
    plot.spines[["top", "right"]].set_visible(False)


def _mark(plot: Any, result: Result) -> None:  # noqa: ANN401
    """Write our events where they happened, one below the other so that none hides another."""
    height = 58.0
    for event in sorted(result.events, key=lambda event: float(event["time_unix"])):
        words = MARKED.get(str(event["event"]))
        at = float(event["time_unix"]) - (result.began or 0.0)
        if words is None or event["who"] != "mover" or not CLOSE[0] <= at <= CLOSE[1]:
            continue
        plot.axvline(at, color=COLOURS[OURS], linewidth=0.8)
        plot.text(at + 0.01, height, f"{words}, {at * 1000:.0f} ms", fontsize=7.5, va="top")
        height = height - 8 if height > 30 else 58.0


def curve(
    bins: Sequence[int], start: float, window: tuple[float, float], width: float
) -> list[tuple[float, float]]:
    """Return Mbit/s in each `width` seconds of the window.

    `bins` are bytes in each BIN, of which the first begins at `start`, all in seconds.
    """
    count = round((window[1] - window[0]) / width)
    sums = [0.0] * count
    for number, size in enumerate(bins):
        place = int((start + number * BIN - window[0]) // width)
        if 0 <= place < count:
            sums[place] += size
    return [
        (window[0] + number * width, size * 8 / width / 1e6) for number, size in enumerate(sums)
    ]
