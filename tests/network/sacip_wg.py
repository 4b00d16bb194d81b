"""sacip-wg as a script finds it: a program on the PATH, and what it leaves behind."""

import sys
from pathlib import Path

SOCKETS = Path("/var/run/wireguard")
COMMAND = (sys.executable, "-m", "sacip_tun.cli.wg")


def installed(directory: Path) -> Path:
    """Put `sacip-wg` into a directory, as the installation of the package does."""
    path = directory / "sacip-wg"
    path.write_text(f'#!/bin/sh\nexec {" ".join(COMMAND)} "$@"\n')
    path.chmod(0o755)
    return path


def socket_of(interface: str) -> Path:
    return SOCKETS / f"{interface}.sock"
