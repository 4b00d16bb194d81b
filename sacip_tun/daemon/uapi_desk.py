"""The desk of the UAPI: one interface's socket, from its beginning to the file's removal."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sacip_tun.daemon.journal import Journal
from sacip_tun.daemon.reconfigurer import Reconfigurer
from sacip_tun.daemon.uapi import UapiServer
from sacip_tun.daemon.uapi_answer import Answers
from sacip_tun.linux.inotify import FileWatch
from sacip_tun.linux.tun import Tun
from sacip_tun.linux.unix import UAPI_DIRECTORY, Listener
from sacip_tun.protocol.tunnel import Tunnel


@dataclass(frozen=True, slots=True)
class Bare:
    """An interface that others configure with `wg` and `ip`, and a socket that listens for them."""

    tun: Tun
    listener: Listener


class UapiDesk:
    """Answers `wg` for one interface; `figures` are its port and MTU of the moment."""

    def __init__(
        self,
        tunnel: Tunnel,
        reconfigurer: Reconfigurer,
        journal: Journal,
        figures: Callable[[], tuple[int, int]],
        directory: Path = UAPI_DIRECTORY,
    ) -> None:
        self._reconfigurer = reconfigurer
        self._figures = figures
        self._answers = Answers(tunnel)
        self._server = UapiServer(self._answer, reconfigurer.apply, self._refused)
        self._journal = journal
        self._path = directory / f"{reconfigurer.interface.name}.sock"
        self._watch: FileWatch | None = None
        self._listener: Listener | None = None

    async def start(self, listener: Listener | None = None) -> None:
        """Serve, at a new socket where there is no `listener`.

        Raises FileExistsError where somebody else serves this name, OSError otherwise.
        """
        self._listener = listener or Listener.at(self._path)
        await self._server.start(self._listener.socket)

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
        if self._listener is not None:
            self._listener.remove()
        await self._server.stop()

    async def _answer(self) -> Iterator[str]:
        async with self._reconfigurer.busy:
            return self._answers.parts(self._reconfigurer.config, *self._figures())

    def _refused(self, why: str) -> None:
        self._journal.note("request-refused", why=why)
