"""timerfd, as the kernel does it. Setting the machine's clock is left to the machine's owner."""

import errno
import os
import select
import time
from pathlib import Path

import pytest

from sacip_tun.linux import alarm
from sacip_tun.linux.alarm import Alarm, ClockWatch

PATIENCE_MS = 5000


def boottime() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def fdinfo(timer) -> str:
    return Path(f"/proc/self/fdinfo/{timer.fileno()}").read_text(encoding="ascii")


def readable(timer, patience_ms: int) -> bool:
    poll = select.poll()
    poll.register(timer.fileno(), select.POLLIN)
    return bool(poll.poll(patience_ms))


@pytest.fixture
def ringing():
    made = Alarm()
    yield made
    made.close()


def test_it_rings_when_the_deadline_is_over_and_not_before(ringing):
    deadline = boottime() + 0.05
    ringing.set(deadline)
    assert readable(ringing, PATIENCE_MS)
    assert boottime() >= deadline


@pytest.mark.parametrize("deadline", [-1.0, 0.0, 1e-9])
def test_a_deadline_that_is_over_rings_at_once(ringing, deadline):
    ringing.set(deadline)
    assert readable(ringing, PATIENCE_MS)


def test_silenced_it_rings_again_only_when_set_again(ringing):
    ringing.set(0.0)
    ringing.silence()
    assert not readable(ringing, 0)
    ringing.silence()
    ringing.set(0.0)
    assert readable(ringing, PATIENCE_MS)


def test_a_later_deadline_replaces_an_earlier_one(ringing):
    ringing.set(0.0)
    ringing.set(boottime() + 3600)
    assert not readable(ringing, 0)


def test_it_runs_on_the_clock_that_suspend_does_not_stop(ringing):
    assert f"clockid: {time.CLOCK_BOOTTIME}" in fdinfo(ringing)


def test_the_clock_watch_is_cancelled_by_a_set_clock_and_by_nothing_else():
    watch = ClockWatch()
    said = fdinfo(watch)
    assert f"clockid: {time.CLOCK_REALTIME}" in said
    flags = alarm.TFD_TIMER_ABSTIME | alarm.TFD_TIMER_CANCEL_ON_SET
    assert f"settime flags: 0{flags}" in said
    assert not readable(watch, 0)
    watch.silence()
    watch.close()


def test_a_cancelled_read_is_what_the_watch_waits_for(monkeypatch):
    watch = ClockWatch()

    def cancelled(_descriptor, _size):
        raise OSError(errno.ECANCELED, os.strerror(errno.ECANCELED))

    monkeypatch.setattr(os, "read", cancelled)
    watch.silence()
    monkeypatch.undo()
    watch.close()


def test_what_the_kernel_refuses_is_an_os_error():
    with pytest.raises(OSError, match="timerfd_settime") as caught:
        alarm._arm(-1, 1, 0)
    assert caught.value.errno == errno.EBADF
    with pytest.raises(OSError, match="timerfd_create") as caught:
        alarm._created(-1)
    assert caught.value.errno == errno.EINVAL
