"""The client's end of the control socket: newline JSON over AF_UNIX, one object a line.

A request is one object, its answer one object: `{"ok": true, ...}` or `{"ok": false, "error": ...,
"exit": N}`. Only `monitor` is answered with a stream.
"""

import json
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from sacip_tun.cli.terminal import warn
from sacip_tun.outcome import Exit, Failure

Answer = dict[str, Any]
# Status is answered from memory: a daemon that takes longer is stuck.
ANSWER_TIME = 5.0


def running(directory: Path) -> list[Path]:
    """Return the control sockets there are, sorted by name."""
    try:
        return sorted(path for path in directory.iterdir() if path.suffix == ".sock")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _unusable(directory, error) from None


def socket_of(directory: Path, name: str) -> Path:
    """Return the path of an interface's control socket."""
    if "/" in name or name in {"", ".", ".."}:
        raise Failure(
            f"{name!r} cannot be the name of an interface", "give the interface's name", Exit.USAGE
        )
    return directory / f"{name}.sock"


def chosen(directory: Path, name: str | None) -> Path:
    """Return the socket of `name`, or of the only tunnel that runs; raises Failure."""
    if name is not None:
        return socket_of(directory, name)
    sockets = running(directory)
    if not sockets:
        raise Failure("no tunnel is running", "start one: sacip-tun up NAME", Exit.NOT_RUNNING)
    if len(sockets) > 1:
        names = ", ".join(path.stem for path in sockets)
        raise Failure(f"several tunnels are running: {names}", "say which one", Exit.USAGE)
    return sockets[0]


class Control:
    """One connection to a running tunnel; a context manager."""

    def __init__(self, path: Path, timeout: float | None = ANSWER_TIME) -> None:
        self.name = path.stem
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout)
        try:
            self._socket.connect(os.fspath(path))
        except OSError as error:
            self._socket.close()
            raise _unusable(path, error) from None
        self._buffer = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def fileno(self) -> int:
        """Make it usable with select."""
        return self._socket.fileno()

    def request(self, command: str, **fields: object) -> Answer:
        """Send one request and return its answer; raises Failure, also for a refusal."""
        self.send({"command": command, **fields})
        answer = self.receive()
        if answer is None:
            raise Failure(
                f"{self.name} closed the control connection without an answer",
                f"look into its log, then: sacip-tun status {self.name}",
            )
        return accepted(answer, self.name)

    def send(self, request: Mapping[str, object]) -> None:
        """Send one request."""
        try:
            self._socket.sendall(json.dumps(request).encode() + b"\n")
        except OSError as error:
            raise self._broken(error) from None

    def receive(self) -> Answer | None:
        """Return the next object, None at the end of the connection."""
        while b"\n" not in self._buffer:
            if not self.fill():
                return None
        return self.pending()

    def fill(self) -> bool:
        """Read once what has come; False at the end of the connection."""
        try:
            received = self._socket.recv(65536)
        except OSError as error:
            raise self._broken(error) from None
        self._buffer += received
        return bool(received)

    def pending(self) -> Answer | None:
        """Return the next object that is complete, None where there is none yet."""
        line, newline, rest = self._buffer.partition(b"\n")
        if not newline:
            return None
        self._buffer = rest
        return decoded(bytes(line), self.name)

    def wait_closed(self) -> None:
        """Wait until the other side has closed: after `down`, everything is undone then."""
        while self.fill():
            pass

    def _broken(self, error: OSError) -> Failure:
        if isinstance(error, TimeoutError):
            return Failure(
                f"{self.name} did not answer in {self._socket.gettimeout():g} s",
                "look into its log; if it is stuck, end its process",
            )
        return Failure(f"the control connection to {self.name} broke: {error.strerror}")


def each_running(directory: Path, timeout: float | None = ANSWER_TIME) -> Iterator[Control]:
    """Yield a connection to every tunnel that runs; the caller closes it.

    A socket that a killed daemon left behind is warned of, and hides no tunnel that runs.
    """
    for path in running(directory):
        try:
            control = Control(path, timeout)
        except Failure as failure:
            if failure.code != Exit.NOT_RUNNING:
                raise
            warn(failure.cause)
        else:
            yield control


def decoded(line: bytes, name: str) -> Answer:
    """Return the object in a line; raises Failure where there is none."""
    try:
        answer = json.loads(line)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise Failure(
            f"{name} answered what is not an object of JSON",
            "if sacip-tun was upgraded, restart the tunnel",
        )
    return answer


def accepted(answer: Answer, name: str) -> Answer:
    """Return the answer without its `ok`; raises Failure where the daemon refused."""
    if answer.pop("ok", None) is not True:
        code = answer.get("exit")
        raise Failure(
            f"{name}: {answer.get('error', 'refused without a reason')}",
            str(answer.get("fix", "")),
            code if isinstance(code, int) and code else Exit.FAILED,
        )
    return answer


def _unusable(path: Path, error: OSError) -> Failure:
    """Say what a missing, dead or closed socket means to the user."""
    if isinstance(error, PermissionError):
        return Failure(
            f"this user may not use {path}",
            "run it as root, for example with sudo",
            Exit.NO_PRIVILEGE,
        )
    if isinstance(error, ConnectionRefusedError):
        return Failure(
            f"{path.stem} is not running: its process ended without cleaning up",
            f"sacip-tun up {path.stem} takes its place",
            Exit.NOT_RUNNING,
        )
    if isinstance(error, FileNotFoundError):
        return Failure(
            f"{path.stem} is not running: there is no {path}",
            f"start it with 'sacip-tun up {path.stem}', or see what runs with 'sacip-tun status'",
            Exit.NOT_RUNNING,
        )
    return Failure(f"{path}: {error.strerror or error}", "check the name of the interface")
