"""The deck's application: inetutils telnet and telnetd, and us at the keyboard."""

import os
import pty
import selectors
import sys
import time

from sacip_tun.lab.namespaces import Host

TELNETD = "/usr/sbin/telnetd"
PATIENCE = 10.0

# What inetd does for telnetd: accept, and become the server with the connection as 0, 1 and 2.
INETD = """
import os, socket, sys
host, program = sys.argv[1:]
with socket.create_server((host, 23)) as listener:
    connection, _ = listener.accept()
for number in range(3):
    os.dup2(connection.fileno(), number)
os.execv(program, [program, "-h", "-E", "/bin/sh"])
"""


def serve_telnet(host: Host, address: str) -> None:
    """Wait for one telnet client on an inner address and give it a shell without a login."""
    host.start([sys.executable, "-c", INETD, address, TELNETD])
    deadline = time.monotonic() + PATIENCE
    while not host.run(["ss", "-Hltn", "sport", "=", ":23"]).stdout:
        assert time.monotonic() < deadline, "nobody listens on port 23"
        time.sleep(0.05)


class Telnet:
    """A person at a telnet client: types lines and waits for what the shell says."""

    def __init__(self, host: Host, address: str) -> None:
        self._screen, terminal = pty.openpty()
        self.process = host.start(["telnet", address], stdin=terminal, stdout=terminal)
        os.close(terminal)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._screen, selectors.EVENT_READ)
        self._seen = ""

    def __enter__(self):
        self.expect("Escape character")
        # Echo off: what is typed does not count as an answer.
        self.type("stty -echo; PS1=; echo re''ady")
        self.expect("ready")
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(PATIENCE)
        self._selector.close()
        os.close(self._screen)

    def type(self, line: str) -> None:
        os.write(self._screen, line.encode() + b"\r")

    def expect(self, wanted: str, patience: float = PATIENCE) -> str:
        """Read on until `wanted` is there; return what came before it. AssertionError if not."""
        deadline = time.monotonic() + patience
        while wanted not in self._seen:
            left = deadline - time.monotonic()
            assert left > 0, f"no {wanted!r} within {patience} s, only {self._seen!r}"
            self._read(left)
        before, _, self._seen = self._seen.partition(wanted)
        return before

    def ask(self, command: str, patience: float = PATIENCE) -> str:
        """Run a command in the remote shell and return what it prints."""
        self.type(f"{command}; echo e''nd")
        return self.expect("end\r\n", patience).strip()

    def _read(self, patience: float) -> None:
        if not self._selector.select(patience):
            return
        try:
            data = os.read(self._screen, 65536)
        except OSError:
            # Linux says EIO when the other side of the terminal is closed.
            data = b""
        assert data, f"the telnet client ended; before that: {self._seen!r}"
        self._seen += data.decode(errors="replace")
