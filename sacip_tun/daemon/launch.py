"""The launch: in the foreground, or detached with a report when the interface is up.

The parent of a detached daemon waits on a pipe: it returns 0 only after the child has said that the
interface is up, and prints what the child says otherwise. The child leaves the terminal behind.
"""

import json
import logging
import os
import sys
from collections.abc import Callable

import uvloop

from sacip_tun.config import Config
from sacip_tun.daemon.service import Service
from sacip_tun.linux.errors import SetupError
from sacip_tun.protocol.errors import LocalError

log = logging.getLogger("sacip_tun")

# Exit codes (docs: `sacip-tun --help`).
OK, FAILED, NO_PRIVILEGE, BAD_CONFIGURATION = 0, 1, 4, 5

Report = Callable[[int, str], None]


def start(config: Config, *, foreground: bool) -> int:
    """Bring the interface up. Returns the exit code, after printing why where it is not 0.

    In the foreground it returns when the interface is down again; else once it is up, with a
    daemon left behind.
    """
    for warning in config.warnings:
        print(f"sacip-tun: warning: {warning}", file=sys.stderr)
    if foreground:
        return _run_here(config)
    return _detach(config)


def _run_here(config: Config) -> int:
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    return uvloop.run(_serve(config, _say_here, log.info))


def _say_here(code: int, message: str) -> None:
    if code != OK:
        print(message, file=sys.stderr)


def _detach(config: Config) -> int:
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.close(reader)
        _become_daemon()
        os._exit(_run_detached(config, writer))
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read()
    os.wait()
    code, message = json.loads(said) if said else (FAILED, "the daemon died while starting")
    if code != OK:
        print(message, file=sys.stderr)
    return int(code)


def _become_daemon() -> None:
    """Leave the session, so that no terminal can stop us; the second fork gives up leading it."""
    os.setsid()
    if os.fork() != 0:
        os._exit(OK)
    os.chdir("/")
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(nothing, descriptor)
    os.close(nothing)


def _run_detached(config: Config, writer: int) -> int:
    """Run, and report over the pipe once: when the interface is up, or why it is not."""
    with os.fdopen(writer, "wb") as pipe:

        def report(code: int, message: str) -> None:
            if not pipe.closed:
                pipe.write(json.dumps([code, message]).encode())
                pipe.close()

        return uvloop.run(_serve(config, report, lambda _line: None))


async def _serve(config: Config, report: Report, say: Callable[[str], None]) -> int:
    service = Service(config)
    service.journal.log = lambda record: say(json.dumps(record))
    try:
        async with service.running():
            report(OK, "")
            await service.until_stopped()
    except (SetupError, LocalError, OSError) as error:
        code, message = _explain(error, config)
        report(code, message)
        return code
    return OK


def _explain(error: SetupError | LocalError | OSError, config: Config) -> tuple[int, str]:
    """Return the exit code, and the cause with its fix."""
    name = config.interface.name
    if isinstance(error, FileExistsError):
        return FAILED, f"sacip-tun: {name} is up already; see `sacip-tun status {name}`"
    if isinstance(error, LocalError):
        return BAD_CONFIGURATION, f"sacip-tun: {error}"
    if isinstance(error, SetupError):
        return NO_PRIVILEGE if error.missing else FAILED, f"sacip-tun: {error}"
    if isinstance(error, PermissionError):
        return NO_PRIVILEGE, f"sacip-tun: {error}; run it as root"
    return FAILED, f"sacip-tun: {error}"
