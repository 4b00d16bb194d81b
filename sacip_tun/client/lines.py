"""Framing: one object of JSON a line.

A request is one object, its answer one object: `{"ok": true, ...}` or `{"ok": false, "error": ...,
"exit": N}`. Only `monitor` is answered with a stream.
"""

import json
from collections.abc import Mapping
from typing import Any

from sacip_tun.outcome import Exit, Failure

Answer = dict[str, Any]
# Everything is answered from memory: a daemon that takes longer, in seconds, is stuck.
ANSWER_TIME = 5.0
# Bytes read at once.
CHUNK = 65536


class Lines:
    """What has come from the tunnel `name`, cut into objects."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._buffer = bytearray()

    def feed(self, received: bytes) -> None:
        """Take bytes as they come."""
        self._buffer += received

    def next(self) -> Answer | None:
        """Return the next object that is complete, None where there is none; raises Failure."""
        if b"\n" not in self._buffer:
            return None
        line, _, self._buffer = self._buffer.partition(b"\n")
        return decoded(bytes(line), self._name)


def encoded(request: Mapping[str, object]) -> bytes:
    """Return a request as its line."""
    return json.dumps(request).encode() + b"\n"


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


def of_schema(answer: Answer, schema: str, name: str) -> Answer:
    """Return the answer; raises Failure where a daemon of another version gave it."""
    if answer.get("schema") != schema:
        raise Failure(
            f"{name} speaks {answer.get('schema')!r}, and this command {schema!r}",
            "after an upgrade restart the tunnel",
        )
    return answer
