"""The one clock: it also runs while the machine sleeps, which asyncio's does not."""

import time


def now() -> float:
    """Return seconds of CLOCK_BOOTTIME; every deadline of the protocol is in this time."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def unix_time(moment: float) -> float:
    """Return the wall-clock time of a moment given in CLOCK_BOOTTIME, both in seconds."""
    return time.time() - (now() - moment)


def slept() -> float:
    """Return how long this machine was suspended since it was started, in seconds."""
    return now() - time.clock_gettime(time.CLOCK_MONOTONIC)


def since(unix: float) -> float:
    """Return how many seconds ago a moment of the wall clock was; 0 for one that is to come.

    0 stands for a moment that nobody knows, and was no time ago.
    """
    return max(0.0, time.time() - unix) if unix else 0.0
