"""The worker: what waits for other programs is done beside the loop, one thing after the other.

`nft`, `busctl` and `resolvconf` take some 20 ms each, and seconds where something is wrong with
them. No packet may wait for that. It has a thread of its own: those of asyncio may all be waiting
for name servers.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class Worker:
    """That of one interface. What it does is done in the order in which it was given."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "sacip-tun-worker")

    async def do(self, work: Callable[[], T]) -> T:
        """Return what `work` returns, or raise what it raises, when all before it is done.

        Who asked may go meanwhile: what has been given is done nevertheless.
        """
        loop = asyncio.get_running_loop()
        return await asyncio.shield(loop.run_in_executor(self._thread, work))
