"""How a command ends: the documented exit codes, and the error that carries one."""

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes; scripts and health checks rely on them."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_RUNNING = 3
    NO_PRIVILEGE = 4
    BAD_CONFIGURATION = 5
    NOT_REACHED = 6
    DEGRADED = 7


MEANINGS = {
    Exit.OK: "done",
    Exit.FAILED: "failed",
    Exit.USAGE: "the command line is wrong",
    Exit.NOT_RUNNING: "not running, or not yet, or no such interface",
    Exit.NO_PRIVILEGE: "privilege or /dev/net/tun is missing",
    Exit.BAD_CONFIGURATION: "bad configuration or key",
    Exit.NOT_REACHED: "the peer was not reached in time",
    Exit.DEGRADED: "up, but a peer had no handshake in the last 180 seconds, or its path is dead",
}


def epilog_of_codes() -> str:
    """Return the table of exit codes for `--help`."""
    return "\n".join(["exit codes:", *(f"  {code:d}  {text}" for code, text in MEANINGS.items())])


class Failure(Exception):  # noqa: N818 - it is an outcome, as its neighbour Exit
    """A command cannot do what it was asked: the cause, the fix, and the exit code."""

    def __init__(self, cause: str, fix: str = "", code: int = Exit.FAILED) -> None:
        super().__init__(cause)
        self.cause = cause
        self.fix = fix
        self.code = code
