"""The herald: tells the service manager how we are, in one line, and that we are alive.

A sign of life is given by the loop that moves packets and by nothing else: where that stands still,
the manager ends and starts us again. It is a timer of that loop, and no other thread.
"""

import asyncio
from collections.abc import Callable

from sacip_tun.linux.service_manager import ServiceManager, monotonic_now

# However much happens, the line is told anew no more often, in seconds.
PAUSE = 1.0
# Twice in the time that the manager waits, as sd_watchdog_enabled(3) advises.
SIGNS = 2


class Herald:
    """Tells `manager` what `line` returns; nothing happens where nobody supervises us."""

    def __init__(self, manager: ServiceManager, line: Callable[[], str]) -> None:
        self._manager = manager
        self._line = line
        self._told = ""
        self._news: asyncio.TimerHandle | None = None
        self._sign: asyncio.TimerHandle | None = None

    def ready(self) -> None:
        """Say that the interface is up; signs of life begin."""
        self._manager.tell("READY=1", self._status())
        if self._sign is None:
            self._live()

    def reloading(self) -> None:
        """Say that the file is being read again; `ready` says that this is over."""
        self._manager.tell("RELOADING=1", monotonic_now())

    def stopping(self) -> None:
        """Say that it is going down; no more signs of life."""
        self._manager.tell("STOPPING=1")
        for handle in (self._news, self._sign):
            if handle is not None:
                handle.cancel()

    def news(self) -> None:
        """Tell the line again, in a moment, together with whatever happens until then."""
        if self._news is None:
            self._news = asyncio.get_running_loop().call_later(PAUSE, self._retell)

    def _retell(self) -> None:
        self._news = None
        before = self._told
        status = self._status()
        if self._told != before:
            self._manager.tell(status)

    def _status(self) -> str:
        self._told = self._line().replace("\n", " ")
        return f"STATUS={self._told}"

    def _live(self) -> None:
        if self._manager.is_there and self._manager.watchdog is not None:
            self._manager.tell("WATCHDOG=1")
            pause = self._manager.watchdog / SIGNS
            self._sign = asyncio.get_running_loop().call_later(pause, self._live)
