"""Somebody types and waits for the echo: small requests, small responses.

    python -m sacip_tun.lab.keystrokes server --listen 10.9.0.1
    python -m sacip_tun.lab.keystrokes client --connect 10.9.0.1 --seconds 5

The client types at its own pace, whether or not the echo comes. What it types is `flow`'s generated
stream; by SHA-256 both ends check that nothing is missing and nothing is there twice.
"""

import argparse
import asyncio
import hashlib
import statistics
import sys
from dataclasses import asdict, dataclass, field

from sacip_tun.lab.arrivals import NOTEWORTHY, now_unix
from sacip_tun.lab.flow import chunks, digest, kept, total_retransmissions
from sacip_tun.lab.part import STOPPED, say, text, until_stopped

# One keystroke of an SSH session is a packet of 36 bytes (RFC 4253 with its padding and MAC).
KEY = 36
# A fast typist, in seconds from key to key; also a game's input, or a call's control messages.
PACE = 0.05
SEED = 1
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(slots=True)
class Result:
    """What one end saw. Only the client waits for anything."""

    local: str
    remote: str
    sent: int = 0
    received: int = 0
    intact: bool = False
    median_wait_ms: float = 0.0
    longest_wait_ms: float = 0.0
    waits: list[tuple[float, float]] = field(default_factory=list)
    """Typed and echoed, in seconds since 1970, of each key that took 5 ms or more."""
    retransmissions: int = 0
    error: str | None = None


class Typist:
    """The client's end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._typed: list[float] = []
        self._echoed: list[float] = []
        self._heard = bytearray()
        self._socket = kept(writer)
        self._result = _result(writer)

    async def run(self, seconds: float) -> Result:
        """Type for so long and wait for the last echo; what goes wrong is in the result."""
        say("established", local=self._result.local, remote=self._result.remote)
        total = KEY * round(seconds / PACE)
        try:
            await self._session(total)
        except asyncio.CancelledError:
            self._result.error = STOPPED
        self._result.intact = hashlib.sha256(self._heard).hexdigest() == digest(SEED, total)
        self._result.received = len(self._heard)
        self._add_waits(now_unix())
        with self._socket:
            self._result.retransmissions = total_retransmissions(self._socket)
        self._writer.close()
        return self._result

    async def _session(self, total: int) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._type(total))
                group.create_task(self._listen(total))
        except* (OSError, EOFError) as errors:
            self._result.error = "; ".join(repr(error) for error in errors.exceptions)

    async def _type(self, total: int) -> None:
        for key in chunks(SEED, total, KEY):
            self._typed.append(now_unix())
            self._writer.write(key)
            self._result.sent += len(key)
            await asyncio.sleep(PACE)

    async def _listen(self, total: int) -> None:
        while len(self._heard) < total:
            self._heard += await self._reader.readexactly(KEY)
            self._echoed.append(now_unix())

    def _add_waits(self, end: float) -> None:
        """Count the waits; keys without an echo wait until the end."""
        echoed = self._echoed + [end] * (len(self._typed) - len(self._echoed))
        waits = list(zip(self._typed, echoed, strict=True))
        lengths = [until - since for since, until in waits] or [0.0]
        self._result.waits = [wait for wait in waits if wait[1] - wait[0] >= NOTEWORTHY]
        self._result.median_wait_ms = round(statistics.median(lengths) * 1000, 1)
        self._result.longest_wait_ms = round(max(lengths) * 1000, 1)


async def connect(host: str, port: int, seconds: float) -> Result:
    """Play the client's part."""
    return await Typist(*await _connected(host, port)).run(seconds)


async def serve(host: str, port: int) -> Result:
    """Echo one connection to its end."""
    accepted: asyncio.Queue[Streams] = asyncio.Queue()
    server = await asyncio.start_server(
        lambda reader, writer: accepted.put_nowait((reader, writer)), host, port
    )
    async with server:
        return await _echo(*await accepted.get())


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Result:
    result, heard, connection = _result(writer), hashlib.sha256(), kept(writer)
    try:
        while data := await reader.read(KEY):
            heard.update(data)
            writer.write(data)
            await writer.drain()
            result.received += len(data)
    except OSError as error:
        result.error = repr(error)
    except asyncio.CancelledError:
        result.error = STOPPED
    result.sent = result.received
    result.intact = heard.hexdigest() == digest(SEED, result.received)
    with connection:
        result.retransmissions = total_retransmissions(connection)
    writer.close()
    return result


async def _connected(host: str, port: int) -> Streams:
    while True:
        try:
            return await asyncio.open_connection(host, port)
        except ConnectionRefusedError:
            # The server is a process that was started beside this one and may need a moment.
            await asyncio.sleep(0.05)


def _result(writer: asyncio.StreamWriter) -> Result:
    return Result(text(writer.get_extra_info("sockname")), text(writer.get_extra_info("peername")))


def main() -> int:
    """Run one end; 0 where all that was typed came back."""
    parser = argparse.ArgumentParser(description="Keystrokes and their echo, measured.")
    roles = parser.add_subparsers(dest="role", required=True)
    server, client = roles.add_parser("server"), roles.add_parser("client")
    server.add_argument("--listen", dest="host", required=True)
    client.add_argument("--connect", dest="host", required=True)
    client.add_argument("--seconds", type=float, default=5.0)
    for role in (server, client):
        role.add_argument("--port", type=int, default=5003)
    options = parser.parse_args()
    part = (
        serve(options.host, options.port)
        if options.role == "server"
        else connect(options.host, options.port, options.seconds)
    )
    result = asyncio.run(until_stopped(part))
    say("result", **asdict(result))
    return 0 if result.intact and result.error is None else 1


if __name__ == "__main__":
    sys.exit(main())
