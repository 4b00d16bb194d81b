"""One handover over time: what came in through each tunnel, and what ours reported meanwhile."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from contenders import CONTENDERS, OURS
from trial import Result
from verdict import Observed, Outcome

from sacip_tun.lab.arrivals import BIN

# The flow that is drawn: the fixed side sends, and the mover can only acknowledge.
FLOW = "down"
# Left: the moment itself, a point each 20 ms. Right: all of it, a point each 0.2 s. In seconds from
# the beginning of the move.
CLOSE, CLOSE_BIN = (-0.9, 2.0), 0.02
WIDE, WIDE_BIN = (-1.0, 32.0), 0.2
COLOURS = {OURS: "#0b6e4f", "wireguard-go": "#8a1c1c", "openvpn": "#c65d00", "no tunnel": "#555555"}
# What is marked of our own events; the rest is in `sacip-tun monitor`.
MARKED = ("prepared", "detached", "degraded", "moving", "moved", "recovered")
TOP = 60.0
"""Mbit/s; what a tunnel makes up for after a stall may be cut off."""


# Where what was typed is written, in Mbit/s: below the events and above the flow.
TYPED = 36.0
# Events that are closer than that, in seconds, would be written over each other.
APART = 0.6


def write(path: Path, results: Sequence[Result], move: str) -> None:
    """Draw the first run of `move`; nothing where there is none. Raises ImportError."""
    import matplotlib as mpl  # noqa: PLC0415 - an optional extra, needed for the picture alone

    mpl.use("Agg")
    drawn = _drawn(results, move)
    if drawn:
        # Without these the file would differ from run to run without a difference.
        mpl.rcParams.update({"svg.hashsalt": "handover", "svg.fonttype": "none", "font.size": 9})
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

    figure = Figure(figsize=(12.5, 1.2 + 1.7 * len(drawn)), layout="constrained")
    axes = figure.subplots(len(drawn), 2, sharex="col", squeeze=False, width_ratios=(2, 1))
    for row, (name, (result, observed)) in zip(axes, drawn.items(), strict=True):
        for plot, window, width in ((row[0], CLOSE, CLOSE_BIN), (row[1], WIDE, WIDE_BIN)):
            _draw(plot, name, result, observed, window, width)
        row[0].set_ylabel("Mbit/s")
        _mark_typed(row[0], result, words=name == OURS)
        if name == OURS:
            _mark_events(row[0], result)
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
    end = first - began + len(observed.bins) * BIN
    if observed.outcome is Outcome.HELD:
        # Where everything has come in, nothing more is to come.
        points = [(time, rate) for time, rate in points if time < end]
    times, rates = [time for time, _ in points], [rate for _, rate in points]
    plot.fill_between(times, rates, step="post", color=COLOURS[name], alpha=0.25, linewidth=0)
    plot.step(times, rates, where="post", color=COLOURS[name], linewidth=1)
    if observed.outcome is Outcome.HELD and end < window[1]:
        plot.text(end, 22, " all received", fontsize=7.5, color=COLOURS[name])
    for since, until in result.outages:
        span = (since - began, max(until, since + width / 4) - began)
        plot.axvspan(*span, color="#ddbb00", alpha=0.4)
    plot.set(xlim=window, ylim=(0, TOP))
    plot.set_title(name, loc="left", fontsize=9, fontweight="bold", color=COLOURS[name])
    plot.spines[["top", "right"]].set_visible(False)


def _mark_typed(plot: Any, result: Result, *, words: bool) -> None:  # noqa: ANN401
    for moment, line in result.typed:
        at = moment - (result.began or 0.0)
        if at <= CLOSE[1]:
            plot.axvline(at, color="#888888", linewidth=0.8, linestyle=":")
            if words:
                plot.text(at + 0.01, TYPED, f"$ {line}", fontsize=7, color="#555555")


def _mark_events(plot: Any, result: Result) -> None:  # noqa: ANN401
    """Write our events where they happened, one below the other so that none hides another."""
    height = TOP - 1
    last = CLOSE[0]
    for event in sorted(result.events, key=lambda event: float(event["time_unix"])):
        at = float(event["time_unix"]) - (result.began or 0.0)
        if event["event"] not in MARKED or at > CLOSE[1]:
            continue
        height = height - 7 if at - last < APART else TOP - 1
        last = at
        plot.axvline(at, color=COLOURS[OURS], linewidth=0.6)
        said = f"{at * 1000:.1f} ms: {event['who']} {event['event']}"
        plot.text(at + 0.01, height, said, fontsize=7.5, va="top")


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
