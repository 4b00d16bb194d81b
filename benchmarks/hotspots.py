"""Where the daemons spend their time: py-spy looks at both while packets flow.

It stops the daemon for each look, so nothing here is a speed. Shares are of the looks at which the
daemon was at work.
"""

import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

import iperf
from contenders import CARRIERS, OURS
from measurement import standing

from sacip_tun.lab.namespaces import Host
from sacip_tun.linux.errors import SetupError

# Looks a second; more of them would leave the daemon little time.
RATE = 100
# How long py-spy may take to begin, and to write what it saw, in seconds.
BEGIN, WRITE = 1.5, 20.0
CIPHER, NUMPY, CALLS, PYTHON = "the cipher", "numpy", "system calls", "Python"
SYSTEM_CALLS = {"sendmsg", "recvmsg", "readv", "writev", "read", "write", "sendto", "ioctl"}
WAITING = {"epoll_pwait", "epoll_wait"}
# A thread that was once given something to do, and has nothing.
RESTING = "_worker (concurrent/futures/"
# Where no function of ours is on the stack.
LOOP = "the event loop"


@dataclass(frozen=True)
class Profile:
    """Where one daemon was found, as shares of 1."""

    title: str
    areas: dict[str, float]
    functions: dict[str, float]


def profiles(seconds: float, rate: float) -> list[Profile]:
    """Look at one TCP flow, and at UDP of 64 bytes at `rate` packets a second; at both ends.

    Raises SetupError where py-spy is missing or cannot look, and what iperf3 fails with.
    """
    with standing(CARRIERS[OURS]) as (place, tunnel):

        def look(title: str, work: Callable[[], object]) -> list[Profile]:
            spies = [_Spy(place.hub, process, seconds) for process in tunnel.processes]
            time.sleep(BEGIN)
            work()
            ends = zip(("receiver", "sender"), spies, strict=True)
            return [profile(f"{title}, {end}", spy.stacks()) for end, spy in ends]

        def tcp() -> object:
            return iperf.tcp(place, tunnel.inner, seconds)

        def udp() -> object:
            return iperf.udp(place, tunnel.inner, 64, rate, seconds)

        return [*look("one TCP flow", tcp), *look("UDP of 64 bytes", udp)]


class _Spy:
    """py-spy at work."""

    def __init__(self, host: Host, process: int, seconds: float) -> None:
        beside = Path(sys.executable).parent
        program = shutil.which("py-spy", path=str(beside)) or shutil.which("py-spy")
        if program is None:
            raise SetupError("py-spy is missing", "pip install -e '.[report]'")
        self._host = host
        self._path = host.network.directory / f"{process}-{time.monotonic_ns()}.stacks"
        words = ["record", "--native", "--format", "raw", "--output", str(self._path)]
        words += ["--rate", str(RATE), "--duration", f"{max(1, round(seconds)) + 1}"]
        self._limit = seconds + WRITE
        self._process: Popen[str] = host.start([program, *words, "--pid", str(process)])

    def stacks(self) -> dict[str, int]:
        """Return how often it saw which stack."""
        self._process.wait(self._limit)
        if not self._path.exists():
            raise SetupError("py-spy saw nothing", self._host.log(self._process))
        return parsed(self._path.read_text())


def parsed(text: str) -> dict[str, int]:
    """Read py-spy's raw format: frames with ';' between them, the outermost first, and a count."""
    lines = (line.rpartition(" ") for line in text.splitlines() if line.strip())
    return {stack: int(count) for stack, _, count in lines}


def profile(title: str, stacks: dict[str, int]) -> Profile:
    """Put the stacks together; those of a daemon that waits are left out."""
    areas: Counter[str] = Counter()
    functions: Counter[str] = Counter()
    for stack, count in stacks.items():
        frames = stack.split(";")
        if not _waits(frames):
            areas[area(frames)] += count
            functions[function(frames)] += count
    return Profile(title, _shares(areas), _shares(functions))


def _waits(frames: Sequence[str]) -> bool:
    return _name(frames[-1]) in WAITING or frames[_last(frames, ".py:")].startswith(RESTING)


def _shares(counts: Counter[str]) -> dict[str, float]:
    total = counts.total()
    return {name: count / total for name, count in counts.most_common()}


def area(frames: Sequence[str]) -> str:
    """Tell what the innermost function of Python called."""
    for frame in frames[_last(frames, ".py:") + 1 :]:
        if "(cryptography/" in frame:
            return CIPHER
        if "(numpy/" in frame:
            return NUMPY
        if _name(frame) in SYSTEM_CALLS:
            return CALLS
    return PYTHON


def function(frames: Sequence[str]) -> str:
    """Return the innermost function of ours, with its file."""
    place = _last(frames, "(sacip_tun/")
    if place < 0:
        return LOOP
    file = frames[place].partition("(sacip_tun/")[2].partition(":")[0]
    return f"{_name(frames[place])} ({file})"


def _last(frames: Sequence[str], mark: str) -> int:
    return max((place for place, frame in enumerate(frames) if mark in frame), default=-1)


def _name(frame: str) -> str:
    return frame.partition(" (")[0]
