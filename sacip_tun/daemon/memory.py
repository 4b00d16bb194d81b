"""The memory of where each peer was last: a file without a name, which outlives the process.

A line for each time that a peer got a session or was found elsewhere: its key, its outer address,
and when (CLOCK_BOOTTIME, seconds). It is only added to, so that a process that is killed while it
writes leaves one line half; that one is passed over.
"""

import json
import os
from collections.abc import Iterator
from contextlib import suppress

from sacip_tun.protocol.address import Endpoint
from sacip_tun.protocol.errors import LocalError
from sacip_tun.protocol.keys import from_base64, to_base64

# When it is longer, in bytes, it is written anew with one line for each peer: some 10,000 of them.
LONGEST = 4 << 20


class Memory:
    """Where peers were, in an open file, which is this one's to close."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._places: dict[bytes, tuple[Endpoint, float]] = {}
        for key, remote, moment in _read(descriptor):
            self._places[key] = remote, moment
        self._rewrite()

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def seen(self, key: bytes, remote: Endpoint, *, now: float) -> None:
        """Note where a peer is."""
        self._places[key] = remote, now
        with suppress(OSError):  # without memory for it: the next process has less to go by
            self._length += os.write(self._descriptor, _line(key, remote, now))
            if self._length > LONGEST:
                self._rewrite()

    def is_at(self, key: bytes, remote: Endpoint) -> bool:
        """Tell whether a peer was there when it was last noted."""
        place = self._places.get(key)
        return place is not None and place[0] == remote

    def since(self, moment: float) -> Iterator[tuple[bytes, Endpoint]]:
        """Yield who was noted at `moment` (CLOCK_BOOTTIME, seconds) or later, and where."""
        for key, (remote, when) in self._places.items():
            if when >= moment:
                yield key, remote

    def _rewrite(self) -> None:
        text = b"".join(_line(key, *place) for key, place in self._places.items())
        os.truncate(self._descriptor, 0)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        self._length = os.write(self._descriptor, text) if text else 0


def _line(key: bytes, remote: Endpoint, moment: float) -> bytes:
    return json.dumps([to_base64(key), str(remote), round(moment, 3)]).encode() + b"\n"


def _read(descriptor: int) -> Iterator[tuple[bytes, Endpoint, float]]:
    with os.fdopen(os.dup(descriptor), "rb") as file:
        file.seek(0)
        for line in file:
            if not line.endswith(b"\n"):
                return
            with suppress(ValueError, TypeError, LocalError):
                key, remote, moment = json.loads(line)
                yield from_base64(key), Endpoint.parse(remote), float(moment)
