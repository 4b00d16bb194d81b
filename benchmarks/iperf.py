"""iperf3 between the two hosts of a place, always called by the mover."""

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from places import Place

from sacip_tun.lab.namespaces import Host
from sacip_tun.linux.errors import SetupError

Document = dict[str, Any]
# How much longer than it sends one may take, and how long its server may take to start, in seconds.
GRACE, START = 15.0, 5.0
# Of a receiver's socket, in bytes: the default of 208 KB overflows in a moment in which iperf3 is
# not given a processor, and that would be counted as the tunnel's loss.
BUFFER = 1 << 20


@dataclass(frozen=True)
class Carried:
    """What TCP brought to the other end."""

    megabits: float
    """A second."""
    size: int
    """In bytes."""


@dataclass(frozen=True)
class Received:
    """What became of UDP packets, a second each."""

    offered: float
    """What iperf3 was told to send; it may have managed less."""
    sent: float
    received: float

    @property
    def lost(self) -> float:
        """The share of what was sent, 0 to 1."""
        return 1 - self.received / self.sent if self.sent else 0.0


def tcp(place: Place, inner: str, seconds: float, *, flows: int = 1, down: bool = False) -> Carried:
    """Run TCP flows to the hub, or from it with `down`. Raises SetupError."""
    options = ["-t", f"{seconds:g}", "-P", str(flows), *(["-R"] if down else [])]
    return carried(_run(place, inner, options, seconds))


def udp(place: Place, inner: str, size: int, offered: float, seconds: float) -> Received:
    """Send packets with `size` bytes of payload to the hub, so many a second. Raises SetupError."""
    options = ["-u", "-l", str(size), "-b", f"{offered * size * 8:.0f}", "-t", f"{seconds:g}"]
    options += ["-w", str(_buffer())]
    return received(_run(place, inner, options, seconds), offered)


def carried(report: Document) -> Carried:
    """Read iperf3's report about TCP. Raises KeyError."""
    total = report["end"]["sum_received"]
    return Carried(total["bits_per_second"] / 1e6, total["bytes"])


def received(report: Document, offered: float) -> Received:
    """Read iperf3's report about UDP: the server counted what is lost. Raises KeyError."""
    total = report["end"]["sum"]
    sent, lost, seconds = total["packets"], total["lost_packets"], total["seconds"]
    return Received(offered, sent / seconds, (sent - lost) / seconds)


def _run(place: Place, inner: str, options: list[str], seconds: float) -> Document:
    with _server(place.hub, inner):
        command = ["iperf3", "-c", inner, "-J", *options]
        try:
            done = place.mover.run(command, check=False, timeout=seconds + GRACE)
        except subprocess.TimeoutExpired:
            raise SetupError("iperf3 did not end", " ".join(command)) from None
        try:
            report: Document = json.loads(done.stdout)
        except ValueError:
            raise SetupError("iperf3 said nothing", done.stderr.strip()) from None
    if "error" in report:
        raise SetupError("iperf3 failed", report["error"])
    return report


@contextmanager
def _server(hub: Host, inner: str) -> Iterator[None]:
    process = hub.start(["iperf3", "-s", "-1", "--forceflush", "-B", inner])
    deadline = time.monotonic() + START
    while "listening" not in hub.log(process):
        if process.poll() is not None or time.monotonic() > deadline:
            raise SetupError("iperf3 does not listen", hub.log(process))
        time.sleep(0.01)
    try:
        yield
        with suppress(subprocess.TimeoutExpired):
            process.wait(START)
    finally:
        process.terminate()
        process.wait()


def _buffer() -> int:
    """iperf3 gives up where the kernel grants less than it is asked for."""
    core = Path("/proc/sys/net/core")
    return min(BUFFER, *(int((core / name).read_text()) for name in ("rmem_max", "wmem_max")))
