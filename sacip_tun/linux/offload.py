"""One offload: whether it is used, and where the kernel refused it lately.

What an offload saves is a call a packet; what it does can always be done without it, one packet a
call. So a refusal costs nothing but speed: the same packets go the plain way at once, and the
offload rests there for a while. Not for good: the next route, driver or kernel memory may be
another, and a daemon that never moves must get its speed back too.
"""

import errno
from collections.abc import Callable
from enum import Enum
from time import monotonic
from typing import Generic, TypeVar

# Seconds until what was refused is tried again by itself: one refused call in ten minutes is free.
REST = 600.0
# Keys remembered, which may be paths that strangers choose; emptied when full.
MAX_REFUSED = 1024

# What an offloaded call gives on kernels, drivers and routes that cannot do it (quinn#1128,
# tailscale#13041). What says "no room" (EAGAIN, ENOBUFS, ENOMEM) is none: it says nothing about
# the offload, and passes.
REFUSALS = frozenset({errno.EIO, errno.EINVAL, errno.EMSGSIZE, errno.EOPNOTSUPP})

Key = TypeVar("Key")


class State(Enum):
    """What an offload does now; the value is its name in `status`."""

    ON = "on"
    OFF = "off"
    REFUSED = "refused"


class Switch(Generic[Key]):
    """One offload, refused or not for each `Key`: a path, or a device.

    `usable` is False where the kernel or the user has none of it. Without `remember` it is tried
    again every time. `refusals` counts; `now` is a clock in seconds.
    """

    def __init__(
        self, *, usable: bool, remember: bool = True, now: Callable[[], float] = monotonic
    ) -> None:
        self.usable = usable
        self.refusals = 0
        self._remember = remember
        self._now = now
        self._until: dict[Key, float] = {}

    def allows(self, key: Key) -> bool:
        """Tell whether to use it for `key`."""
        if not self._until:
            return self.usable
        until = self._until.get(key)
        if until is None:
            return self.usable
        if self._now() < until:
            return False
        del self._until[key]
        return self.usable

    def refused(self, key: Key) -> None:
        """Count a refusal, and let it rest for `key`."""
        self.refusals += 1
        if not self._remember:
            return
        if len(self._until) >= MAX_REFUSED:
            self._until.clear()
        self._until[key] = self._now() + REST

    def retry(self) -> None:
        """Try it again everywhere: after a change of routes or addresses."""
        self._until.clear()

    def stop(self) -> None:
        """Use it no more, ever."""
        self.usable = False

    @property
    def state(self) -> State:
        """Refused means: for some key at least, and now."""
        if not self.usable:
            return State.OFF
        now = self._now()
        resting = any(now < until for until in self._until.values())
        return State.REFUSED if resting else State.ON
