"""UNIX sockets: who listens at a path, and how to listen there oneself."""

import errno
import os
import socket
from pathlib import Path

# Where `wg` looks for the sockets of interfaces (wireguard-tools: ipc-uapi-unix.h).
UAPI_DIRECTORY = Path("/var/run/wireguard")
BACKLOG = 128


def is_live(path: Path) -> bool:
    """Tell whether somebody listens on a UNIX socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def listen(path: Path) -> socket.socket:
    """Return a socket that listens at `path`, for its owner alone; its directory is made.

    A file that nobody listens at is replaced. Raises FileExistsError where somebody does, OSError
    otherwise.
    """
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    if is_live(path):
        raise FileExistsError(errno.EADDRINUSE, "unix socket in use", str(path))
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o077)
    try:
        listener.bind(str(path))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(mask)
    listener.setblocking(False)  # noqa: FBT003 - the name says it
    return listener


def adopted(descriptor: int) -> socket.socket:
    """Return a socket that somebody else opened, and that listens. Raises OSError."""
    os.set_inheritable(descriptor, False)  # noqa: FBT003 - the name says it
    listener = socket.socket(fileno=descriptor)
    listener.setblocking(False)  # noqa: FBT003 - the name says it
    return listener
