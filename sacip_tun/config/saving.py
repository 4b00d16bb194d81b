"""A configuration file in whose place another text is put: whole or not at all, one at a time.

It stays its owner's, and becomes readable by nobody else: there are private keys in it.
"""

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from sacip_tun.config.errors import ConfigError, UnreadableError


@contextlib.contextmanager
def alone(path: Path) -> Iterator[Path]:
    """Keep others from changing a file at the same time; yields where it really is.

    Raises ConfigError where it cannot be changed.
    """
    real = path.resolve()
    try:
        # The directory, not the file: that one is replaced.
        descriptor = os.open(real.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _unwritable(real, error) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield real
    finally:
        os.close(descriptor)


def replace_text(path: Path, text: str) -> list[str]:
    """Replace a file that is there by one with this text, 0600. Raises ConfigError.

    Returns what the user should know: a service may not give files away.
    """
    warnings = list[str]()
    try:
        owner = path.stat()
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(text.encode(errors="surrogateescape"))
                if (owner.st_uid, owner.st_gid) != (os.geteuid(), os.getegid()):
                    warnings += _give(descriptor, owner, path)
                file.flush()
                os.fsync(descriptor)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        _sync(path.parent)
    except OSError as error:
        raise _unwritable(path, error) from None
    return warnings


def _give(descriptor: int, owner: os.stat_result, path: Path) -> Iterator[str]:
    user, group = owner.st_uid, owner.st_gid
    try:
        os.fchown(descriptor, user, group)
    except PermissionError:
        yield f"{path} is not its owner's any more: chown {user}:{group} {path}"


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unwritable(path: Path, error: OSError) -> ConfigError:
    denied = isinstance(error, PermissionError)
    kind = UnreadableError if denied else ConfigError
    fix = "run it as root" if denied else "see whether the disk is full, or cannot be written"
    return kind(f"it cannot be written: {error.strerror}", fix, source=str(path))
