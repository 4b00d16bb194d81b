"""A bare interface, as wireguard-go runs it: others configure it, and removing it ends it."""

from collections.abc import Callable

import uvloop

from sacip_tun.config import Config, InterfaceConfig
from sacip_tun.daemon.ending import EndedEarlyError
from sacip_tun.daemon.journal import Record
from sacip_tun.daemon.service import Service
from sacip_tun.daemon.uapi_desk import Bare
from sacip_tun.linux.errors import SetupError
from sacip_tun.protocol.errors import LocalError
from sacip_tun.protocol.keys import NO_PRIVATE_KEY


def run(bare: Bare, say: Callable[[Record], None]) -> str:
    """Run an interface until it ends; returns why it could not be run, empty where it was.

    `say` gets every record of the journal.
    """
    return uvloop.run(_run(bare, say))


async def _run(bare: Bare, say: Callable[[Record], None]) -> str:
    service = Service(Config(InterfaceConfig(bare.tun.name, private_key=NO_PRIVATE_KEY)), bare=bare)
    service.journal.log = say
    try:
        async with service.running():
            await service.until_stopped()
    except EndedEarlyError:  # it answers already, and who asked it to end got what was asked for
        return ""
    except (SetupError, LocalError, OSError) as error:
        return str(error)
    return ""
