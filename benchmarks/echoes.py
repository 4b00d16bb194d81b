"""Round trips, each by itself: an average hides what a person notices."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from subprocess import Popen

from sacip_tun.lab.namespaces import Host

# How long the last answer is waited for, in seconds.
LAST = 2.0
# A round trip in ms, as ping prints it.
ROUND_TRIP = re.compile(r"time=([0-9.]+) ms")


@dataclass(frozen=True)
class RoundTrips:
    """Half of them were as fast as `median`, 99 of 100 as `p99`; in milliseconds."""

    median: float
    p99: float


class Echoes:
    """Echo requests to an inner address, which the kernel there answers; on their way at once.

    ping takes both times from the kernel, so that its own waiting for a processor is not in them.
    """

    def __init__(self, host: Host, inner: str, count: int, interval: float) -> None:
        self._host = host
        self._limit = count * interval + LAST + 5
        options = ["-n", "-c", str(count), "-i", f"{interval:g}", "-W", f"{LAST:g}"]
        self._process: Popen[str] = host.start(["ping", *options, inner])

    def finish(self) -> RoundTrips:
        """Wait for the last. Raises ValueError where none came, subprocess.TimeoutExpired."""
        self._process.wait(self._limit)
        return round_trips(self._host.log(self._process))


def round_trips(printed: str) -> RoundTrips:
    """Read what ping printed. Raises ValueError where there is no answer in it."""
    times = sorted(float(text) for text in ROUND_TRIP.findall(printed))
    return RoundTrips(percentile(times, 50), percentile(times, 99))


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return the smallest that `percent` of all do not exceed. Raises ValueError if none."""
    if not ordered:
        raise ValueError("no answers")
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]
