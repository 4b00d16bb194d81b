"""The Python interface: the events of a running tunnel as they happen, and how it stands.

async for event in sacip_tun.events("sacip0"):
    print(event.kind, event.old, event.new, event.milliseconds)
"""

import asyncio
import os
import socket
from collections.abc import Collection
from pathlib import Path
from typing import Self

from sacip_tun.agreement import EVENT_SCHEMA, RUN_DIRECTORY, STATUS_SCHEMA, TOLD, known_kind
from sacip_tun.client.errors import FellBehind, broken, unanswered, unusable, went_down
from sacip_tun.client.events import Event, event_of
from sacip_tun.client.lines import (
    ANSWER_TIME,
    CHUNK,
    Answer,
    Lines,
    accepted,
    encoded,
    of_schema,
)
from sacip_tun.client.sockets import chosen
from sacip_tun.outcome import Failure

Directory = str | os.PathLike[str]


def events(
    name: str | None = None,
    *,
    kinds: Collection[str] | None = TOLD,
    run_directory: Directory = RUN_DIRECTORY,
) -> "EventStream":
    """Return the events of tunnel `name`, or of the only one that runs, from here on.

    `kinds` chooses; None takes every event, each frame of the protocol too. Raises ValueError for
    a kind that does not exist. The iterator raises NotRunning, NotAllowed, and TunnelDown when the
    tunnel goes: it does not connect again by itself, since a new tunnel is another one.
    """
    wanted = None if kinds is None else frozenset(map(known_kind, kinds))
    return EventStream(name, wanted, Path(run_directory))


async def status(name: str | None = None, *, run_directory: Directory = RUN_DIRECTORY) -> Answer:
    """Return the status document of a tunnel, as `sacip-tun status NAME --json` prints it.

    Raises NotRunning, NotAllowed, and Failure for what else can be wrong.
    """
    connection = await Connection.to(chosen(Path(run_directory), name))
    try:
        return of_schema(await connection.request("status"), STATUS_SCHEMA, connection.name)
    finally:
        connection.close()


class EventStream:
    """An asynchronous iterator of events.

    It listens from the first event that is asked for, or already on entering `async with`, which
    is for those who must not miss what they are about to cause:

        async with sacip_tun.events("sacip0") as stream:
            ...
            async for event in stream:
    """

    def __init__(self, name: str | None, kinds: frozenset[str] | None, directory: Path) -> None:
        self._name = name
        self._kinds = kinds
        self._directory = directory
        self._connection: Connection | None = None

    async def __aenter__(self) -> Self:
        await self._listening()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        connection = await self._listening()
        while True:
            record = await connection.receive()
            if record is None:
                self.close()
                raise await _ended(connection)
            event = event_of(record, connection.name)
            if self._kinds is None or event.kind in self._kinds:
                return event

    def close(self) -> None:
        """Listen no more; the next event that is asked for begins anew."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def _listening(self) -> "Connection":
        if self._connection is None:
            connection = await Connection.to(chosen(self._directory, self._name))
            try:
                answer = await connection.request("monitor")
                of_schema(answer, EVENT_SCHEMA, connection.name)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection


class Connection:
    """One connection to a running tunnel, for asyncio; a cancelled `receive` loses nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.stem
        self._lines = Lines(self.name)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(0)

    @classmethod
    async def to(cls, path: Path) -> Self:
        """Connect; raises NotRunning, NotAllowed, or another Failure."""
        connection = cls(path)
        try:
            loop = asyncio.get_running_loop()
            await loop.sock_connect(connection._socket, os.fspath(path))
        except BaseException as error:
            connection.close()
            if isinstance(error, OSError):
                raise unusable(path, error) from None
            raise
        return connection

    def close(self) -> None:
        """Close; harmless when repeated."""
        self._socket.close()

    # A loop over events may be left by `break`: nobody closes it then.
    __del__ = close

    async def request(self, command: str) -> Answer:
        """Send a command and return its answer; raises Failure, also for a refusal."""
        try:
            async with asyncio.timeout(ANSWER_TIME):
                await asyncio.get_running_loop().sock_sendall(
                    self._socket, encoded({"command": command})
                )
                answer = await self.receive()
        except OSError as error:
            raise broken(self.name, error, ANSWER_TIME) from None
        if answer is None:
            raise unanswered(self.name)
        return accepted(answer, self.name)

    async def receive(self) -> Answer | None:
        """Return the next object, None at the end of the connection; raises Failure."""
        while (found := self._lines.next()) is None:
            try:
                received = await asyncio.get_running_loop().sock_recv(self._socket, CHUNK)
            except ConnectionError:
                return None
            if not received:
                return None
            self._lines.feed(received)
        return found


async def _ended(connection: Connection) -> Failure:
    """Say why a stream ended: only a tunnel that cannot be reached any more is down."""
    name = connection.name
    try:
        again = await Connection.to(connection.path)
    except Failure:
        return went_down(name)
    again.close()
    return FellBehind(
        f"{name} runs, and closed this connection: its events were not read in time, "
        "or it was started anew",
        "read events at once and do what takes long elsewhere, then listen again",
    )
