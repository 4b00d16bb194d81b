"""Leftovers: what those left on this host that were killed."""

import socket
from pathlib import Path

from sacip_tun.linux import resolv_conf
from sacip_tun.linux.undo import UndoLog, logs
from sacip_tun.linux.unix import UAPI_DIRECTORY, is_live


def index_of(name: str) -> int:
    """Return the number of an interface, 0 where there is none."""
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return 0


def leftovers(directory: Path) -> list[UndoLog]:
    """Return the logs of this namespace that nobody will undo who still runs."""
    return [
        log
        for log in logs(directory)
        if log.is_here and not is_live(directory / f"{log.interface}.sock")
    ]


def remove_dead_sockets(directory: Path, name: str | None) -> list[str]:
    """Remove the sockets of those that were killed, of one interface or of all that are gone.

    Returns the interfaces. Raises PermissionError.
    """
    found = list[str]()
    for path in sorted(directory.glob("*.sock")):
        if name in {None, path.stem} and not index_of(path.stem) and not is_live(path):
            uapi = UAPI_DIRECTORY / path.name
            if not is_live(uapi):
                uapi.unlink(missing_ok=True)
            path.unlink(missing_ok=True)
            found.append(path.stem)
    return found


def recover_names(directory: Path) -> None:
    """Put a resolv.conf back that was ours when power failed: the log went with the runtime files.

    Nothing is done while any tunnel has it.
    """
    if not any("resolv.conf" in log.kinds for log in logs(directory)):
        resolv_conf.recover(resolv_conf.PATH)
