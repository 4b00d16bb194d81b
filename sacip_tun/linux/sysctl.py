"""Kernel settings below /proc/sys/net."""

from pathlib import Path

ROOT = Path("/proc/sys/net")
# Makes the reverse path filter look a packet up with its mark (ip-sysctl.rst).
SRC_VALID_MARK = "ipv4/conf/all/src_valid_mark"


def read(name: str) -> str:
    """Return a value. Raises OSError."""
    return (ROOT / name).read_text().strip()


def write(name: str, value: str) -> None:
    """Set a value, unless it is so already. Raises OSError, where /proc/sys is read-only too."""
    if read(name) != value:
        (ROOT / name).write_text(value)
