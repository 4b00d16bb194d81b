"""inotify: notice of a file that is deleted. The standard library has none, so libc is called."""

import ctypes
import os
from contextlib import suppress
from pathlib import Path

# sys/inotify.h
IN_CLOEXEC, IN_NONBLOCK = 0o2000000, 0o4000
IN_ATTRIB, IN_DELETE_SELF = 0x4, 0x400
# An event of a file that is watched itself has no name: 16 bytes.
EVENTS = 4096


class FileWatch:
    """Watches one file. Its descriptor is readable when something happened to it."""

    def __init__(self, path: Path) -> None:
        """Begin. Raises OSError."""
        libc = ctypes.CDLL(None, use_errno=True)
        self._path = path
        self._fd: int = libc.inotify_init1(IN_CLOEXEC | IN_NONBLOCK)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        # A link that goes is a change of attributes while somebody holds the file open.
        wanted = IN_ATTRIB | IN_DELETE_SELF
        if libc.inotify_add_watch(self._fd, bytes(path), wanted) < 0:
            os.close(self._fd)
            raise OSError(ctypes.get_errno(), "inotify_add_watch", str(path))

    def fileno(self) -> int:
        """Return the descriptor, to wait for readability."""
        return self._fd

    @property
    def gone(self) -> bool:
        """Take what happened, and tell whether the file is gone."""
        with suppress(BlockingIOError):
            os.read(self._fd, EVENTS)
        return not os.path.lexists(self._path)

    def close(self) -> None:
        """Watch no more."""
        os.close(self._fd)
