"""Somebody at telnet: the same shell answers as long as the one connection lives."""

import os
import re
import select
import time

from composed import Container

PATIENCE = 30.0


class Session:
    """A telnet session from the laptop to the server, through the tunnel."""

    def __init__(self, laptop: Container) -> None:
        telnet = laptop.talk("telnet", "server")
        self._keys, self._screen = telnet.stdin.fileno(), telnet.stdout.fileno()
        self._asked = 0
        self._seen = ""
        self._until(r"\$ ")

    def shell(self) -> int:
        """Return the process id of the shell at the other end. Raises ConnectionError."""
        self._asked += 1
        # What is typed is echoed too, but is no sum yet.
        self._type(f"echo $((0+{self._asked})):$$\n")
        return int(self._until(rf"\b{self._asked}:(\d+)\r")[1])

    def _type(self, line: str) -> None:
        os.write(self._keys, line.encode())

    def _until(self, wanted: str) -> "re.Match[str]":
        deadline = time.monotonic() + PATIENCE
        while (found := re.search(wanted, self._seen)) is None:
            left = deadline - time.monotonic()
            ready, _, _ = select.select([self._screen], [], [], max(0.0, left))
            data = os.read(self._screen, 65536) if ready else b""
            if not data:
                raise ConnectionError(f"the telnet session ended: {self._seen[-200:]!r}")
            self._seen += data.decode(errors="replace")
        self._seen = self._seen[found.end() :]
        return found
