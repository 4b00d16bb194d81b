"""A live connection through the tunnel, which tells what a move did to it.

    python -m sacip_tun.lab.flow server --listen 10.9.0.1 --port 5001
    python -m sacip_tun.lab.flow client --connect 10.9.0.1 --port 5001 --direction download

The client says in a first line what is to be sent in each direction; the server plays its part.
What is sent comes from a seeded generator, so that each end can check by SHA-256 what it received.
Each end prints a line of JSON when the connection stands, and one with the result at its end, or
when it is told to stop (SIGTERM): see `part`.
"""

import argparse
import asyncio
import hashlib
import json
import math
import socket
import struct
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

from sacip_tun.lab.arrivals import Arrivals, now_unix
from sacip_tun.lab.part import STOPPED, say, text, until_stopped

BLOCK = 64 * 1024
# A paced sender writes so often, in seconds, whatever the rate.
TICK = 0.002
# A sender that was held up makes up for so much, in seconds, and not for the rest: the rate is
# bounded after a stall too.
CATCH_UP = 0.1
# Offset in bytes of tcpi_total_retrans in struct tcp_info (linux/tcp.h): 8 octets and 23 words.
TOTAL_RETRANSMISSIONS = 8 + 23 * 4


class Direction(StrEnum):
    """Who sends, as the client sees it."""

    UPLOAD = "upload"
    DOWNLOAD = "download"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be sent in one connection: `total` bytes a direction, `chunk` at a time."""

    direction: Direction
    total: int
    chunk: int
    interval: float
    """Seconds from one chunk to the next."""
    seed: int

    @classmethod
    def of_rate(cls, direction: Direction, megabits: float, seconds: float, seed: int) -> "Plan":
        """Return the plan for a rate in Mbit/s."""
        chunk = math.ceil(megabits * 1e6 / 8 * TICK)
        return cls(direction, round(chunk * seconds / TICK), chunk, TICK, seed)

    @classmethod
    def of_chunks(
        cls, direction: Direction, chunk: int, interval: float, seconds: float, seed: int
    ) -> "Plan":
        """Return the plan for a small chunk now and then, like somebody typing."""
        return cls(direction, chunk * math.ceil(seconds / interval), chunk, interval, seed)

    def reversed(self) -> "Plan":
        """Return the same plan as the other end sees it."""
        flipped = {
            Direction.UPLOAD: Direction.DOWNLOAD,
            Direction.DOWNLOAD: Direction.UPLOAD,
            Direction.BOTH: Direction.BOTH,
        }
        return replace(self, direction=flipped[self.direction])

    @property
    def bytes_to_send(self) -> int:
        """What this end sends."""
        return 0 if self.direction is Direction.DOWNLOAD else self.total

    @property
    def bytes_to_receive(self) -> int:
        """What the other end sends."""
        return 0 if self.direction is Direction.UPLOAD else self.total


@dataclass(slots=True)
class Result:
    """What one end saw."""

    local: str
    remote: str
    sent: int = 0
    received: int = 0
    intact: bool = False
    """Everything that was to be received was, and its SHA-256 is right."""
    longest_silence_ms: float = 0.0
    """Longest time in which nothing was received, from the first byte to the last."""
    silent_from_unix: float | None = None
    retransmissions: int = 0
    first_unix: float | None = None
    bins: list[int] = field(default_factory=list)
    """Bytes received in each 10 ms since `first_unix`."""
    silences: list[tuple[float, float]] = field(default_factory=list)
    """From and until, in seconds since 1970, of each silence of 5 ms or more."""
    error: str | None = None


def generated(seed: int, total: int) -> Iterator[bytes]:
    """Yield `total` pseudo-random bytes in blocks: SHAKE-128 of the seed and the block's number."""
    for start in range(0, total, BLOCK):
        name = f"{seed}/{start}".encode()
        yield hashlib.shake_128(name).digest(min(BLOCK, total - start))


def digest(seed: int, total: int) -> str:
    """Return the SHA-256 of what `generated` yields, in hex."""
    summed = hashlib.sha256()
    for block in generated(seed, total):
        summed.update(block)
    return summed.hexdigest()


def chunks(seed: int, total: int, size: int) -> Iterator[bytes]:
    """Cut what `generated` yields into chunks of `size`, the last one as long as is left."""
    kept = bytearray()
    for block in generated(seed, total):
        kept += block
        while len(kept) >= size:
            yield bytes(kept[:size])
            del kept[:size]
    if kept:
        yield bytes(kept)


class Flow:
    """One end of the connection.

    The server is the last to close its direction, when all has come in: so the client ends after
    the last of its bytes arrived, not after it left.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        plan: Plan,
        *,
        last: bool,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._plan = plan
        self._may_close = asyncio.Event()
        if not last:
            self._may_close.set()
        self._socket = kept(writer)
        self._arrivals = Arrivals()
        self._result = Result(
            local=text(writer.get_extra_info("sockname")),
            remote=text(writer.get_extra_info("peername")),
        )

    async def run(self, patience: float) -> Result:
        """Send and receive to the end; a failure, or `patience` s of nothing, is in the result."""
        say("established", local=self._result.local, remote=self._result.remote)
        try:
            await self._both_ways(patience)
        except asyncio.CancelledError:
            self._result.error = STOPPED
        if self._result.error is not None and not self._result.intact:
            self._arrivals.broken_off(now_unix())
        with self._socket:
            self._result.retransmissions = total_retransmissions(self._socket)
        self._add_arrivals()
        self._writer.close()
        return self._result

    async def _both_ways(self, patience: float) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._send(patience))
                group.create_task(self._receive(patience))
        except* (OSError, TimeoutError) as errors:
            self._result.error = "; ".join(repr(error) for error in errors.exceptions)

    def _add_arrivals(self) -> None:
        arrivals, result = self._arrivals, self._result
        result.longest_silence_ms = round(arrivals.longest * 1000, 1)
        result.silent_from_unix = arrivals.longest_from_unix
        result.first_unix, result.bins = arrivals.first_unix, arrivals.bins
        result.silences = arrivals.silences

    async def _send(self, patience: float) -> None:
        start = time.monotonic()
        for number, chunk in enumerate(
            chunks(self._plan.seed, self._plan.bytes_to_send, self._plan.chunk)
        ):
            ahead = start + number * self._plan.interval - time.monotonic()
            start += max(0.0, -ahead - CATCH_UP)
            await asyncio.sleep(max(0.0, ahead))
            self._writer.write(chunk)
            await asyncio.wait_for(self._writer.drain(), patience)
            self._result.sent += len(chunk)
        await self._may_close.wait()
        # To the last byte: this process may end before its loop has given the rest to the kernel.
        self._writer.transport.set_write_buffer_limits(0)
        await asyncio.wait_for(self._writer.drain(), patience)
        self._writer.write_eof()

    async def _receive(self, patience: float) -> None:
        summed = hashlib.sha256()
        while data := await asyncio.wait_for(self._reader.read(BLOCK), patience):
            self._arrivals.note(len(data), now_unix())
            summed.update(data)
            self._result.received += len(data)
        expected = digest(self._plan.seed, self._plan.bytes_to_receive)
        self._result.intact = summed.hexdigest() == expected
        self._may_close.set()


def kept(writer: asyncio.StreamWriter) -> socket.socket:
    """Return the connection's socket, to be closed beside the writer.

    The writer's own is closed at once where the connection dies, before anybody could ask it.
    """
    found: socket.socket = writer.get_extra_info("socket").dup()
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return found


def total_retransmissions(connection: socket.socket) -> int:
    """Return how many segments the kernel sent again on this connection so far."""
    size = TOTAL_RETRANSMISSIONS + 4
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, size)
    return int(struct.unpack_from("@I", info, TOTAL_RETRANSMISSIONS)[0])


async def serve(host: str, port: int, patience: float) -> Result:
    """Play the server's part in one connection. Raises TimeoutError where none comes."""
    accepted: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    server = await asyncio.start_server(
        lambda reader, writer: accepted.put_nowait((reader, writer)), host, port, limit=BLOCK
    )
    async with server:
        reader, writer = await asyncio.wait_for(accepted.get(), patience)
        line = await asyncio.wait_for(reader.readline(), patience)
        given: dict[str, Any] = json.loads(line)
        plan = Plan(**{**given, "direction": Direction(given["direction"])}).reversed()
        return await Flow(reader, writer, plan, last=True).run(patience)


async def connect(host: str, port: int, plan: Plan, patience: float) -> Result:
    """Play the client's part. Raises OSError where nobody answers within `patience` s."""
    async with asyncio.timeout(patience):
        reader, writer = await _connected(host, port)
    writer.write(json.dumps(asdict(plan)).encode() + b"\n")
    return await Flow(reader, writer, plan, last=False).run(patience)


async def _connected(host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    while True:
        try:
            return await asyncio.open_connection(host, port, limit=BLOCK)
        except ConnectionRefusedError:
            # The server is a process that was started beside this one and may need a moment.
            await asyncio.sleep(0.05)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="One connection, measured.")
    roles = parser.add_subparsers(dest="role", required=True)
    server, client = roles.add_parser("server"), roles.add_parser("client")
    server.add_argument("--listen", dest="host", required=True)
    client.add_argument("--connect", dest="host", required=True)
    for role in (server, client):
        role.add_argument("--port", type=int, default=5001)
        role.add_argument("--patience", type=float, default=90.0, help="seconds of nothing")
    client.add_argument("--direction", type=Direction, default=Direction.BOTH)
    client.add_argument("--seconds", type=float, default=5.0)
    client.add_argument("--rate", type=float, default=20.0, help="Mbit/s in each direction")
    client.add_argument("--chunk", type=int, help="bytes, sent every --interval, not at a rate")
    client.add_argument("--interval", type=float, default=0.02, help="seconds between chunks")
    client.add_argument("--seed", type=int, default=1)
    return parser


def _plan(options: argparse.Namespace) -> Plan:
    if options.chunk is None:
        return Plan.of_rate(options.direction, options.rate, options.seconds, options.seed)
    return Plan.of_chunks(
        options.direction, options.chunk, options.interval, options.seconds, options.seed
    )


def main() -> int:
    """Run one end; 0 where it received all that it was to, intact."""
    options = _parser().parse_args()
    if options.role == "server":
        part = serve(options.host, options.port, options.patience)
    else:
        part = connect(options.host, options.port, _plan(options), options.patience)
    result = asyncio.run(until_stopped(part))
    say("result", **asdict(result))
    return 0 if result.intact and result.error is None else 1


if __name__ == "__main__":
    sys.exit(main())
