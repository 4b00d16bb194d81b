"""The end of a service: a start that is under way ends too, and nothing else is cancelled."""

import asyncio

import pytest

from sacip_tun.daemon.ending import EndedEarlyError, Ending


def test_a_start_that_is_under_way_is_cancelled():
    async def main():
        ending = Ending()
        asyncio.get_running_loop().call_soon(ending.ask)
        with pytest.raises(EndedEarlyError), ending.ends_this():
            await asyncio.sleep(60)
        ending.ask()
        await ending.asked()
        await asyncio.sleep(0)

    asyncio.run(main())


def test_what_comes_after_the_start_goes_on():
    async def main():
        ending = Ending()
        with ending.ends_this():
            await asyncio.sleep(0)
        ending.ask()
        await asyncio.sleep(0)
        await ending.asked()

    asyncio.run(main())


def test_a_cancellation_by_others_stays_one():
    async def main():
        ending = Ending()

        async def start():
            with ending.ends_this():
                await asyncio.sleep(60)

        task = asyncio.ensure_future(start())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
