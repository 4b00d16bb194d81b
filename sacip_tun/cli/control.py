"""A connection of the command line to a running tunnel: synchronous, light to import.

What is said over it stands in sacip_tun.client.
"""

import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self

from sacip_tun.cli.terminal import warn
from sacip_tun.client.errors import broken, unanswered, unusable
from sacip_tun.client.lines import ANSWER_TIME, CHUNK, Answer, Lines, accepted, encoded
from sacip_tun.client.sockets import running
from sacip_tun.outcome import Exit, Failure


class Control:
    """One connection to a running tunnel; a context manager."""

    def __init__(self, path: Path, timeout: float | None = ANSWER_TIME) -> None:
        self.name = path.stem
        self._lines = Lines(self.name)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout)
        try:
            self._socket.connect(os.fspath(path))
        except OSError as error:
            self._socket.close()
            raise unusable(path, error) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def fileno(self) -> int:
        """Make it usable with select."""
        return self._socket.fileno()

    def request(self, command: str, **fields: object) -> Answer:
        """Send one request and return its answer; raises Failure, also for a refusal."""
        self.send({"command": command, **fields})
        answer = self.receive()
        if answer is None:
            raise unanswered(self.name)
        return accepted(answer, self.name)

    def send(self, request: Mapping[str, object]) -> None:
        """Send one request."""
        try:
            self._socket.sendall(encoded(request))
        except OSError as error:
            raise broken(self.name, error, self._socket.gettimeout()) from None

    def receive(self) -> Answer | None:
        """Return the next object, None at the end of the connection."""
        while (found := self.pending()) is None:
            if not self.fill():
                return None
        return found

    def fill(self) -> bool:
        """Read once what has come; False at the end of the connection."""
        try:
            received = self._socket.recv(CHUNK)
        except OSError as error:
            raise broken(self.name, error, self._socket.gettimeout()) from None
        self._lines.feed(received)
        return bool(received)

    def pending(self) -> Answer | None:
        """Return the next object that is complete, None where there is none yet."""
        return self._lines.next()

    def wait_closed(self) -> None:
        """Wait until the other side has closed: after `down`, everything is undone then."""
        while self.fill():
            pass


def each_running(directory: Path, timeout: float | None = ANSWER_TIME) -> Iterator[Control]:
    """Yield a connection to every tunnel that runs; the caller closes it.

    A socket that a killed daemon left behind is warned of, and hides no tunnel that runs.
    """
    for path in running(directory):
        try:
            control = Control(path, timeout)
        except Failure as failure:
            if failure.code != Exit.NOT_RUNNING:
                raise
            warn(failure.cause)
        else:
            yield control
