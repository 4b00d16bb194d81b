"""An errand: work that waits for others, in a thread that nobody waits for.

asyncio's own threads are waited for at the end, and so are libuv's: a name server that does not
answer would keep a daemon there for a minute.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import TypeVar

T = TypeVar("T")


async def sent(work: Callable[[], T]) -> T:
    """Return what `work` returns in its thread, or raise what it raises.

    Who is cancelled meanwhile goes at once, and what `work` comes to is lost.
    """
    loop = asyncio.get_running_loop()
    back: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if back.done():
            return
        if error is None:
            back.set_result(result)  # type: ignore[arg-type]  # None where T is that
        else:
            back.set_exception(error)

    def run() -> None:
        result, error = None, None
        try:
            result = work()
        except Exception as caught:  # noqa: BLE001 - it is raised where it was asked for
            error = caught
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(settle, result, error)

    Thread(target=run, name="sacip-tun-errand", daemon=True).start()
    return await back
