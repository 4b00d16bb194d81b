"""The UAPI server: the socket by which `wg` sees and changes an interface.

A client may send many requests over one connection, and nothing at all: `wg` opens and closes a
connection before each of its own. What a client sends or does not read holds nobody up, and what
is not a whole request changes nothing.
"""

import asyncio
import contextlib
import errno
import socket
from collections.abc import Awaitable, Callable, Iterator

from sacip_tun.daemon.changes import Change
from sacip_tun.daemon.uapi_request import MAX_LINE, MAX_REQUEST, Refused, SetRequest
from sacip_tun.linux.errors import SetupError, SocketError

# Bytes of a request that are read in one turn of the loop: some 0.7 ms.
READ_A_TURN = 16 << 10
# Clients at a time; more are let go at once.
MAX_CLIENTS = 64
# Who has begun a request, or been answered, has so many seconds to go on with it.
PATIENCE = 20.0


class UapiServer:
    """Serves one interface. `answer` yields the lines of a `get`, `apply` does a `set`.

    `refused` is told why a request was not done.
    """

    def __init__(
        self,
        answer: Callable[[], Awaitable[Iterator[str]]],
        apply: Callable[[Change], Awaitable[None]],
        refused: Callable[[str], None],
    ) -> None:
        self._answer = answer
        self._apply = apply
        self._told = refused
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()

    async def start(self, listener: socket.socket) -> None:
        """Serve a listening socket. Raises OSError."""
        self._server = await asyncio.start_unix_server(self._accept, sock=listener, limit=1 << 16)

    async def stop(self) -> None:
        """Serve nobody any more."""
        if self._server is not None:
            self._server.close()
        for client in self._clients:
            client.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._clients) >= MAX_CLIENTS:
            writer.close()
            return
        self._clients.add(task)
        task.add_done_callback(self._clients.discard)
        try:
            with contextlib.suppress(OSError, TimeoutError, asyncio.CancelledError):
                await self._serve(_Lines(reader), writer)
                writer.close()
                async with asyncio.timeout(PATIENCE):
                    await writer.wait_closed()
        finally:
            writer.transport.abort()  # harmless where it is closed, and it is but for who reads not

    async def _serve(self, lines: "_Lines", writer: asyncio.StreamWriter) -> None:
        while not lines.ended:
            operation = await lines.first()
            if operation == b"get=1":
                await self._get(lines, writer)
            elif operation == b"set=1":
                await _send(writer, _errno(-await self._set(lines)))
            else:
                if operation:
                    await _send(writer, _errno(-errno.EINVAL))
                return

    async def _get(self, lines: "_Lines", writer: asyncio.StreamWriter) -> None:
        line = await lines.next()
        if line:
            lines.ended = True  # what follows is no request
            await _send(writer, _errno(errno.EINVAL))
        elif line is not None:
            for part in await self._answer():
                await _send(writer, part)
            await _send(writer, _errno(0))

    async def _set(self, lines: "_Lines") -> int:
        """Read the rest of a request and do it; returns 0, or the errno."""
        try:
            await self._apply(await _request(lines))
        except Refused as refused:
            self._told(refused.why)
            return refused.number
        except SetupError as error:
            self._told(error.cause)
            cause = error.__cause__
            other = errno.EADDRINUSE if isinstance(error, SocketError) else errno.EIO
            return (cause.errno if isinstance(cause, OSError) else None) or other
        except OSError as error:
            self._told(str(error) or "the request did not come to its end in time")
            return error.errno or errno.ETIMEDOUT
        except Exception as error:  # noqa: BLE001 - the client must get an answer, whatever happened
            loop = asyncio.get_running_loop()
            loop.call_exception_handler({"message": "a request failed", "exception": error})
            return errno.EIO
        return 0


async def _request(lines: "_Lines") -> Change:
    """Read the rest of a request. Raises Refused, and OSError where it is too long or too slow."""
    request = SetRequest()
    while line := await lines.next():
        request.add(line)
    if line is None:
        raise Refused(errno.EPROTO, "the request has no end")
    return request.change


class _Lines:
    """The lines of one client, without their ends. `ended` tells that no more of them count."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._whole: list[bytes] = []
        self._rest = b""
        self._taken = 0
        self.ended = False

    async def first(self) -> bytes:
        """Return the first line of a request, empty where none comes: it may be waited for long."""
        self._taken = 0
        while not self._whole and not self.ended:
            await self._read(PATIENCE if self._rest else None)
        return self._whole.pop() if self._whole else b""

    async def next(self) -> bytes | None:
        """Return the next line of a request, None where it does not come to its end."""
        while not self._whole:
            if self.ended:
                return None
            await self._read(PATIENCE)
        return self._whole.pop()

    async def _read(self, patience: float | None) -> None:
        """Read what there is. Raises OSError where that is too much, or nothing for too long."""
        self.ended = True
        if len(self._rest) > MAX_LINE or self._taken > MAX_REQUEST:
            raise OSError(errno.EMSGSIZE, "the request is too long")
        async with asyncio.timeout(patience):
            data = await self._reader.read(READ_A_TURN)
        self._taken += len(data)
        *whole, self._rest = (self._rest + data).split(b"\n")
        self._whole, self.ended = whole[::-1], not data
        await asyncio.sleep(0)  # a client that sends faster than we read must not be alone


async def _send(writer: asyncio.StreamWriter, text: str) -> None:
    writer.write(text.encode("ascii"))
    async with asyncio.timeout(PATIENCE):
        await writer.drain()
    await asyncio.sleep(0)  # a long answer must not hold packets up


def _errno(number: int) -> str:
    """Return the end of an answer; its sign is what `wg` expects, and differs by operation."""
    return f"errno={number}\n\n"
