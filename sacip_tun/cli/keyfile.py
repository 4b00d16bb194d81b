"""The key of an interface that was configured on the command line: used, or made and kept."""

import os
from pathlib import Path
from typing import TextIO

from sacip_tun.cli.keys import new_private_key
from sacip_tun.config import exists, read_key_file
from sacip_tun.outcome import Exit, Failure


class KeyFile:
    """A file with one private key, 0600.

    Made only in memory at first: it is saved when everything else has been found right, and taken
    back when the tunnel does not come up.
    """

    def __init__(self, path: Path) -> None:
        """Read the key, or make one; raises ConfigError."""
        self.path = path
        self.warnings: tuple[str, ...] = ()
        self._saved = False
        self._directories: list[Path] = []
        self.is_new = not exists(path)
        if self.is_new:
            self.text = new_private_key()
        else:
            self.text, self.warnings = read_key_file(path)

    def save(self) -> None:
        """Write a key that was made; raises Failure."""
        if not self.is_new:
            return
        try:
            self._make_directories()
            with _new_file(self.path) as file:
                self._saved = True
                file.write(self.text + "\n")
        except OSError as error:
            self.undo()
            denied = isinstance(error, PermissionError)
            raise Failure(
                f"the key file {self.path} cannot be made: {error.strerror}",
                "run it as root, for example with sudo" if denied else "or give --private-key-file",
                Exit.NO_PRIVILEGE if denied else Exit.FAILED,
            ) from None

    def undo(self) -> None:
        """Remove what `save` made."""
        if self._saved:
            self.path.unlink(missing_ok=True)
            self._saved = False
        while self._directories:
            self._directories.pop().rmdir()

    def _make_directories(self) -> None:
        missing = [parent for parent in self.path.parents if not parent.exists()]
        for directory in reversed(missing):
            directory.mkdir(mode=0o700)
            self._directories.append(directory)


def write_secret(path: Path, text: str) -> None:
    """Write a file that was not there and that only its owner may read. Raises Failure."""
    try:
        with _new_file(path) as file:
            file.write(text)
    except OSError as error:
        raise Failure(f"{path} cannot be made: {error.strerror}", "give another one") from None


def _new_file(path: Path) -> TextIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w")
