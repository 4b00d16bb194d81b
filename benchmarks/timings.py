"""Durations as they are printed."""

import statistics


def told(what: str, seconds: list[float]) -> None:
    """Print the median and the worst, in milliseconds."""
    middle, worst = statistics.median(seconds) * 1000, max(seconds) * 1000
    print(f"{what}: median {middle:.1f} ms, worst {worst:.1f} ms of {len(seconds)}")
