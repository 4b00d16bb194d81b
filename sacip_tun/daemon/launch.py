"""The launch: in the foreground, or detached with a report when the interface is up.

The parent of a detached daemon waits on a pipe: it returns 0 only after the child has said that the
interface is up, and prints what the child says otherwise. The child leaves the terminal behind.
"""

import json
import os
from collections.abc import Callable
from contextlib import suppress

import uvloop

from sacip_tun.config import Config
from sacip_tun.daemon.ending import EndedEarlyError
from sacip_tun.daemon.journal import Record
from sacip_tun.daemon.service import Service
from sacip_tun.linux.detach import detached, let_go
from sacip_tun.linux.errors import SetupError
from sacip_tun.linux.service_manager import ServiceManager
from sacip_tun.outcome import Exit, Failure
from sacip_tun.protocol.errors import LocalError

# Told once: the warnings when the interface is up, or why it is not.
Report = Callable[[list[str], Failure | None], None]
Say = Callable[[Record], None]
Warn = Callable[[str], None]
Trace = Callable[[str], None]


def start(config: Config, *, foreground: bool, say: Say, warn: Warn, trace: Trace) -> int:
    """Bring the interface up; returns Exit.OK, or raises Failure where it cannot be.

    In the foreground it returns when the interface is down again, and every record of the journal
    goes to `say`. Else it returns once the interface is up, with a daemon left behind. `warn` gets
    what the user should know though the interface is up, `trace` each step that changes this host.
    """
    if foreground:
        return _run_here(config, say, warn, trace)
    return _detach(config, warn, trace)


def _run_here(config: Config, say: Say, warn: Warn, trace: Trace) -> int:
    def report(warnings: list[str], failure: Failure | None) -> None:
        for warning in warnings:
            warn(warning)
        if failure is not None:
            raise failure

    with suppress(EndedEarlyError):  # which is what was asked for
        uvloop.run(_serve(config, report, say, trace, ServiceManager.of(os.environ)))
    return Exit.OK


def _detach(config: Config, warn: Warn, trace: Trace) -> int:
    said = detached(lambda writer: _run_detached(config, writer, trace))
    if not said:
        raise Failure("the daemon died while starting", "try again with --foreground to see why")
    warnings, failure = json.loads(said)
    for warning in warnings:
        warn(warning)
    if failure is not None:
        raise Failure(*failure)
    return Exit.OK


def _run_detached(config: Config, writer: int, trace: Trace) -> int:
    """Run, and report over the pipe once: when the interface is up, or why it is not.

    Until then commands of the file print to where `up` was typed.
    """
    let_go(0)
    with os.fdopen(writer, "wb") as pipe:

        def report(warnings: list[str], failure: Failure | None) -> None:
            if not pipe.closed:
                said = failure and (failure.cause, failure.fix, int(failure.code))
                pipe.write(json.dumps([warnings, said]).encode())
                pipe.close()
                let_go(1, 2)

        # Nobody supervises a process that left its session.
        manager = ServiceManager()
        try:
            uvloop.run(_serve(config, report, lambda _record: None, trace, manager))
        except EndedEarlyError as error:
            report([], Failure(error.cause, error.fix))
    return Exit.OK


async def _serve(
    config: Config, report: Report, say: Say, trace: Trace, manager: ServiceManager
) -> None:
    service = Service(config, manager=manager)
    service.journal.log = say
    service.quick.trace = trace
    try:
        async with service.running():
            report(service.warnings, None)
            await service.until_stopped()
    except EndedEarlyError:
        raise
    except (SetupError, LocalError, OSError) as error:
        report([], _explained(error, config.interface.name))


def _explained(error: SetupError | LocalError | OSError, name: str) -> Failure:
    """Return the cause, the fix and the exit code."""
    if isinstance(error, SetupError):
        return Failure(error.cause, error.fix, Exit.NO_PRIVILEGE if error.missing else Exit.FAILED)
    if isinstance(error, FileExistsError):
        return Failure(
            f"{name} is up already", f"see 'sacip-tun status {name}'; end it with 'down {name}'"
        )
    if isinstance(error, PermissionError):
        where = error.filename or "the network"
        return Failure(
            f"no privilege to set up {name}: {where}: {error.strerror}",
            "run it as root, for example with sudo",
            Exit.NO_PRIVILEGE,
        )
    if isinstance(error, LocalError):
        return Failure(str(error), "mend the configuration", Exit.BAD_CONFIGURATION)
    return Failure(str(error), f"see 'ip link show {name}' and 'ss -ulpn'")
