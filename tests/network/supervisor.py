"""A small service manager: no systemd runs where the tests do, and its protocol is documented.

It does what systemd does with `Type=notify`, `FileDescriptorStoreMax=` and `WatchdogSec=`: listens
on NOTIFY_SOCKET, keeps descriptors by name, closes them when told to or when the service is over,
and starts the next process with what it keeps (sd_notify(3), sd_listen_fds(3)). Of the hardening in
the unit it does what a process can do to itself: capabilities, NoNewPrivileges= and
MemoryDenyWriteExecute=.
"""

import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from sacip_tun.lab.namespaces import Host
from sacip_tun.lab.tunnel import PROGRAM

PATIENCE = 15.0
UNIT = Path(__file__).parents[2] / "distribution/systemd/sacip-tun@.service"
# linux/capability.h
CAPABILITIES = {"CAP_NET_BIND_SERVICE": 10, "CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13}
# Moves the kept descriptors to 3 and up, as systemd does between fork and exec.
LAUNCH = """
import ctypes, fcntl, os, sys
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_SET_MDWE = 24, 38, 65
prctl = ctypes.CDLL(None).prctl
for number in range(41):
    if str(number) not in sys.argv[4].split(","):
        prctl(PR_CAPBSET_DROP, number, 0, 0, 0)
prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
prctl(PR_SET_MDWE, 1, 0, 0, 0)  # since Linux 6.3
count = int(sys.argv[1])
kept = [int(word) for word in sys.argv[2].split(",") if word]
high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 100) for fd in kept]
for place, fd in enumerate(high):
    os.dup2(fd, 3 + place)
    os.close(fd)
os.closerange(3 + count, 100)
if count:
    listen = {"PID": str(os.getpid()), "FDS": str(count), "FDNAMES": sys.argv[3]}
    os.environ.update({f"LISTEN_{name}": value for name, value in listen.items()})
os.environ["WATCHDOG_PID"] = str(os.getpid())
os.execvp(sys.argv[5], sys.argv[5:])
"""

# What it says of the unit's job (org.freedesktop.systemd1(5)).
BUSCTL = """#!/bin/sh
case "$*" in
*GetUnitByPID*) echo 'o "/unit"' ;;
*"/unit "*) echo '(uo) 7 "/job/7"' ;;
*"/job/7 "*) echo "s \\"$(cat {job})\\"" ;;
esac
"""


def capabilities() -> str:
    """The numbers of those that the unit leaves."""
    (names,) = re.findall(r"(?m)^CapabilityBoundingSet=(.*)$", UNIT.read_text())
    return ",".join(str(CAPABILITIES[name]) for name in names.split())


class Supervisor:
    """Runs `sacip-tun up --foreground FILE` on a host, and what it was told; a context manager.

    `inside` is what enters a file system of its own, which has Python and the program where
    `installed` says.
    """

    def __init__(
        self,
        host: Host,
        configuration: str,
        *,
        watchdog: float = 1.0,
        inside: Sequence[str] = (),
        installed: tuple[str, Sequence[str]] = (sys.executable, PROGRAM),
    ) -> None:
        self.host = host
        self.configuration = configuration
        self.watchdog = watchdog
        self._inside = (*host._inside, *inside)
        self._python, self._program = installed
        self.messages: list[dict[str, str]] = []
        self.store: dict[str, int] = {}
        self.process: subprocess.Popen[str] | None = None
        self._logs: list[str] = []
        self._bin = host.network.directory / f"{host.name}-bin"
        self._bin.mkdir()
        (self._bin / "busctl").write_text(BUSCTL.format(job=self._bin / "job"))
        (self._bin / "busctl").chmod(0o755)
        self._path = str(host.network.directory / f"{host.name}-notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self._path)
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._ended = False
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._ended = True
        self._thread.join()
        self._socket.close()

    def start(self) -> None:
        """Start the process with all that is kept, and wait until it is ready."""
        told = len(self.messages)
        names, kept = list(self.store), list(self.store.values())
        for descriptor in kept:
            os.set_inheritable(descriptor, True)
        numbers = ",".join(map(str, kept))
        command = [self._python, "-c", LAUNCH, str(len(kept)), numbers, ":".join(names)]
        command += [capabilities(), *self._program, "up", "--foreground", self.configuration]
        environment = {
            **os.environ,
            "NOTIFY_SOCKET": self._path,
            "PATH": f"{self._bin}:{os.environ['PATH']}",
            "WATCHDOG_USEC": str(int(self.watchdog * 1e6)),
        }
        log = self.host.network.directory / f"{self.host.name}-supervised-{len(self._logs)}.log"
        self._logs.append(str(log))
        with log.open("wb") as stream:
            self.process = subprocess.Popen(
                [*self._inside, *command],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                env=environment,
                text=True,
                pass_fds=kept,
                start_new_session=True,
            )
        self.host.network.started(self.process)
        self.wait_for("READY", since=told)

    def kill(self, number: signal.Signals = signal.SIGKILL) -> int:
        """End the process, which is started again, and return its exit status."""
        return self._end(number, "restart")

    def _end(self, number: signal.Signals, job: str) -> int:
        assert self.process is not None
        (self._bin / "job").write_text(job)
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def stop(self) -> None:
        """End the service: with the process goes what was kept for the next one."""
        if self.process is not None and self.process.poll() is None:
            self._end(signal.SIGTERM, "stop")
        for name in list(self.store):
            self._forget(name)

    def wait_for(self, name: str, *, since: int = 0) -> dict[str, str]:
        """Wait for a message with this variable that came after `since` others."""
        deadline = time.monotonic() + PATIENCE
        while True:
            for message in self.messages[since:]:
                if name in message:
                    return message
            ended = self.process is not None and self.process.poll() is not None
            assert not ended, self.log
            assert time.monotonic() < deadline, (name, self.messages, self.log)
            time.sleep(0.01)

    @property
    def status(self) -> str:
        """The last line that it told about itself."""
        return next(said["STATUS"] for said in reversed(self.messages) if "STATUS" in said)

    @property
    def log(self) -> str:
        """What the last process wrote."""
        with open(self._logs[-1], encoding="utf-8") as log:  # noqa: PTH123
            return log.read()

    def _listen(self) -> None:
        while not self._ended:
            if not select.select([self._socket], [], [], 0.05)[0]:
                continue
            data, descriptors, _, _ = socket.recv_fds(self._socket, 1 << 16, 8)
            message = dict(line.split("=", 1) for line in data.decode().splitlines())
            self._take(message, descriptors)
            self.messages.append(message)

    def _take(self, message: dict[str, str], descriptors: list[int]) -> None:
        if message.get("FDSTORE") == "1":
            assert message["FDPOLL"] == "0", "an ICMP error in a socket's queue would lose it"
            (self.store[message["FDNAME"]],) = descriptors
            return
        if message.get("FDSTOREREMOVE") == "1":
            self._forget(message["FDNAME"])
        for descriptor in descriptors:  # BARRIER=1: that it is closed is the answer
            os.close(descriptor)

    def _forget(self, name: str) -> None:
        descriptor = self.store.pop(name, None)
        if descriptor is not None:
            os.close(descriptor)
