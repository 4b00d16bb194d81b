"""The desk of the UAPI: one interface's socket, from its beginning to the file's removal."""

import asyncio
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sacip_tun.daemon.journal import Journal
from sacip_tun.daemon.reconfigurer import Reconfigurer
from sacip_tun.daemon.uapi import DIRECTORY, UapiServer, listen
from sacip_tun.daemon.uapi_answer import Answers
from sacip_tun.linux.inotify import FileWatch
from sacip_tun.protocol.tunnel import Tunnel


@dataclass(frozen=True, slots=True)
class Bare:
    """An interface that others configure with `wg`: it has an MTU and is down.

    `tun` is a descriptor that is open already, `listener` a UAPI socket that listens already.
    """

    tun: int | None = None
    listener: socket.socket | None = None


class UapiDesk:
    """Answers `wg` for one interface; `figures` are its port and MTU of the moment."""

    def __init__(
        self,
        tunnel: Tunnel,
        reconfigurer: Reconfigurer,
        journal: Journal,
        figures: Callable[[], tuple[int, int]],
        directory: Path = DIRECTORY,
    ) -> None:
        self._reconfigurer = reconfigurer
        self._figures = figures
        self._answers = Answers(tunnel)
        self._server = UapiServer(self._answer, reconfigurer.apply, self._refused)
        self._journal = journal
        self._path = directory / f"{reconfigurer.interface.name}.sock"
        self._watch: FileWatch | None = None
        self._ours: tuple[int, int] | None = None

    async def start(self, listener: socket.socket | None = None) -> None:
        """Serve, at a new socket where there is no `listener`.

        Raises FileExistsError where somebody else serves this name, OSError otherwise.
        """
        if listener is None:
            listener = listen(self._reconfigurer.interface.name, self._path.parent)
        with suppress(OSError):
            self._ours = _identity(self._path)
        await self._server.start(listener)

    async def try_to_start(self) -> Sequence[str]:
        """Serve, or return why that cannot be: the tunnel is none the worse for it.

        Raises FileExistsError where somebody else serves this name.
        """
        try:
            await self.start()
        except FileExistsError:
            raise
        except OSError as error:
            return (f"wg cannot see this interface: {self._path}: {error.strerror}",)
        return ()

    def watch(self, gone: Callable[[], None]) -> None:
        """Call `gone` when somebody removes the socket. Raises OSError."""
        loop = asyncio.get_running_loop()
        self._watch = watch = FileWatch(self._path)

        def look() -> None:
            if watch.gone:
                loop.remove_reader(watch.fileno())
                gone()

        loop.add_reader(watch.fileno(), look)

    async def stop(self) -> None:
        """Serve nobody any more, and remove the socket unless it is another one by now."""
        if self._watch is not None:
            asyncio.get_running_loop().remove_reader(self._watch.fileno())
            self._watch.close()
        with suppress(OSError):
            if self._ours is not None and self._ours == _identity(self._path):
                self._path.unlink()
        await self._server.stop()

    async def _answer(self) -> Iterator[str]:
        async with self._reconfigurer.busy:
            return self._answers.parts(self._reconfigurer.config, *self._figures())

    def _refused(self, why: str) -> None:
        self._journal.note("request-refused", why=why)


def _identity(path: Path) -> tuple[int, int]:
    status = os.lstat(path)
    return status.st_dev, status.st_ino
