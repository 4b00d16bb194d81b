"""Files: which one a NAME means, who else could read it, and what is in it."""

import os
import stat
from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from sacip_tun.config.assembly import parse
from sacip_tun.config.errors import ConfigError, UnreadableError
from sacip_tun.config.model import Config

DIRECTORIES = (Path("/etc/sacip-tun"), Path("/etc/wireguard"))
# 130,560 AllowedIPs, which WireGuard's own tests set, are 3.5 MB.
MAX_SIZE = 16 << 20


def load(argument: str, directories: Sequence[Path] = DIRECTORIES) -> Config:
    """Find, check, read and parse the configuration that `argument` names.

    Raises ConfigError; UnreadableError where only the privilege to read it is missing.
    """
    return load_text(argument, directories)[0]


def load_text(argument: str, directories: Sequence[Path] = DIRECTORIES) -> tuple[Config, str]:
    """Do the same, and return the text too, both of one reading."""
    path = find(argument, directories)
    text, status = _read(path)
    # Parsed first: an example whose placeholders are not filled in has no secret to protect yet.
    config = parse(text, path.name.removesuffix(".conf"), str(path))
    warnings = _permission_warnings(path, status, lenient=path.parent in directories[1:])
    warnings = (*warnings, *config.warnings)
    config = replace(config, warnings=warnings, source=path.absolute())
    return _without_foreign_hooks(config, path, status), text


def _without_foreign_hooks(config: Config, path: Path, status: os.stat_result) -> Config:
    """Drop the hooks of a file that others than root can write: they would command as root.

    Who became root by sudo commands as root anyway, and may own it.
    """
    owners = {0, int(os.environ.get("SUDO_UID", "0"))}
    if not config.interface.commands or not (status.st_uid not in owners or status.st_mode & 0o022):
        return config
    who = "others can write it" if status.st_uid in owners else f"user {status.st_uid} owns it"
    fix = f"chown root {path}; chmod go-w {path}"
    named = ", ".join(config.interface.commands)
    warning = f"{path}: {named} is left out: {who}: {fix}"
    config = replace(config, warnings=(*config.warnings, warning))
    return config.without_commands()


def find(argument: str, directories: Sequence[Path] = DIRECTORIES) -> Path:
    """Return the path that `argument` means: a file, or a bare name in the first directory with it.

    Raises ConfigError with the nearest name there is.
    """
    if "/" in argument or argument.endswith(".conf"):
        path = Path(argument)
        if path.suffix != ".conf":
            raise ConfigError(
                f"{argument!r} does not end in .conf",
                "the file's stem is the interface's name: sacip0.conf makes sacip0",
            )
        return path
    candidates = [directory / f"{argument}.conf" for directory in directories]
    for path in candidates:
        if exists(path):
            return path
    names = {path.stem for directory in directories for path in _configurations(directory)}
    near = get_close_matches(argument, names, n=1)
    tried = " nor ".join(map(str, candidates))
    raise ConfigError(
        f"there is no configuration named {argument!r}: neither {tried}",
        f"did you mean {near[0]}?" if near else "give the path of a file, or make one of these",
        nearest=near[0] if near else None,
    )


def exists(path: Path) -> bool:
    """Tell whether a file is there; True where that is hidden, since opening it tells why."""
    try:
        return path.exists()
    except OSError:
        return True


def _configurations(directory: Path) -> list[Path]:
    try:
        return list(directory.glob("*.conf"))
    except OSError:
        return []


def read_key_file(path: Path) -> tuple[str, tuple[str, ...]]:
    """Return the text of a file with one key, and warnings; raises ConfigError."""
    text, status = _read(path)
    warnings = _permission_warnings(path, status)
    if not text.strip():
        raise ConfigError("the key file is empty", "sacip-tun genkey makes a key", source=str(path))
    return text.strip(), warnings


def read(path: Path) -> str:
    """Return a file's text. Raises ConfigError."""
    return _read(path)[0]


def _read(path: Path) -> tuple[str, os.stat_result]:
    """Return a file's text and status; a FIFO will do, a directory or device will not."""
    source = str(path)
    try:
        # Opening a FIFO must not wait for a writer who never comes.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            status = os.fstat(descriptor)
            if not (stat.S_ISREG(status.st_mode) or stat.S_ISFIFO(status.st_mode)):
                raise ConfigError("it is not a file", "check the path", source=source)
            os.set_blocking(descriptor, True)
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                content = file.read(MAX_SIZE + 1)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise ConfigError("there is no such file", "check the path", source=source) from None
    except PermissionError:
        raise UnreadableError("this user may not read it", "run as root", source=source) from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"it cannot be read: {error}", "check the path", source=source) from None
    if len(content) > MAX_SIZE:
        raise ConfigError("it is too large", f"{MAX_SIZE >> 20} MiB is the limit", source=source)
    # A comment may be in another encoding: it goes back as it came. Of all else, see grammar.py.
    return content.decode(errors="surrogateescape"), status


def _permission_warnings(
    path: Path, status: os.stat_result, *, lenient: bool = False
) -> tuple[str, ...]:
    """Return what to warn of; raises ConfigError where any user of this machine gets at the secret.

    `lenient` is for wg-quick's own directory: as long as that is closed to others, wg-quick takes
    what is in it, and so must we.
    """
    if stat.S_ISFIFO(status.st_mode):
        return ()
    mode = stat.S_IMODE(status.st_mode)
    closed = lenient and not path.parent.stat().st_mode & 0o007
    if mode & 0o007 and not closed:
        raise ConfigError(
            f"every user of this machine can get at the secret in it (mode {mode:04o})",
            f"chmod 600 {path}",
            source=str(path),
        )
    if mode & 0o077:
        who = "others" if mode & 0o007 else "its group"
        return (f"{path}: {who} can get at the secret in it (mode {mode:04o}): chmod 600 {path}",)
    return ()
