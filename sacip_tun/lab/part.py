"""One part of a measured connection: a process that says what it sees, a JSON object a line.

It says `established` when the connection stands and `result` at its end. Told to stop by SIGTERM,
it says the result of what it saw until then, with STOPPED as its error.
"""

import asyncio
import json
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

from sacip_tun.lab.arrivals import now_unix

T = TypeVar("T")

STOPPED = "stopped"


def say(event: str, **details: object) -> None:
    """Print one line."""
    print(json.dumps({"event": event, "time_unix": now_unix(), **details}), flush=True)


async def until_stopped(part: Coroutine[Any, Any, T]) -> T:
    """Run the part; SIGTERM cancels it. Raises CancelledError where it has nothing to tell."""
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - a coroutine runs in a task
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await part


def text(address: tuple[Any, ...]) -> str:
    """Return HOST:PORT of a socket's address."""
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
