"""Recall: the peers whose sessions were lost with the process before this one are called again.

They would find out by themselves only when their own timers run out, 15 s for a WireGuard peer. A
hub could not call most of them, as their addresses stand in no file: they are in the Memory.
"""

import asyncio
from collections.abc import Callable

from sacip_tun.daemon import clock
from sacip_tun.daemon.addressbook import PAUSE, TOGETHER
from sacip_tun.daemon.memory import Memory
from sacip_tun.protocol import limits
from sacip_tun.protocol.peer import Peer
from sacip_tun.protocol.tunnel import Tunnel


class Recall:
    """Notes where peers are, and calls those again that were noted lately."""

    def __init__(self, tunnel: Tunnel, memory: Memory) -> None:
        self._tunnel = tunnel
        self._memory = memory

    def note(self, peer: Peer, *, fresh: bool) -> None:
        """Note where a peer is: anew with a `fresh` session, else where that is somewhere else."""
        remote = peer.path.remote.active
        if remote is None or peer.last_handshake is None:
            return
        if fresh or not self._memory.is_at(peer.key, remote):
            self._memory.seen(peer.key, remote, now=clock.now())

    async def all(self, settle: Callable[[], None]) -> None:
        """Call, a few at a time, all that can have had a session a moment ago."""
        recent = self._memory.since(clock.now() - limits.REJECT_AFTER_TIME)
        lost = [(key, remote) for key, remote in recent if key in self._tunnel.peers]
        for count, (key, remote) in enumerate(lost, start=1):
            self._tunnel.peers[key].remembered(remote, now=clock.now())
            if not count % TOGETHER:
                settle()
                await asyncio.sleep(PAUSE)
