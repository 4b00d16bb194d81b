"""resolvconf(8): names of one tunnel, told to the program that keeps /etc/resolv.conf."""

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

PROGRAM = "resolvconf"
# Debian's resolvconf asks interfaces in this order; a prefix that it knows puts ours first.
INTERFACE_ORDER = Path("/etc/resolvconf/interface-order")
PATIENCE = 10.0


def is_there() -> bool:
    """Tell whether the program is installed."""
    return shutil.which(PROGRAM) is not None


def record_name(interface: str) -> str:
    """Return what the record of an interface is called, as wg-quick does it."""
    try:
        lines = INTERFACE_ORDER.read_text().splitlines()
    except OSError:
        return interface
    prefixes = (re.fullmatch(r"([A-Za-z0-9-]+)\*", line.strip()) for line in lines)
    first = next((match[1] for match in prefixes if match), None)
    return interface if first is None else f"{first}.{interface}"


def add(name: str, text: str) -> None:
    """Give it the record `name`, before all others. Raises OSError."""
    _run(["-a", name, "-m", "0", "-x"], text)


def remove(name: str) -> None:
    """Take the record out; none will do. Raises OSError."""
    _run(["-d", name, "-f"])


def _run(arguments: Sequence[str], text: str = "") -> None:
    try:
        done = subprocess.run(
            [PROGRAM, *arguments],
            input=text,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise OSError(f"{PROGRAM} does not end") from None
    if done.returncode:
        raise OSError(f"{PROGRAM}: {done.stderr.strip() or done.returncode}")
