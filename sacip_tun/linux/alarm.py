"""timerfd: a deadline that suspend does not put off, and notice of a clock that was set.

The loops' own timers run on CLOCK_MONOTONIC, which stands still while the machine sleeps. These are
descriptors that become readable; waiting for them costs nothing. The os module has them from Python
3.13 on, so that libc is called here; see docs/decisions/0015-timerfd.md.
"""

import ctypes
import errno
import math
import os
import sys
import time

# linux/timerfd.h; the flags of creation are those of open(2).
TFD_TIMER_ABSTIME, TFD_TIMER_CANCEL_ON_SET = 1, 2
# timerfd gives the number of expirations as 64 bits.
EXPIRATIONS = 8
NANOSECONDS = 10**9

_libc = ctypes.CDLL(None, use_errno=True)


class _Timespec(ctypes.Structure):
    # Both are as wide as a long where libc's plain symbols are called.
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Timerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


class Alarm:
    """One deadline in CLOCK_BOOTTIME; one that passed while the machine slept rings on resume."""

    def __init__(self) -> None:
        """Raises OSError."""
        self._descriptor = _created(time.CLOCK_BOOTTIME)

    def fileno(self) -> int:
        """Return the descriptor, readable once it rings."""
        return self._descriptor

    def set(self, deadline: float) -> None:
        """Ring at `deadline` in seconds, at once where it is over; replaces the one before."""
        # Rounded up, so that the deadline is over when it rings; 0 would stop the timer.
        _arm(self._descriptor, max(1, math.ceil(deadline * NANOSECONDS)), TFD_TIMER_ABSTIME)

    def silence(self) -> None:
        """Stop ringing until it is set again; harmless when it does not ring."""
        _read(self._descriptor)

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._descriptor)


class ClockWatch:
    """Readable when somebody set CLOCK_REALTIME, which resuming from suspend does too."""

    def __init__(self) -> None:
        """Raises OSError."""
        self._descriptor = _created(time.CLOCK_REALTIME)
        flags = TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET
        _arm(self._descriptor, sys.maxsize, flags)  # never

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor

    def silence(self) -> None:
        """Wait for the next time."""
        _read(self._descriptor)  # ECANCELED, and the timer stays armed

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._descriptor)


def _created(clock: int) -> int:
    descriptor: int = _libc.timerfd_create(clock, os.O_NONBLOCK | os.O_CLOEXEC)
    if descriptor < 0:
        raise _error("timerfd_create")
    return descriptor


def _arm(descriptor: int, nanoseconds: int, flags: int) -> None:
    value = _Timespec(*divmod(nanoseconds, NANOSECONDS))
    setting = _Timerspec(_Timespec(0, 0), value)
    if _libc.timerfd_settime(descriptor, flags, ctypes.byref(setting), None) < 0:
        raise _error("timerfd_settime")


def _read(descriptor: int) -> None:
    try:
        os.read(descriptor, EXPIRATIONS)
    except OSError as error:
        if error.errno not in {errno.EAGAIN, errno.ECANCELED}:
            raise


def _error(call: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{call}: {os.strerror(number)}")
