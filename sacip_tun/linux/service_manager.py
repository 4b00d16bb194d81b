"""The service manager that started us: what it is told, and what it keeps for us while we are gone.

The protocol is that of sd_notify(3), sd_listen_fds(3) and sd_watchdog_enabled(3): datagrams of
`NAME=value` lines to $NOTIFY_SOCKET, descriptors beside them, and what was kept comes back as the
descriptors from 3 on. It is documented to be stable and written out here, for it is shorter than
what would be needed to use libsystemd; see docs/decisions/0082-fd-store.md.
"""

import os
import select
import socket
import time
from array import array
from collections.abc import Iterable, MutableMapping
from contextlib import suppress
from typing import Self

# SD_LISTEN_FDS_START of sd_listen_fds(3).
FIRST_DESCRIPTOR = 3
# What it sets in our environment, which is not for our children.
VARIABLES = (
    "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES",
)  # fmt: skip
# A manager that takes nothing for so many seconds must not hold packets up any longer.
PATIENCE = 1.0
MICROSECONDS = 1_000_000


class ServiceManager:
    """Who supervises this process, or nobody: then all that is told goes nowhere.

    `kept` has the descriptors that were kept, by name. `watchdog` is the longest time between two
    signs of life, in seconds, None where nobody waits for any.
    """

    def __init__(
        self,
        address: str = "",
        kept: Iterable[tuple[str, int]] = (),
        watchdog: float | None = None,
    ) -> None:
        self.kept: dict[str, list[int]] = {}
        for name, descriptor in kept:
            self.kept.setdefault(name, []).append(descriptor)
        self.watchdog = watchdog
        # A leading @ stands for the zero byte of an abstract socket's name.
        self._address = "\0" + address[1:] if address.startswith("@") else address

    @classmethod
    def of(cls, environment: MutableMapping[str, str]) -> Self:
        """Read what it left in the environment, and take that away from there."""
        found = {name: environment.pop(name, "") for name in VARIABLES}
        return cls(found["NOTIFY_SOCKET"], _kept(found), _watchdog(found))

    @property
    def is_there(self) -> bool:
        """Whether anybody listens."""
        return bool(self._address)

    def tell(self, *lines: str, descriptors: Iterable[int] = ()) -> bool:
        """Send `NAME=value` lines, and descriptors with them; tells whether they were taken."""
        if not self._address:
            return False
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.settimeout(PATIENCE)
            rights = array("i", descriptors)
            beside = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if rights else []
            # Not socket.send_fds, which forgets the address.
            sock.sendmsg(["\n".join(lines).encode()], beside, 0, self._address)
            return True
        return False

    def keep(self, name: str, descriptor: int) -> None:
        """Let it keep a descriptor for the next process.

        It must not watch it: an ICMP error that waits in a socket would look like its end.
        """
        self.tell("FDSTORE=1", f"FDNAME={name}", "FDPOLL=0", descriptors=(descriptor,))

    def forget(self, name: str) -> None:
        """Let it close what it keeps under this name."""
        self.tell("FDSTOREREMOVE=1", f"FDNAME={name}")

    def wait(self) -> None:
        """Return when everything that was told is done, or after a second."""
        reader, writer = os.pipe()
        try:
            told = self.tell("BARRIER=1", descriptors=(writer,))
            os.close(writer)
            if told:
                poll = select.poll()
                poll.register(reader, select.POLLHUP)
                poll.poll(PATIENCE * 1000)
        finally:
            os.close(reader)


def monotonic_now() -> str:
    """Return the line that tells when a reload was begun."""
    return f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}"


def _kept(found: MutableMapping[str, str]) -> list[tuple[str, int]]:
    count = _number(found["LISTEN_FDS"])
    if _number(found["LISTEN_PID"]) != os.getpid():
        return []
    names = found["LISTEN_FDNAMES"].split(":")
    kept = []
    for place in range(count):
        descriptor = FIRST_DESCRIPTOR + place
        with suppress(OSError):
            os.set_inheritable(descriptor, False)  # noqa: FBT003 - the name says it
            kept.append((names[place] if place < len(names) else "unknown", descriptor))
    return kept


def _watchdog(found: MutableMapping[str, str]) -> float | None:
    ours = not found["WATCHDOG_PID"] or _number(found["WATCHDOG_PID"]) == os.getpid()
    return _number(found["WATCHDOG_USEC"]) / MICROSECONDS or None if ours else None


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0
