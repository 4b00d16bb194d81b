"""Control sockets: which there are, and which one a name means. One an interface: NAME.sock."""

from pathlib import Path

from sacip_tun.client.errors import NotRunning, unusable
from sacip_tun.outcome import Exit, Failure


def running(directory: Path) -> list[Path]:
    """Return the control sockets there are, sorted by name."""
    try:
        return sorted(path for path in directory.iterdir() if path.suffix == ".sock")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise unusable(directory, error) from None


def socket_of(directory: Path, name: str) -> Path:
    """Return the path of an interface's control socket."""
    if "/" in name or name in {"", ".", ".."}:
        raise Failure(
            f"{name!r} cannot be the name of an interface", "give the interface's name", Exit.USAGE
        )
    return directory / f"{name}.sock"


def chosen(directory: Path, name: str | None) -> Path:
    """Return the socket of `name`, or of the only tunnel that runs; raises Failure."""
    if name is not None:
        return socket_of(directory, name)
    sockets = running(directory)
    if not sockets:
        raise nothing_runs()
    if len(sockets) > 1:
        names = ", ".join(path.stem for path in sockets)
        raise Failure(f"several tunnels are running: {names}", "say which one", Exit.USAGE)
    return sockets[0]


def nothing_runs() -> Failure:
    """Say that there is nothing to ask."""
    return NotRunning("no tunnel is running", "start one: sacip-tun up NAME", Exit.NOT_RUNNING)
