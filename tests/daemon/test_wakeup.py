"""When the daemon believes that it was asleep, under both event loops."""

import asyncio

import pytest
import uvloop

from sacip_tun.daemon import clock
from sacip_tun.daemon.wakeup import Wakeup

PATIENCE = 5


class Bench:
    """A Wakeup, what it called, and how long the machine was asleep so far."""

    def __init__(self, monkeypatch) -> None:
        self.slept = 100.0
        monkeypatch.setattr(clock, "slept", lambda: self.slept)
        self.calls: list[object] = []
        self.rang = asyncio.Event()
        self.wakeup = Wakeup(self._ring, lambda what, seconds: self.calls.append((what, seconds)))

    def _ring(self) -> None:
        self.calls.append("ring")
        self.rang.set()

    async def ring_at(self, deadline: float) -> None:
        self.rang.clear()
        self.wakeup.no_later_than(deadline)
        async with asyncio.timeout(PATIENCE):
            await self.rang.wait()


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request, monkeypatch):
    def run(test):
        async def body():
            loop = asyncio.get_running_loop()
            bench = Bench(monkeypatch)
            bench.wakeup.start(loop)
            try:
                await test(bench)
            finally:
                bench.wakeup.stop(loop)
                bench.wakeup.close()

        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(body())

    return run


def test_a_timer_in_time_is_no_wakeup(run):
    async def test(bench):
        await bench.ring_at(clock.now() + 0.01)
        await bench.ring_at(clock.now() + 0.01)
        assert bench.calls == ["ring", "ring"]

    run(test)


def test_the_earliest_deadline_counts(run):
    async def test(bench):
        bench.wakeup.no_later_than(clock.now() + 3600)
        await bench.ring_at(clock.now() + 0.01)
        assert bench.calls == ["ring"]

    run(test)


def test_a_timer_much_too_late_means_that_the_process_was_stopped(run):
    async def test(bench):
        await bench.ring_at(clock.now() - 5.0)
        (what, seconds), ring = bench.calls
        assert (what, ring) == ("the process was stopped", "ring")
        assert 5.0 <= seconds < 5.0 + PATIENCE

    run(test)


def test_a_sleep_is_told_once_and_before_the_timer(run):
    async def test(bench):
        bench.slept += 60.0
        await bench.ring_at(clock.now() - 60.0)
        assert bench.calls == [("the machine slept", 60.0), "ring"]
        await bench.ring_at(clock.now())
        assert bench.calls[2:] == ["ring"]

    run(test)


def test_a_sleep_without_any_timer_is_seen_when_the_clock_was_set(run):
    async def test(bench):
        bench.slept += 60.0
        bench.wakeup._clock_was_set()
        assert bench.calls == [("the machine slept", 60.0)]

    run(test)


def test_a_clock_that_somebody_corrected_concerns_nobody(run):
    async def test(bench):
        bench.slept += 0.5
        bench.wakeup._clock_was_set()
        assert bench.calls == []

    run(test)


def test_a_fault_in_resuming_does_not_stop_the_timers(run):
    async def test(bench):
        loop = asyncio.get_running_loop()
        faults = []
        loop.set_exception_handler(lambda _loop, context: faults.append(context["exception"]))

        def broken(_what: str, _seconds: float) -> None:
            raise ZeroDivisionError

        bench.wakeup._resumed = broken
        await bench.ring_at(clock.now() - 5.0)
        assert bench.calls == ["ring"]
        assert [type(fault) for fault in faults] == [ZeroDivisionError]

    run(test)
