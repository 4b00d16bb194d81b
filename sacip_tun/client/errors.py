"""Why a tunnel cannot be asked, or not any longer. Each says what to do about it."""

from pathlib import Path

from sacip_tun.outcome import Exit, Failure


class ClientFailure(Failure):
    """A failure that a program may print as it is: the cause, and behind it the fix."""

    def __str__(self) -> str:
        return f"{self.cause}; {self.fix}" if self.fix else self.cause


class NotRunning(ClientFailure):
    """There is no such tunnel, or none at all."""


class NotAllowed(ClientFailure):
    """The control socket is its owner's, and this process is somebody else's."""


class TunnelDown(ClientFailure):
    """The tunnel was there and went: `down`, a signal, or its interface was deleted."""


class FellBehind(ClientFailure):
    """The tunnel runs and closed this connection: what came was not read for seconds."""


def unusable(path: Path, error: OSError) -> Failure:
    """Say what a missing, dead or closed socket means to the user."""
    name = path.stem
    if isinstance(error, PermissionError):
        return NotAllowed(
            f"this user may not use {path}",
            "run it as root, for example with sudo",
            Exit.NO_PRIVILEGE,
        )
    if isinstance(error, ConnectionRefusedError):
        return NotRunning(
            f"{name} is not running: its process ended without cleaning up",
            f"sacip-tun up {name} takes its place",
            Exit.NOT_RUNNING,
        )
    if isinstance(error, FileNotFoundError):
        return NotRunning(
            f"{name} is not running: there is no {path}",
            f"start it with 'sacip-tun up {name}', or see what runs with 'sacip-tun status'",
            Exit.NOT_RUNNING,
        )
    return ClientFailure(f"{path}: {error.strerror or error}", "check the name of the interface")


def went_down(name: str) -> Failure:
    """Say that the tunnel is gone while it was listened to."""
    return TunnelDown(
        f"{name} is down", f"bring it up with 'sacip-tun up {name}'", Exit.NOT_RUNNING
    )


def broken(name: str, error: OSError, patience: float | None) -> Failure:
    """Say that a connection broke, or that no answer came within `patience` seconds."""
    if isinstance(error, TimeoutError):
        return ClientFailure(
            f"{name} did not answer in {patience:g} s",
            "look into its log; if it is stuck, end its process",
        )
    return ClientFailure(f"the control connection to {name} broke: {error.strerror}")


def unanswered(name: str) -> Failure:
    """Say that the daemon went away between a request and its answer."""
    return ClientFailure(
        f"{name} closed the control connection without an answer",
        f"look into its log, then: sacip-tun status {name}",
    )
