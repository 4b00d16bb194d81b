"""What processes cost: CPU time and memory, as /proc tells it (proc_pid_stat(5), _status(5))."""

import os
from collections.abc import Iterable
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(processes: Iterable[int]) -> float:
    """Return the seconds of all of them together so far, in user space and in the kernel.

    The sum is exact to a tick. How the kernel divides it is not: what a write to the TUN does in a
    softirq counts as neither there.
    """
    texts = (Path(f"/proc/{pid}/stat").read_text() for pid in processes)
    # The name, in brackets, may have spaces in it.
    fields = [text.rpartition(")")[2].split() for text in texts]
    return sum(int(user) + int(system) for *_, user, system in (f[:13] for f in fields)) / TICKS


def peak_megabytes(processes: Iterable[int]) -> float:
    """Return the largest resident set that any of them ever had."""
    return max((_status(pid, "VmHWM") for pid in processes), default=0.0)


def resident_megabytes(process: int) -> float:
    """Return the resident set now."""
    return _status(process, "VmRSS")


def _status(process: int, field: str) -> float:
    text = Path(f"/proc/{process}/status").read_text()
    return int(text.partition(f"{field}:")[2].split()[0]) / 1024
