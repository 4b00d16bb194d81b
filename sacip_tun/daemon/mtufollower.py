"""The MTU follower: the interface's MTU is whatever somebody set it to, wherever it was moved."""

import asyncio
from collections.abc import Callable

from sacip_tun.linux.linkwatch import LinkWatch


class MtuFollower:
    """Calls `changed` with the MTU of a TUN, in bytes, when it is another one."""

    def __init__(self, tun: int, changed: Callable[[int], None]) -> None:
        """Begin with the descriptor of a TUN. Raises OSError."""
        self._watch = LinkWatch(tun)
        self._changed = changed
        self._mtu: int | None = None
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._watch.fileno(), self.look)

    def close(self) -> None:
        """Follow it no more."""
        self._loop.remove_reader(self._watch.fileno())
        self._watch.close()

    def look(self) -> None:
        """Read it now."""
        self._watch.news()
        mtu = self._watch.mtu()
        if mtu is None:
            mtu = self._elsewhere()
        if mtu is not None and mtu != self._mtu:
            self._mtu = mtu
            self._changed(mtu)

    def _elsewhere(self) -> int | None:
        """Go where the interface is now; None where it is gone, or we may not follow it."""
        self._loop.remove_reader(self._watch.fileno())
        try:
            self._watch.follow()
        except OSError:
            return None
        finally:
            self._loop.add_reader(self._watch.fileno(), self.look)
        return self._watch.mtu()
