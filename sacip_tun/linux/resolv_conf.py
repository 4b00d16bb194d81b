"""/etc/resolv.conf itself, where nobody keeps it for us: guarded, and put back exactly.

What is there may be a file, a link to one that NetworkManager writes, or nothing; in a container it
is a mount, which can only be written in place. So is all in a directory that is read-only for us,
as /etc is for a service: a link there is written through, into what it leads to. What we write
begins with a marker: where it is not there any more, somebody else has written since, and is right.
"""

import contextlib
import json
import os
from pathlib import Path
from typing import Any

PATH = Path("/etc/resolv.conf")
READABLE = 0o644
SIGN = "# of sacip-tun, for "

Before = dict[str, Any]


def marker(interface: str) -> str:
    """Return the first line of what we write for an interface."""
    return f"{SIGN}{interface}: what was here comes back when the tunnel goes\n"


def state(path: Path) -> Before:
    """Return what is there, for `restore`. Raises OSError."""
    try:
        if path.is_symlink():
            if os.access(path.parent, os.W_OK):
                return {"link": str(path.readlink())}
            return {"text": path.read_text(errors="surrogateescape"), "through": True}
        status = path.stat()
        text = path.read_text(errors="surrogateescape")
    except FileNotFoundError:
        return {}
    return {
        "text": text,
        "mode": status.st_mode & 0o7777,
        "owner": [status.st_uid, status.st_gid],
    }


def write(path: Path, text: str) -> None:
    """Put a file with `text` there, at once where that is possible. Raises OSError.

    It is written through a link where nothing can take the place of that.
    """
    _put(path, {"text": text, "mode": READABLE, "owner": [os.geteuid(), os.getegid()]})


def is_ours(path: Path, mark: str) -> bool:
    """Tell whether the file is still what we wrote."""
    try:
        return path.read_text(errors="surrogateescape").startswith(mark)
    except OSError:
        return False


def keep(path: Path, before: Before) -> None:
    """Keep what was there where a power failure leaves it: the undo log is not on a disk.

    What another tunnel wrote is not what shall come back. Where the directory is read-only there is
    nothing to come back either.
    """
    if not before.get("text", "").startswith(SIGN):
        backup = _backup(path)
        with contextlib.suppress(OSError):
            backup.touch(mode=0o600)
            backup.write_text(json.dumps(before))


def recover(path: Path) -> None:
    """Put back what was kept, where the file is one of ours; what was kept is needed no more."""
    backup = _backup(path)
    with contextlib.suppress(OSError, ValueError):
        before = json.loads(backup.read_text())
        if is_ours(path, SIGN):
            restore(path, before, SIGN)
    with contextlib.suppress(OSError):
        backup.unlink(missing_ok=True)


def _backup(path: Path) -> Path:
    return path.with_name(f".{path.name}.before-sacip-tun")


def restore(path: Path, before: Before, mark: str) -> None:
    """Put back what `state` found, unless somebody else has written since. Raises OSError."""
    if not is_ours(path, mark):
        return
    if before:
        _put(path, before)
    else:
        path.unlink(missing_ok=True)
    if not is_ours(path, SIGN):
        with contextlib.suppress(OSError):
            _backup(path).unlink(missing_ok=True)


def _put(path: Path, wanted: Before) -> None:
    if "through" in wanted:
        _overwrite(path, wanted["text"])
        return
    temporary = path.with_name(f"{path.name}.sacip-tun")
    try:
        temporary.unlink(missing_ok=True)
        if "link" in wanted:
            temporary.symlink_to(wanted["link"])
        else:
            _fill(temporary, wanted)
        temporary.replace(path)
    except OSError:
        # The directory is read-only, or the file is a mount.
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if "text" not in wanted:
            raise
        _overwrite(path, wanted["text"])


def _overwrite(path: Path, text: str) -> None:
    with path.open("r+", errors="surrogateescape") as file:
        file.write(text)
        file.truncate()


def _fill(path: Path, wanted: Before) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", errors="surrogateescape") as file:
        file.write(wanted["text"])
        file.flush()
        if wanted["owner"] != [os.geteuid(), os.getegid()]:
            os.fchown(descriptor, *wanted["owner"])
        os.fchmod(descriptor, wanted["mode"])
        os.fsync(descriptor)
