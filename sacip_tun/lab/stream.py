"""A one-way UDP stream, like a call in which the other one talks.

    python -m sacip_tun.lab.stream server --listen 10.9.0.1
    python -m sacip_tun.lab.stream client --connect 10.9.0.1

The server sends numbered packets to the first client that asks, until it is told to stop (SIGTERM).
The client asks until the first packet comes, and is silent from then on: nothing that it sends can
tell the server's end of a tunnel where it has gone.
"""

import argparse
import asyncio
import socket
import struct
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from sacip_tun.lab.arrivals import Arrivals, now_unix
from sacip_tun.lab.part import say, text, until_stopped

# 20 ms of speech in G.711 are 160 bytes; twice as many packets a second make a finer ruler.
SIZE = 160
PACE = 0.01
# How often the client asks, in seconds, until the stream runs.
ASKING = 0.1
# How often the client says that something comes in, in seconds, while it does.
REPORTING = 0.25
_NUMBER = struct.Struct(">Q")


@dataclass(slots=True)
class Sent:
    """What the server did."""

    sent: int = 0
    refused: int = 0
    """Packets that the kernel did not take."""
    sent_unix: list[float] = field(default_factory=list)
    """When each was sent, by its number, in seconds since 1970."""
    error: str | None = None


@dataclass(slots=True)
class Received:
    """What the client got."""

    received: int = 0
    numbers: list[int] = field(default_factory=list)
    """In the order in which they came in."""
    longest_silence_ms: float = 0.0
    first_unix: float | None = None
    bins: list[int] = field(default_factory=list)
    silences: list[tuple[float, float]] = field(default_factory=list)
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Loss:
    """What the two results say together."""

    lost: tuple[int, ...]
    """The numbers that never came."""
    duplicated: int

    @classmethod
    def between(cls, sent: int, numbers: Sequence[int]) -> "Loss":
        """Compare `sent` packets, numbered from 0, with the numbers that came in."""
        came = set(numbers)
        return cls(
            tuple(number for number in range(sent) if number not in came), len(numbers) - len(came)
        )


async def send(host: str, port: int) -> Sent:
    """Play the server's part until cancelled."""
    result = Sent()
    with _socket(host) as bound:
        bound.bind((host, port))
        try:
            await _send(bound, result)
        except asyncio.CancelledError:
            result.sent = len(result.sent_unix)
    return result


async def _send(bound: socket.socket, result: Sent) -> None:
    loop = asyncio.get_running_loop()
    _, client = await loop.sock_recvfrom(bound, SIZE)
    start = now_unix()
    while True:
        number = len(result.sent_unix)
        await asyncio.sleep(max(0.0, start + number * PACE - now_unix()))
        result.sent_unix.append(round(now_unix(), 4))
        try:
            bound.sendto(_NUMBER.pack(number).ljust(SIZE, b"\0"), client)
        except OSError:
            result.refused += 1


async def receive(host: str, port: int) -> Received:
    """Play the client's part until cancelled."""
    result, arrivals = Received(), Arrivals()
    with _socket(host) as bound:
        asking = asyncio.create_task(_ask(bound, (host, port)))
        try:
            await _receive(bound, result, arrivals, asking)
        except asyncio.CancelledError:
            arrivals.broken_off(now_unix())
        asking.cancel()
    result.received = len(result.numbers)
    result.longest_silence_ms = round(arrivals.longest * 1000, 1)
    result.first_unix, result.bins = arrivals.first_unix, arrivals.bins
    result.silences = arrivals.silences
    return result


async def _receive(
    bound: socket.socket, result: Received, arrivals: Arrivals, asking: "asyncio.Task[None]"
) -> None:
    loop, said = asyncio.get_running_loop(), 0.0
    while True:
        packet, server = await loop.sock_recvfrom(bound, 2 * SIZE)
        now = now_unix()
        if not result.numbers:
            asking.cancel()
            say("established", local=text(bound.getsockname()), remote=text(server))
        if now - said >= REPORTING:
            say("arriving")
            said = now
        arrivals.note(len(packet), now)
        result.numbers.append(_NUMBER.unpack_from(packet)[0])


async def _ask(bound: socket.socket, server: tuple[str, int]) -> None:
    while True:
        bound.sendto(b"?", server)
        await asyncio.sleep(ASKING)


def _socket(host: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_DGRAM)
    made.setblocking(False)  # noqa: FBT003 - the standard library's own signature
    return made


def main() -> int:
    """Run one end until SIGTERM."""
    parser = argparse.ArgumentParser(description="A one-way stream, measured.")
    roles = parser.add_subparsers(dest="role", required=True)
    server, client = roles.add_parser("server"), roles.add_parser("client")
    server.add_argument("--listen", dest="host", required=True)
    client.add_argument("--connect", dest="host", required=True)
    for role in (server, client):
        role.add_argument("--port", type=int, default=5004)
    options = parser.parse_args()
    result: Sent | Received
    if options.role == "server":
        result = asyncio.run(until_stopped(send(options.host, options.port)))
    else:
        result = asyncio.run(until_stopped(receive(options.host, options.port)))
    say("result", **asdict(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
