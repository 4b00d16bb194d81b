"""A running connection of `flow`: its two processes on two hosts, and what they saw of it."""

import sys
import time
from typing import Any

from sacip_tun.lab.namespaces import Host
from sacip_tun.lab.timeline import records
from sacip_tun.linux.errors import SetupError

Document = dict[str, Any]

FLOW = (sys.executable, "-m", "sacip_tun.lab.flow")
# How long the connection may take to stand, and to end after its time, in seconds: a stall
# prolongs it.
PATIENCE = 90.0


class Connection:
    """One TCP connection from `client` to `address`, which is on `server`.

    `options` are those of flow's client: `--direction`, `--seconds`, `--rate`, `--chunk`.
    """

    def __init__(
        self, client: Host, server: Host, address: str, *options: str, port: int = 5001
    ) -> None:
        at = ["--port", str(port)]
        self._client = client
        self._server = server
        self._serving = server.start([*FLOW, "server", "--listen", address, *at])
        self._calling = client.start([*FLOW, "client", "--connect", address, *at, *options])

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
        return (
            _result(self._client.log(self._calling)),
            _result(self._server.log(self._serving)),
        )

    def _said(self, event: str) -> bool:
        lines = self._client.log(self._calling).splitlines()
        return any(record.get("event") == event for record in records(lines))


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
