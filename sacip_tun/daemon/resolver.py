"""The resolver: endpoint names to addresses, without ever blocking the loop or giving up.

A name that does not resolve is tried again, at first after a second, then ever more slowly. Each
failure is an event, so that the user reads why nothing connects.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from functools import partial

from sacip_tun.daemon import errand
from sacip_tun.linux.interface import interface_index
from sacip_tun.protocol.address import Endpoint, Host
from sacip_tun.protocol.errors import LocalError

# Pauses between tries, in seconds: doubled from the first to the last.
FIRST_PAUSE = 1.0
LAST_PAUSE = 30.0

# Finds a name's addresses outside of a full tunnel, and blocks meanwhile; None where there is none.
LookUp = Callable[[str], list[Host]]
Outside = Callable[[], LookUp | None]


class Resolver:
    """Keeps one name resolved. `found` gets the addresses, best first; `failed` the reason."""

    __slots__ = ("_ended", "_failed", "_found", "_outside", "_task", "begun", "resolved", "text")

    def __init__(
        self,
        text: str,
        *,
        found: Callable[[list[Endpoint]], None],
        failed: Callable[[str], None],
        outside: Outside = lambda: None,
    ) -> None:
        self.text = text
        self._outside = outside
        self.resolved = False
        self.begun = False
        self._ended = False
        self._found = found
        self._failed = failed
        self._task: asyncio.Task[None] | None = None

    @property
    def final(self) -> bool:
        """Whether a lookup would find the same again: an address was written, and no zone."""
        return self.resolved and "%" not in self.text and literal(self.text) is not None

    def start(self) -> None:
        """Resolve, in the background; harmless while a resolution is under way."""
        self.begun = True
        if self._task is None and not self._ended:
            self._task = asyncio.ensure_future(self._resolve())

    def restart(self) -> None:
        """Resolve now: a resolution that is under way asked a network that is gone."""
        self.stop()
        self.start()

    def stop(self) -> None:
        """End a resolution that is under way."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def end(self) -> None:
        """Never resolve again, whoever asks: the user wrote something else."""
        self.stop()
        self._ended = True

    async def _resolve(self) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                endpoints = await self._endpoints()
            except OSError as error:
                self._failed(f"{self.text}: {error.strerror or error}")
                await asyncio.sleep(pause)
                pause = min(2 * pause, LAST_PAUSE)
            else:
                self.resolved = True
                self._task = None
                self._found(endpoints)
                return

    async def _endpoints(self) -> list[Endpoint]:
        """Ask inside and outside of a full tunnel at once: the one of them may be dead."""
        look_up = self._outside()
        if look_up is None or literal(self.text) is not None:
            return await resolve(self.text)
        asking = [asyncio.ensure_future(resolve(self.text))]
        asking.append(asyncio.ensure_future(_look_up(self.text, look_up)))
        try:
            for first in asyncio.as_completed(asking):
                with contextlib.suppress(OSError):
                    return await first
        finally:
            for task in asking:
                task.cancel()
        raise OSError("it does not resolve, neither inside the tunnel nor outside")


async def _look_up(text: str, look_up: LookUp) -> list[Endpoint]:
    host, _, port = text.rpartition(":")
    hosts = await errand.sent(partial(look_up, host.strip("[]")))
    return [Endpoint(host, int(port)) for host in hosts]


def literal(text: str) -> Endpoint | None:
    """Return the endpoint that `text` spells, None where it has a name in it.

    A zone may be an interface's name: `[fe80::1%eth0]:51820`.
    """
    host, _, port = text.rpartition(":")
    bare, percent, zone = host.strip("[]").partition("%")
    try:
        if percent and not zone.isdigit():
            return Endpoint.parse(f"[{bare}%{interface_index(zone)}]:{port}")
        return Endpoint.parse(text)
    except (LocalError, OSError):
        return None


async def resolve(text: str) -> list[Endpoint]:
    """Return the addresses of `HOST:PORT`, in the order of RFC 6724. Raises OSError."""
    endpoint = literal(text)
    if endpoint is not None:
        return [endpoint]
    host, _, port = text.rpartition(":")
    ask = partial(socket.getaddrinfo, host.strip("[]"), int(port), type=socket.SOCK_DGRAM)
    answers = await errand.sent(ask)
    found = [
        Endpoint.from_sockaddr(sockaddr)
        for family, *_, sockaddr in answers
        if family in {socket.AF_INET, socket.AF_INET6} and isinstance(sockaddr[0], str)
    ]
    return list(dict.fromkeys(found))
