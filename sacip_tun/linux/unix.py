"""UNIX sockets: who listens at a path, and how to listen there oneself."""

import errno
import os
import socket
import time
from pathlib import Path
from typing import Self

# Where `wg` looks for the sockets of interfaces (wireguard-tools: ipc-uapi-unix.h).
UAPI_DIRECTORY = Path("/var/run/wireguard")
BACKLOG = 128
# How long a daemon takes to end at most, and between two looks at it, in seconds.
DYING, PAUSE = 2.0, 0.02


def is_live(path: Path) -> bool:
    """Tell whether somebody listens on a UNIX socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def wait_until_free(path: Path) -> None:
    """Wait until nobody listens there any more, as long as a daemon may take to end."""
    deadline = time.monotonic() + DYING
    while is_live(path) and time.monotonic() < deadline:
        time.sleep(PAUSE)


class Listener:
    """A socket that listens at a path, for its owner alone, and the file that belongs to it."""

    def __init__(self, path: Path, listening: socket.socket) -> None:
        self.path = path
        self.socket = listening
        self.socket.setblocking(False)  # noqa: FBT003 - the name says it
        self._file = _identity(path)

    @classmethod
    def at(cls, path: Path) -> Self:
        """Listen at `path`, whose directory is made; a file that nobody listens at is replaced.

        Raises FileExistsError where somebody does, OSError otherwise.
        """
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        if is_live(path):
            raise FileExistsError(errno.EADDRINUSE, "unix socket in use", str(path))
        path.unlink(missing_ok=True)
        # It gets its name when it listens: `wg show interfaces` deletes a socket that refuses it.
        nameless = path.with_name(f".{path.name}.{os.getpid()}")
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        mask = os.umask(0o077)
        try:
            listening.bind(str(nameless))
            listening.listen(BACKLOG)
            os.link(nameless, path)
        except OSError:
            listening.close()
            raise
        finally:
            os.umask(mask)
            nameless.unlink(missing_ok=True)
        return cls(path, listening)

    @classmethod
    def adopt(cls, descriptor: int, path: Path) -> Self:
        """Take a socket that somebody else opened at `path`. Raises OSError."""
        os.set_inheritable(descriptor, False)  # noqa: FBT003 - the name says it
        return cls(path, socket.socket(fileno=descriptor))

    def remove(self) -> None:
        """Remove the file, unless it is another one by now; harmless when repeated."""
        if self._file is not None and self._file == _identity(self.path):
            self.path.unlink(missing_ok=True)


def _identity(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    # The number of a file that was removed is soon another one's.
    return status.st_dev, status.st_ino, status.st_mtime_ns
