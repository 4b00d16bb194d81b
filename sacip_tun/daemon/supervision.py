"""Supervision: all that a service manager is to a tunnel, and nothing where there is none.

It keeps what outlives this process (keeper), which then calls its peers again (recall); it is told
how the tunnel stands (herald), and asks for the file to be read again (reload).
"""

import asyncio
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack

from sacip_tun.daemon import status
from sacip_tun.daemon.herald import Herald
from sacip_tun.daemon.journal import Journal
from sacip_tun.daemon.keeper import Keeper
from sacip_tun.daemon.recall import Recall
from sacip_tun.daemon.reload import Reloader
from sacip_tun.linux.service_manager import ServiceManager
from sacip_tun.linux.tun import Tun
from sacip_tun.linux.udp import UdpSocket
from sacip_tun.protocol.peer import Peer
from sacip_tun.protocol.tunnel import Tunnel


class Supervision:
    """The service manager of one tunnel; `keeper` gives back what was kept."""

    def __init__(
        self,
        manager: ServiceManager | None,
        tunnel: Tunnel,
        journal: Journal,
        reloader: Reloader,
    ) -> None:
        self._manager = manager or ServiceManager()
        self._tunnel = tunnel
        self._journal = journal
        self.keeper = Keeper(self._manager)
        self._herald = Herald(self._manager, lambda: status.line(tunnel, journal))
        self._reloader = reloader
        self._recall: Recall

    @property
    def took_over(self) -> bool:
        """Whether there was a process before this one, of which something is left."""
        return bool(self.keeper.taken)

    def begin(self, tun: Tun, sockets: list[UdpSocket], stack: AsyncExitStack) -> None:
        """Have everything kept from here on."""
        memory = self.keeper.memory()
        stack.callback(memory.close)
        self._recall = Recall(self._tunnel, memory)
        self.keeper.keep(tun, sockets, memory)

    async def call_again(self, settle: Callable[[], None]) -> None:
        """Call the peers whose sessions were lost with the process before."""
        if self.took_over:
            self._journal.note("taken-back", what=", ".join(self.keeper.taken))
            await self._recall.all(settle)

    def announce(self, stack: AsyncExitStack) -> None:
        """Say that it is up, and do what is asked for from now on."""
        if self._manager.is_there:
            # Not where nobody supervises us: a terminal that is closed ends what runs in it.
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGHUP, self._reloader.ask)
            stack.callback(loop.remove_signal_handler, signal.SIGHUP)
            stack.callback(asyncio.ensure_future(self._reload_when_asked()).cancel)
        self._herald.ready()

    async def _reload_when_asked(self) -> None:
        while True:
            await self._reloader.asked()
            self._herald.reloading()
            await self._reloader.reload()
            self._herald.ready()

    def noticed(self, peer: Peer, *, fresh: bool) -> None:
        """Take note of an event with a peer, which may have a `fresh` session."""
        if self._manager.is_there:
            self._recall.note(peer, fresh=fresh)
            self._herald.news()

    def leave(self) -> None:
        """Say that it goes down; where that is for good, wait until nothing is kept any more."""
        self._herald.stopping()
        self.keeper.leave()
