"""The launch: in the foreground, or detached with a report when the interface is up.

The parent of a detached daemon waits on a socket: it returns 0 only after the child has said that
the interface is up, and prints what the child says otherwise. The child leaves the terminal behind,
and only then loads what runs a tunnel: to fork with all of that takes 20 ms.
"""

import json
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sacip_tun.config import Config
from sacip_tun.daemon.loading import loading
from sacip_tun.linux.detach import detached, let_go
from sacip_tun.linux.service_manager import ServiceManager
from sacip_tun.outcome import Exit, Failure

# Told once: the warnings when the interface is up, or why it is not.
Report = Callable[[list[str], Failure | None], None]
Say = Callable[[dict[str, Any]], None]
Warn = Callable[[str], None]
Trace = Callable[[str], None]


@dataclass(frozen=True)
class Asker:
    """Who asked for an interface, and what is told to whom.

    `report` is called once, when it is up or why it is not. `say` gets every record of the journal,
    `trace` each step that changes this host. The end of what can be read from `line` tells that
    nobody wants the interface any more, as long as it is not up.
    """

    report: Report
    say: Say
    trace: Trace
    line: socket.socket | None = None


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

    _run(config, Asker(report, say, trace), ServiceManager.of(os.environ))
    return Exit.OK


def _detach(config: Config, warn: Warn, trace: Trace) -> int:
    said = detached(lambda teller: _run_detached(config, teller, trace))
    if not said:
        raise Failure("the daemon died while starting", "try again with --foreground to see why")
    warnings, failure = json.loads(said)
    for warning in warnings:
        warn(warning)
    if failure is not None:
        raise Failure(*failure)
    return Exit.OK


def _run_detached(config: Config, teller: socket.socket, trace: Trace) -> int:
    """Run, and report once: when the interface is up, or why it is not.

    Until then commands of the file print to where `up` was typed.
    """
    let_go(0)
    with teller:

        def report(warnings: list[str], failure: Failure | None) -> None:
            if teller.fileno() >= 0:
                said = failure and (failure.cause, failure.fix, int(failure.code))
                with suppress(OSError):  # who asked has gone
                    teller.sendall(json.dumps([warnings, said]).encode())
                teller.close()
                let_go(1, 2)

        # Nobody supervises a process that left its session.
        manager = ServiceManager()
        failure = _run(config, Asker(report, lambda _record: None, trace, teller), manager)
        if failure is not None:
            report([], failure)
    return Exit.OK


def _run(config: Config, asker: Asker, manager: ServiceManager) -> Failure | None:
    with loading():
        # Here and not above: see there. Nothing is loaded later, when packets pass.
        from sacip_tun.daemon.run import run  # noqa: PLC0415 - see above

    return run(config, asker, manager)
