"""A fake daemon on a UNIX socket, and the command line called in this process."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from sacip_tun.cli import main
from sacip_tun.cli.directories import Directories


class FakeDaemon:
    """Answers each connection's one request with the lines that the test has set, then closes."""

    def __init__(self, path):
        self.requests = []
        self.lines = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def answer(self, *objects):
        """Set what is answered from here on: objects, or bytes as they are."""
        self.lines = [
            item if isinstance(item, bytes) else json.dumps(item).encode() + b"\n"
            for item in objects
        ]

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client, client.makefile("rb") as stream:
                if line := stream.readline():
                    self.requests.append(json.loads(line))
                    client.sendall(b"".join(self.lines))


@pytest.fixture
def directories(tmp_path) -> Directories:
    found = Directories(*(tmp_path / name for name in ("run", "etc", "wireguard", "uapi")))
    found.run.mkdir()
    return found


@pytest.fixture
def daemon(directories) -> Iterator[Callable[[str], FakeDaemon]]:
    """Start fake daemons by interface name."""
    started = []

    def start(name="sacip0"):
        started.append(FakeDaemon(directories.run / f"{name}.sock"))
        return started[-1]

    yield start
    for fake in started:
        fake.close()


@pytest.fixture
def run(directories, capsys) -> Callable[..., tuple[int, str, str]]:
    """Run a command line; gives exit code, stdout and stderr."""

    def call(*arguments):
        code = main(arguments, directories)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture(autouse=True)
def _utc(monkeypatch):
    """Render times of day in UTC, and colours as on a terminal without preferences."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC")
        patch.setenv("TERM", "xterm")
        patch.delenv("NO_COLOR", raising=False)
        time.tzset()
        yield
    time.tzset()
