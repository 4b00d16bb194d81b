"""The run of a configured interface: an event loop with one service in it, from up to down."""

import asyncio

import uvloop

from sacip_tun.config import Config
from sacip_tun.daemon.ending import EndedEarlyError
from sacip_tun.daemon.launch import Asker
from sacip_tun.daemon.service import Service
from sacip_tun.linux.errors import SetupError
from sacip_tun.linux.service_manager import ServiceManager
from sacip_tun.outcome import Exit, Failure
from sacip_tun.protocol.errors import LocalError


def run(config: Config, asker: Asker, manager: ServiceManager) -> Failure | None:
    """Run an interface until it ends.

    Where it was told to end while it came up, that is returned, and nothing was reported.
    """
    return uvloop.run(_serve(config, asker, manager))


async def _serve(config: Config, asker: Asker, manager: ServiceManager) -> Failure | None:
    service = Service(config, manager=manager)
    service.journal.log = asker.say
    service.quick.trace = asker.trace
    loop = asyncio.get_running_loop()
    if asker.line is not None:
        loop.add_reader(asker.line, service.stop)
    try:
        async with service.running():
            if asker.line is not None:
                loop.remove_reader(asker.line)
            asker.report(service.warnings, None)
            await service.until_stopped()
    except EndedEarlyError as error:
        return Failure(error.cause, error.fix)
    except (SetupError, LocalError, OSError) as error:
        asker.report([], _explained(error, config.interface.name))
    return None


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
