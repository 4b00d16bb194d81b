"""A one-way UDP stream: numbered packets, whether or not anybody still hears them.

    python one_way.py receive ADDRESS PORT          until SIGTERM, then says what came
    python one_way.py send ADDRESS PORT COUNT PAUSE

Nothing ever goes back, so nothing but the tunnel itself can notice that the receiver has moved.
"""

import json
import signal
import socket
import struct
import sys
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from sacip_tun.lab.namespaces import Host
from sacip_tun.lab.timeline import records

# About the size of a voice packet.
SIZE = 160
# Seconds between packets.
PAUSE = 0.01
# Seconds within which the last packets of a stream arrive.
SETTLING = 0.5


@dataclass(frozen=True)
class Heard:
    """What became of a stream. `gap_ms` is the longest time between two arrivals."""

    sent: int
    lost: int
    duplicated: int
    reordered: int
    gap_ms: float
    gap_from_unix: float

    def after(self, usable: float) -> float:
        """How long after `usable` (Unix seconds) the longest silence ended, in ms."""
        return min((self.gap_from_unix - usable) * 1000 + self.gap_ms, self.gap_ms)


class Stream:
    """A running stream from one host to an inner address of the other."""

    def __init__(self, sender: Host, receiver: Host, address: str, seconds: float) -> None:
        self._sender, self._receiver = sender, receiver
        self._count = round(seconds / PAUSE)
        program = [sys.executable, __file__]
        self._hearing = receiver.start([*program, "receive", address, "6001"])
        while "ready" not in receiver.log(self._hearing):
            assert self._hearing.poll() is None, receiver.log(self._hearing)
            time.sleep(0.02)
        words = [address, "6001", str(self._count), str(PAUSE)]
        self._sending = sender.start([*program, "send", *words])

    def finish(self) -> Heard:
        assert self._sending.wait(120) == 0, self._sender.log(self._sending)
        time.sleep(SETTLING)
        self._hearing.terminate()
        self._hearing.wait(10)
        (said,) = records(self._receiver.log(self._hearing).splitlines())
        return Heard(sent=self._count, lost=self._count - said.pop("distinct"), **said)


def receive(address: str, port: int) -> dict[str, Any]:
    """Hear until SIGTERM."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    sock.bind((address, port))
    signal.signal(signal.SIGTERM, _interrupt)
    seen: Counter[int] = Counter()
    last = silent_from = time.time()
    gap, highest, reordered = 0.0, -1, 0
    print("ready", flush=True)
    try:
        while True:
            (number,) = struct.unpack_from("!I", sock.recv(SIZE))
            now = time.time()
            if seen and now - last > gap:
                gap, silent_from = now - last, last
            last = now
            reordered += number < highest
            highest = max(highest, number)
            seen[number] += 1
    except KeyboardInterrupt:
        pass
    return {
        "distinct": len(seen),
        "duplicated": seen.total() - len(seen),
        "reordered": reordered,
        "gap_ms": round(gap * 1000, 1),
        "gap_from_unix": silent_from,
    }


def send(address: str, port: int, count: int, pause: float) -> None:
    """Send to the end; what the kernel refuses while an interface is down is lost."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    start = time.monotonic()
    for number in range(count):
        time.sleep(max(0.0, start + number * pause - time.monotonic()))
        try:
            sock.sendto(struct.pack("!I", number).ljust(SIZE, b"."), (address, port))
        except OSError as error:
            print(error, flush=True)


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    if sys.argv[1] == "receive":
        print(json.dumps(receive(sys.argv[2], int(sys.argv[3]))), flush=True)
    else:
        send(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]))
