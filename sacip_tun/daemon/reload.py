"""Reload: the file is read again, and the running tunnel becomes what it says.

Keys, port, mark and peers are changed while packets move, all of it or nothing; a peer that the
file says the same of as before is not touched. What belongs to the interface itself is named, and
left to a restart: under a service manager that costs no inner connection.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import fields, replace

from sacip_tun.config import Config, ConfigError, InterfaceConfig, PeerConfig, load
from sacip_tun.daemon.changes import Change, PeerChange
from sacip_tun.daemon.journal import Journal
from sacip_tun.daemon.reconfigurer import Reconfigurer
from sacip_tun.linux.errors import SetupError
from sacip_tun.protocol.tunnel import Tunnel

# Fields of InterfaceConfig that a running tunnel can change.
LIVE = frozenset({"name", "private_key", "listen_port", "fwmark"})


class Reloader:
    """Reads the file that a tunnel came from; requests that come meanwhile are one more reload."""

    def __init__(
        self, config: Config, reconfigurer: Reconfigurer, tunnel: Tunnel, journal: Journal
    ) -> None:
        self._reconfigurer = reconfigurer
        self._tunnel = tunnel
        self._journal = journal
        self._began = config
        self._wanted = asyncio.Event()

    def ask(self) -> None:
        """Ask for a reload: what is written to the file until now will count."""
        self._wanted.set()

    async def asked(self) -> None:
        """Wait until it is asked for."""
        await self._wanted.wait()
        self._wanted.clear()

    async def reload(self) -> None:
        """Do it; a file that cannot be used changes nothing, and the journal says why."""
        try:
            config = await asyncio.to_thread(self._read)
            change = self._change(config)
            await self._reconfigurer.apply(change)
        except (ConfigError, SetupError, OSError) as error:
            self._journal.note("request-refused", why=f"reload: {error}")
        else:
            later = ", ".join(self._left(config)) or None
            self._journal.note("reloaded", peers=len(change.peers), restart_for=later)

    def _read(self) -> Config:
        if self._began.source is None:
            raise ConfigError("it was not brought up from a file", "change it with wg")
        return load(str(self._began.source))

    def _change(self, config: Config) -> Change:
        interface = config.interface
        return Change(
            private_key=interface.private_key,
            listen_port=interface.listen_port,
            fwmark=interface.fwmark,
            peers=list(self._peers(config)),
        )

    def _peers(self, config: Config) -> Iterator[PeerChange]:
        wanted = {peer.public_key: peer for peer in config.peers}
        for key in self._reconfigurer.peers.keys() - wanted.keys():
            yield PeerChange(key, remove=True)
        for key, peer in wanted.items():
            before = self._reconfigurer.peers.get(key)
            if before is None:
                yield PeerChange.of(peer)
            elif not self._is_same(before, peer):
                change = PeerChange.of(peer)
                # Where the peer is by now is better than what the file still says.
                yield replace(change, endpoint=None) if before.endpoint == peer.endpoint else change

    def _is_same(self, before: PeerConfig, peer: PeerConfig) -> bool:
        networks = self._tunnel.networks_of(self._tunnel.peers.glance(peer.public_key))
        if set(networks) != set(peer.allowed_ips):
            return False
        return replace(before, allowed_ips=()) == replace(peer, allowed_ips=())

    def _left(self, config: Config) -> Iterator[str]:
        """Name what the file says otherwise than at the start, and only a restart brings."""
        for field in fields(InterfaceConfig):
            old, new = (getattr(c.interface, field.name) for c in (self._began, config))
            if field.name not in LIVE and old != new:
                yield field.name
        if set(config.routes) - set(self._began.routes):
            yield "routes"
