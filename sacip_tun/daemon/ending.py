"""The end of a service: who asks for it, and that it ends a start too that is under way."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from sacip_tun.linux.errors import SetupError


class EndedEarlyError(SetupError):
    """It was told to end while it came up; everything is undone."""

    def __init__(self) -> None:
        super().__init__("it was told to end while it came up", "try again when you want it")


class Ending:
    """That of one service."""

    def __init__(self) -> None:
        self._asked = asyncio.Event()
        self._starting: asyncio.Task[object] | None = None

    def heed_signals(self) -> None:
        """Let SIGINT and SIGTERM ask for it from here on."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.ask)

    def ask(self) -> None:
        """Ask for it; harmless when repeated."""
        self._asked.set()
        if self._starting is not None:
            self._starting.cancel()
            self._starting = None

    async def asked(self) -> None:
        """Return when somebody has asked."""
        await self._asked.wait()

    @contextmanager
    def ends_this(self) -> Iterator[None]:
        """Let whoever asks cancel what is done inside. Raises EndedEarlyError then."""
        task = self._starting = asyncio.current_task()
        try:
            yield
        except asyncio.CancelledError:
            if task is None or not self._asked.is_set():
                raise
            task.uncancel()
            raise EndedEarlyError from None
        finally:
            self._starting = None
