"""The control socket: one JSON object a line in, one JSON object a line out.

    {"command": "status"}                          the status document
    {"command": "monitor"}                         a stream of records, until either side closes
    {"command": "move", "to": "192.168.1.2/24"}    the planned change; answers when it is done
    {"command": "down"}                            answers, then the interface goes

The socket is made with mode 0600 in a directory of mode 0755: only root may command.
"""

import asyncio
import contextlib
import json
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from sacip_tun.agreement import EVENT_SCHEMA
from sacip_tun.daemon.journal import Journal
from sacip_tun.linux.unix import is_live, wait_until_free
from sacip_tun.outcome import Exit

# A request is one short line; what is longer is no request of ours, in bytes.
MAX_REQUEST = 64 * 1024
# Items of a long list that are made and sent in one turn of the loop: those of the status document
# take some 0.1 ms each.
ITEMS_A_PART = 8
# A client that sends nothing or reads nothing is let go after so many seconds.
PATIENCE = 5.0
# An answer that is being given when all ends has so many seconds left.
FAREWELL = 1.0
# What is answered before the interface is up.
AT_ONCE = frozenset({"down"})

Answer = dict[str, Any]
Command = Callable[[dict[str, Any]], Awaitable[Answer]]


class CommandError(Exception):
    """A command that cannot be done: the cause, the fix, and the exit status for the client."""

    def __init__(self, cause: str, fix: str, code: int = Exit.FAILED) -> None:
        super().__init__(cause)
        self.fix = fix
        self.code = code


class ControlServer:
    """Serves `commands` by name, and the journal as a stream, on a UNIX socket."""

    def __init__(self, path: Path, commands: Mapping[str, Command], journal: Journal) -> None:
        self._path = path
        self._commands = commands
        self._journal = journal
        self.is_ready = True
        """Whether what the commands look at is there."""
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()
        self._answering: set[asyncio.Task[None]] = set()

    async def start(self, *, patient: bool = False) -> None:
        """Listen. Raises FileExistsError where a live daemon has this socket, OSError otherwise.

        With `patient` one that is about to end is waited for.
        """
        self._path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        if patient:
            await asyncio.to_thread(wait_until_free, self._path)
        if is_live(self._path):
            raise FileExistsError(f"{self._path} is in use")
        self._path.unlink(missing_ok=True)
        mask = os.umask(0o177)
        try:
            self._server = await asyncio.start_unix_server(
                self._accept, self._path, limit=MAX_REQUEST
            )
        finally:
            os.umask(mask)

    async def stop(self) -> None:
        """Close the socket and every client, and remove the file.

        Who has asked something, such as `down`, is still answered.
        """
        self._path.unlink(missing_ok=True)
        if self._server is not None:
            self._server.close()
        if self._answering:
            await asyncio.wait(self._answering, timeout=FAREWELL)
        for client in self._clients:
            client.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._clients.add(task)
            task.add_done_callback(self._clients.discard)
        try:
            with contextlib.suppress(OSError, TimeoutError, ValueError, asyncio.CancelledError):
                await self._serve(reader, writer)
        finally:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await _read_line(reader):
            request = parse_request(line)
            if request is not None and request.get("command") == "monitor":
                await self._stream(reader, writer)
                return
            answering = asyncio.ensure_future(self._give(writer, request))
            self._answering.add(answering)
            answering.add_done_callback(self._answering.discard)
            await answering

    async def _give(self, writer: asyncio.StreamWriter, request: dict[str, Any] | None) -> None:
        await _send(writer, await self._answer(request))

    async def _answer(self, request: dict[str, Any] | None) -> Answer:
        if request is None:
            return failure("this is no request", "a request is one JSON object", Exit.USAGE)
        command = self._commands.get(str(request.get("command")))
        if command is None:
            known = ", ".join([*self._commands, "monitor"])
            return failure("unknown command", f"known are {known}", Exit.USAGE)
        if not self.is_ready and request.get("command") not in AT_ONCE:
            name = self._path.stem
            fix = f"'sacip-tun wait {name}' ends when it is up"
            return failure("it is still coming up", fix, Exit.NOT_RUNNING)
        try:
            return {"ok": True, **await command(request)}
        except CommandError as error:
            return failure(str(error), error.fix, error.code)
        except Exception as error:  # noqa: BLE001 - the client must get an answer, whatever happened
            loop = asyncio.get_running_loop()
            loop.call_exception_handler({"message": "a command failed", "exception": error})
            return failure(f"a bug in sacip-tun: {error!r}", "please report it", Exit.FAILED)

    async def _stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Send records until the client goes, which shows as the end of what it sends."""
        listener = self._journal.subscribe()
        hangup = asyncio.ensure_future(reader.read())
        try:
            await _send(writer, {"ok": True, "schema": EVENT_SCHEMA})
            while not hangup.done():
                record = asyncio.ensure_future(listener.get())
                await asyncio.wait({record, hangup}, return_when=asyncio.FIRST_COMPLETED)
                if not record.done():
                    record.cancel()
                    return
                await _send(writer, record.result())
        finally:
            hangup.cancel()
            self._journal.unsubscribe(listener)


async def _read_line(reader: asyncio.StreamReader) -> bytes:
    # Not wait_for: before Python 3.12 it can swallow the cancellation that ends this connection.
    async with asyncio.timeout(PATIENCE):
        return await reader.readline()


async def _send(writer: asyncio.StreamWriter, answer: Answer) -> None:
    for part in encoded(answer):
        writer.write(part)
        async with asyncio.timeout(PATIENCE):
            await writer.drain()
        await asyncio.sleep(0)  # a long answer must not hold packets up


def encoded(answer: Answer) -> Iterator[bytes]:
    """Yield the line of an answer, in parts where one of its values is an iterator.

    That becomes a list, of which no more exists at a time than what a part holds.
    """
    whole = {key: value for key, value in answer.items() if not isinstance(value, Iterator)}
    line = json.dumps(whole).encode()[:-1]
    for key in answer.keys() - whole.keys():
        line += f"{', ' if len(line) > 1 else ''}{json.dumps(key)}: [".encode()
        separator = b""
        while items := list(islice(answer[key], ITEMS_A_PART)):
            line += separator + b", ".join(json.dumps(item).encode() for item in items)
            yield line
            line, separator = b"", b", "
        line += b"]"
    yield line + b"}\n"


def failure(cause: str, fix: str, code: int) -> Answer:
    """Return the answer that says why not; `code` is the exit status for the client."""
    return {"ok": False, "error": cause, "fix": fix, "exit": code}


def parse_request(line: bytes) -> dict[str, Any] | None:
    """Return the request on a line, None where it is none."""
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return request if isinstance(request, dict) else None
