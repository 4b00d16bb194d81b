"""A running connection: its two processes on two hosts, and what they saw of it."""

import time
from collections.abc import Sequence
from subprocess import Popen, TimeoutExpired
from typing import Any, Protocol

from sacip_tun.lab.arrivals import now_unix
from sacip_tun.lab.part import STOPPED
from sacip_tun.lab.stream import REPORTING
from sacip_tun.lab.timeline import records
from sacip_tun.linux.errors import SetupError

Document = dict[str, Any]

# How long the connection may take to stand, and to end after its time, in seconds: a stall
# prolongs it.
PATIENCE = 90.0
# How long a process may take to tell its result when it is stopped, in seconds.
LAST_WORDS = 10.0


class Place(Protocol):
    """Where an end can run: a namespace's Host, or a container."""

    python: str
    """The interpreter there that has this package."""

    def start(self, command: Sequence[str], /) -> Popen[str]:
        """Start a command that ends with the lab at the latest."""

    def log(self, process: Popen[str], /) -> str:
        """Return what it printed so far."""


class Connection:
    """One connection from `client` to `address`, which is on `server`.

    `program` is a module of this room: `flow`, `keystrokes` or `stream`. `options` are those of its
    client, `common` those of both ends; for flow's client: `--direction`, `--seconds`, `--rate`,
    `--chunk`.
    """

    def __init__(
        self,
        client: Place,
        server: Place,
        address: str,
        *options: str,
        port: int = 5001,
        program: str = "flow",
        common: tuple[str, ...] = (),
    ) -> None:
        module = ("-m", f"sacip_tun.lab.{program}")
        at = ["--port", str(port), *common]
        self._client = client
        self._server = server
        self._serving = server.start([server.python, *module, "server", "--listen", address, *at])
        self._calling = client.start(
            [client.python, *module, "client", "--connect", address, *at, *options]
        )

    def wait_until_established(self) -> None:
        """Wait until it stands. Raises SetupError where it does not."""
        deadline = time.monotonic() + PATIENCE
        while not self._said("established"):
            if self._calling.poll() is not None or time.monotonic() > deadline:
                raise SetupError("the connection does not stand", self._client.log(self._calling))
            time.sleep(0.02)

    def finish(self) -> tuple[Document, Document]:
        """Wait for its end; return what the client saw and what the server saw.

        Raises TimeoutExpired where it hangs.
        """
        self._calling.wait(PATIENCE)
        self._serving.wait(PATIENCE)
        return self._results()

    def ends_within(self, seconds: float) -> bool:
        """Wait so long for its end; tell whether it came."""
        deadline = time.monotonic() + seconds
        ends = (self._calling, self._serving)
        return all(_ends(process, deadline - time.monotonic()) for process in ends)

    def is_alive(self) -> bool:
        """Tell whether the client said lately that something comes in; for `stream`."""
        said = self._heard("arriving")
        return bool(said) and now_unix() - said[-1]["time_unix"] < 2 * REPORTING

    def finish_within(self, seconds: float) -> tuple[Document, Document]:
        """Wait so long for its end, then stop it; an end that was stopped has STOPPED as error."""
        deadline = time.monotonic() + seconds
        running = [
            process
            for process in (self._calling, self._serving)
            if not _ends(process, deadline - time.monotonic())
        ]
        # The client first: what its end makes the server see is not what broke the connection.
        for process in running:
            process.terminate()
            process.wait(LAST_WORDS)
        results = self._results()
        for process, result in zip((self._calling, self._serving), results, strict=True):
            if process in running:
                result["error"] = STOPPED
        return results

    def stop(self, pause: float = 0.0) -> tuple[Document, Document]:
        """End one that does not end by itself: the server, and `pause` s later the client."""
        self._serving.terminate()
        self._serving.wait(LAST_WORDS)
        time.sleep(pause)
        self._calling.terminate()
        self._calling.wait(LAST_WORDS)
        return self._results()

    def _results(self) -> tuple[Document, Document]:
        return (
            _result(self._client.log(self._calling)),
            _result(self._server.log(self._serving)),
        )

    def _said(self, event: str) -> bool:
        return bool(self._heard(event))

    def _heard(self, event: str) -> list[Document]:
        lines = self._client.log(self._calling).splitlines()
        return [record for record in records(lines) if record.get("event") == event]


def _ends(process: Popen[str], within: float) -> bool:
    try:
        process.wait(max(0.0, within))
    except TimeoutExpired:
        return False
    return True


def _result(log: str) -> Document:
    """Return what one end said last; only an error where it said nothing."""
    found = [record for record in records(log.splitlines()) if record.get("event") == "result"]
    return found[-1] if found else {"error": log.strip() or "it said nothing"}


def survived(*ends: Document) -> bool:
    """Tell whether each end received all that was sent to it, unchanged."""
    return all(end.get("intact") and end.get("error") is None for end in ends)


def what_broke(*ends: Document) -> str | None:
    """Return the first error of any end."""
    return next((str(end["error"]) for end in ends if end.get("error")), None)
