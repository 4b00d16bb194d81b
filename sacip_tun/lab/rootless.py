"""The lab without root: the same program again, as root of a user namespace of its own."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from sacip_tun.linux.errors import SetupError

DEVICE = Path("/dev/net/tun")
UNSHARE = ("unshare", "--user", "--map-root-user", "--net", "--mount")
# A /run of its own, where `ip netns` and the control sockets can be.
MOUNT = "mount -t tmpfs tmpfs /run"
# The third word of /proc/self/uid_map where all users there are are mapped: no user namespace.
ALL_USERS = str(2**32 - 1)


def is_needed() -> bool:
    """Tell whether this user needs a user namespace to be root in."""
    return os.geteuid() != 0


def is_inside() -> bool:
    """Tell whether this program is root of a user namespace only."""
    return Path("/proc/self/uid_map").read_text().split()[2] != ALL_USERS


def run_again(command: Sequence[str]) -> NoReturn:
    """Become `command`, run in a user namespace. Raises SetupError where there can be none."""
    _try()
    words = [*UNSHARE, "sh", "-c", f'{MOUNT} && exec "$@"', "sacip-tun", *command]
    os.execvp(words[0], words)  # noqa: S606 - without a shell is how it is meant


def require_tun() -> None:
    """Raise SetupError where TUN interfaces cannot be made, with what to do about it."""
    try:
        os.close(os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        fix = "modprobe tun; in a container, run it with --device /dev/net/tun"
        raise SetupError(f"{DEVICE} does not exist", fix, missing=True) from None
    except OSError as error:
        fix = f"run it as root, or let this user open it: chmod 0666 {DEVICE}"
        cause = f"{DEVICE} cannot be opened: {error.strerror}"
        raise SetupError(cause, fix, missing=True) from None


def _try() -> None:
    try:
        done = subprocess.run(
            [*UNSHARE, "sh", "-c", MOUNT], check=False, capture_output=True, text=True
        )
    except FileNotFoundError:
        raise SetupError("the command `unshare` is missing", "install util-linux") from None
    if done.returncode:
        raise SetupError(
            f"no user namespace to be root in: {done.stderr.strip()}",
            "run it with sudo; or see whether a sysctl forbids it: "
            "kernel.apparmor_restrict_unprivileged_userns, kernel.unprivileged_userns_clone, "
            "user.max_user_namespaces",
            missing=True,
        )
