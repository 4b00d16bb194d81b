"""The launch of a bare interface, as wireguard-go does it: its exit codes, its descriptors.

The child opens the TUN and the UAPI socket and says when it serves; the parent waits for that.
"""

import os
import socket
from collections.abc import Callable, Collection
from dataclasses import dataclass

import uvloop

from sacip_tun.config import Config, InterfaceConfig
from sacip_tun.daemon.journal import Record
from sacip_tun.daemon.reconfigurer import NO_KEY
from sacip_tun.daemon.service import Service
from sacip_tun.daemon.uapi_desk import Bare
from sacip_tun.linux.errors import SetupError
from sacip_tun.linux.linkwatch import name_of
from sacip_tun.protocol.errors import LocalError


@dataclass(frozen=True, slots=True)
class Given:
    """Descriptors that the environment gave: a TUN, and a socket that listens; None for neither."""

    tun: int | None = None
    uapi: int | None = None

    @property
    def descriptors(self) -> Collection[int]:
        """Those that there are."""
        return [number for number in (self.tun, self.uapi) if number is not None]


def run(name: str, given: Given, say: Callable[[Record], None], ready: Callable[[], None]) -> str:
    """Run the interface `name` until it ends; returns why it could not be, empty where it was.

    `ready` is called when it serves, and `say` gets every record of the journal.
    """
    return uvloop.run(_run(name, given, say, ready))


async def _run(
    name: str, given: Given, say: Callable[[Record], None], ready: Callable[[], None]
) -> str:
    try:
        if given.tun is not None:
            name = name_of(given.tun) or name
        listener = None if given.uapi is None else _adopted(given.uapi)
        config = Config(InterfaceConfig(name, private_key=NO_KEY))
        service = Service(config, bare=Bare(given.tun, listener))
        service.journal.log = say
        async with service.running():
            ready()
            await service.until_stopped()
    except SetupError as error:
        return error.cause
    except (LocalError, OSError) as error:
        return str(error)
    return ""


def _adopted(descriptor: int) -> socket.socket:
    os.set_inheritable(descriptor, False)  # noqa: FBT003 - the name says it
    listener = socket.socket(fileno=descriptor)
    listener.setblocking(False)  # noqa: FBT003 - the name says it
    return listener
