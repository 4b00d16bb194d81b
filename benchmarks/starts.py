"""How long the programs take to start: `sacip-tun up`, and sacip-wg until `wg` is answered.

Byte code is cached, as in an installed package: the first start, which writes it, does not count.
"""

import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from sacip_tun.lab.namespaces import Host
from sacip_tun.lab.tunnel import LabTunnel


@dataclass(frozen=True)
class Programs:
    """The two programs: those of this tree, or those in a directory such as /usr/bin."""

    tun: Sequence[str] = (sys.executable, "-m", "sacip_tun")
    wg: Sequence[str] = (sys.executable, "-m", "sacip_tun.cli.wg")

    @classmethod
    def within(cls, directory: str) -> Self:
        place = Path(directory)
        return cls((str(place / "sacip-tun"),), (str(place / "sacip-wg"),))


@contextmanager
def cached() -> Iterator[None]:
    """Let Python keep the byte code of what is started meanwhile."""
    before = dict(os.environ)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory(prefix="sacip-tun-") as directory:
        os.environ["PYTHONPYCACHEPREFIX"] = directory
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


def timed(host: Host, *command: str) -> float:
    """Return how long a command takes, in seconds."""
    start = time.monotonic()
    host.run(command)
    return time.monotonic() - start


def up_to_ready(host: Host, rounds: int, programs: Programs) -> list[float]:
    """Return the seconds from typing `up` to its return, the daemon left behind."""
    tunnel = LabTunnel(host, "10.8.0.1/24")
    key = str(tunnel.secret_file("again", tunnel.keys.private))
    command = [*programs.tun, "up", "--interface", tunnel.name, "--private-key-file", key]
    found = []
    with cached():
        for _ in range(rounds + 1):
            found.append(timed(host, *command, "--address", tunnel.address))
            host.run([*programs.tun, "down", tunnel.name])
    return found[1:]


def wg_to_answer(host: Host, rounds: int, programs: Programs) -> list[tuple[float, float]]:
    """Return the seconds until sacip-wg returns, and until `wg` has its first answer."""
    found = []
    with cached():
        for number in range(rounds + 1):
            name = f"first{number}"
            ready = timed(host, *programs.wg, name)
            found.append((ready, ready + timed(host, "wg", "show", name)))
            host.ip(f"link delete {name}")
    return found[1:]
