"""A change of a running tunnel's peers, over the socket that `wg` uses (UAPI)."""

import os
import socket
from collections.abc import Sequence
from pathlib import Path

from sacip_tun.client.errors import unusable
from sacip_tun.outcome import Failure

# A change of one peer is done at once; in seconds.
PATIENCE = 5.0
CHUNK = 4096


def change(path: Path, lines: Sequence[str]) -> None:
    """Ask for a change and wait until it is done.

    Raises NotRunning, NotAllowed, or Failure with the error that the daemon named.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(PATIENCE)
            sock.connect(os.fspath(path))
            sock.sendall("\n".join(["set=1", *lines, "", ""]).encode())
            answer = _answer(sock)
    except OSError as error:
        raise unusable(path, error) from None
    number = answer.strip().removeprefix("errno=")
    if number != "0":
        text = os.strerror(abs(int(number))) if number.lstrip("-").isdigit() else "no answer"
        raise Failure(
            f"{path.stem} refused the change: {text}", f"see 'sacip-tun monitor {path.stem}'"
        )


def _answer(sock: socket.socket) -> str:
    answer = b""
    while not answer.endswith(b"\n\n") and (received := sock.recv(CHUNK)):
        answer += received
    return answer.decode("ascii", "replace")
