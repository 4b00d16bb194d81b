"""Errands: what waits for others keeps nobody."""

import asyncio
import threading

import pytest

from sacip_tun.daemon import errand


def test_what_comes_back_is_the_result_or_the_error():
    def fail() -> None:
        raise OSError("no")

    async def main() -> str:
        with pytest.raises(OSError, match="no"):
            await errand.sent(fail)
        return await errand.sent(lambda: "yes")

    assert asyncio.run(main()) == "yes"


def test_nobody_waits_for_one_that_does_not_come_back():
    go = threading.Event()

    async def main() -> asyncio.Task[None]:
        loop, begun = asyncio.get_running_loop(), asyncio.Event()

        def work() -> None:
            loop.call_soon_threadsafe(begun.set)
            go.wait(10)

        task = asyncio.ensure_future(errand.sent(work))
        await begun.wait()
        return task

    task = asyncio.run(main())
    assert task.cancelled()
    waiting = [thread for thread in threading.enumerate() if thread.name == "sacip-tun-errand"]
    assert waiting, "it was waited for"
    assert all(thread.daemon for thread in waiting)
    go.set()
    for thread in waiting:
        thread.join(10)
    assert not any(thread.is_alive() for thread in waiting)
