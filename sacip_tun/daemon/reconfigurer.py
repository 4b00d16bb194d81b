"""The reconfigurer: changes a running interface, all of a change or nothing, while packets move.

What can fail is done first: the port and the mark. What follows cannot, and is done in slices: a
change may have a hundred thousand allowed IPs, and packets have their turn in between.
"""

import asyncio
import gc
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import replace
from typing import TypeVar

from sacip_tun.config import Config, EndpointName, InterfaceConfig, Nat, PeerConfig
from sacip_tun.daemon import clock
from sacip_tun.daemon.addressbook import AddressBook
from sacip_tun.daemon.changes import AUTOMATIC, Change, PeerChange
from sacip_tun.daemon.journal import Journal
from sacip_tun.daemon.outlets import Outlets
from sacip_tun.daemon.watcher import Outlet, Watcher
from sacip_tun.linux.errors import SetupError
from sacip_tun.protocol.keys import (
    KEY,
    NO_PRESHARED_KEY,
    NO_PRIVATE_KEY,
    NoIdentity,
    StaticIdentity,
    clamped,
)
from sacip_tun.protocol.prefix import Prefix
from sacip_tun.protocol.settings import PeerSettings
from sacip_tun.protocol.tunnel import Tunnel

# Allowed IPs, and peers, that are changed in one turn of the loop: some 0.3 ms.
PREFIXES_A_TURN, PEERS_A_TURN = 256, 8
# So many new peers are worth telling the garbage collector, and so many old ones a pause of it: one
# that was dealt with has some 10 KB, in cycles.
MANY_PEERS, MANY_REMOVED = 64, 512

T = TypeVar("T")


async def _nothing(*_what: int) -> None:
    """Do nothing."""


def identity_of(private: bytes) -> StaticIdentity:
    """Return who we are with a private key, 32 bytes; zeros are none."""
    return NoIdentity(os.urandom(KEY)) if private == NO_PRIVATE_KEY else StaticIdentity(private)


class Reconfigurer:
    """Holds what the user wants of one interface now, and changes it.

    `interface` and `peers` are as last asked for; allowed IPs are the tunnel's, since they move
    from peer to peer. `settle` drains what the tunnel has to say.
    """

    def __init__(self, config: Config, tunnel: Tunnel, outlets: Outlets, journal: Journal) -> None:
        self.interface: InterfaceConfig = config.interface
        self.peers: dict[bytes, PeerConfig] = {peer.public_key: peer for peer in config.peers}
        self._tunnel = tunnel
        self._outlets = outlets
        self._journal = journal
        self.busy = asyncio.Lock()
        """Held while a change is under way: who reads meanwhile sees half of it."""
        self.settle: Callable[[], None] = lambda: None
        self.expect: Callable[[int], Awaitable[None]] = _nothing
        """Called with another mark before any datagram has it, then `rebound`."""
        self.rebound: Callable[[], Awaitable[None]] = _nothing
        self._task: asyncio.Task[None]
        self._removed = 0
        self._book: AddressBook
        self._watcher: Watcher

    def wire(self, book: AddressBook, watcher: Watcher) -> None:
        """Take what is there only when the interface is up."""
        self._book, self._watcher = book, watcher

    def need_mark(self, mark: int) -> None:
        """Mark outer datagrams so wherever nobody asks for another mark: routing depends on it."""
        self._outlets.needed_mark = mark
        self.interface = replace(self.interface, fwmark=self.interface.fwmark or mark)

    @property
    def config(self) -> Config:
        """The configuration as it is now, each peer's endpoint as the user wrote it last."""
        return Config(self.interface, tuple(self.peers.values()))

    def current(self) -> Config:
        """Return the configuration as `wg showconf` prints it: where peers are now."""
        peers = (self._current(peer) for peer in self.peers.values())
        interface = replace(self.interface, listen_port=self._outlets.port)
        return Config(interface, tuple(peers))

    def _current(self, peer: PeerConfig) -> PeerConfig:
        known = self._tunnel.peers.glance(peer.public_key)
        remote, endpoint = known.path.remote.active, peer.endpoint
        if remote is not None:
            host, _, port = str(remote).rpartition(":")
            endpoint = EndpointName(host.strip("[]"), int(port))
        return replace(peer, endpoint=endpoint, allowed_ips=tuple(self._tunnel.networks_of(known)))

    # Changing

    async def apply(self, change: Change) -> None:
        """Do all of a change.

        Raises SetupError where the port cannot be had or the firewall cannot be told of the mark,
        OSError where the mark cannot be set, and then nothing of it is done.
        """
        # Who asked may go meanwhile: it is done nevertheless.
        self._task = asyncio.ensure_future(self._apply(change))
        await asyncio.shield(self._task)

    async def _apply(self, change: Change) -> None:
        async with self.busy:
            await self._change_outlets(change)
            # From here on nothing fails.
            port = change.listen_port
            interface = replace(self.interface, fwmark=self._outlets.mark)
            self.interface = interface if port is None else replace(interface, listen_port=port)
            if change.private_key is not None:
                self._become(change.private_key)
            if change.replace_peers:
                async for key in _in_turns(list(self.peers), PEERS_A_TURN):
                    await self._remove(key)
            async for peer in _in_turns(change.peers, PEERS_A_TURN):
                await self._change_peer(peer)
            self.settle()
            self._tidy(len(change.peers))

    def _tidy(self, changed: int) -> None:
        """Let no collection look at what stays, as at the start; now and then at what went."""
        if self._removed > MANY_REMOVED:
            self._removed = 0
            gc.unfreeze()
            gc.collect()
        elif changed <= MANY_PEERS:
            return
        gc.freeze()

    async def _change_outlets(self, change: Change) -> None:
        mark = self._outlets.meant(change.fwmark)
        expected = mark != self._outlets.mark
        if expected:
            await self.expect(mark)
        try:
            changed = self._outlets.change(change.listen_port, change.fwmark)
        except (SetupError, OSError):
            if expected:
                await self.rebound()  # as it was
            raise
        if changed:
            await self._tell_outlets()

    async def _tell_outlets(self) -> None:
        """Say everywhere that datagrams leave and arrive elsewhere now; the watcher tells peers."""
        outlets = self._outlets
        host = asyncio.ensure_future(self.rebound())
        await asyncio.sleep(0)  # what takes time has begun; peers need not wait for its end
        self._watcher.rebound(Outlet(outlets.port, outlets.mark, outlets.versions))
        self.settle()
        await host

    def _become(self, private: bytes) -> None:
        private = private if private == NO_PRIVATE_KEY else clamped(private)
        if private == self.interface.private_key:
            return
        identity = identity_of(private)
        self._drop(identity.public)
        self._tunnel.change_identity(identity)
        self.interface = replace(self.interface, private_key=private)

    async def _change_peer(self, change: PeerChange) -> None:
        key = change.public_key
        if change.remove:
            await self._remove(key)
            return
        known = self.peers.get(key)
        if known is None and (change.update_only or key == self._tunnel.public_key):
            return  # a peer with our own key is ignored, as WireGuard does
        if known is not None and _is_other(change, known):
            await self._remove(key)
        await self._make(change)

    async def _make(self, change: PeerChange) -> None:
        key, known = change.public_key, self.peers.get(change.public_key)
        self.peers[key] = _merged(known or self._new(change), change)
        settings = settings_of(self.peers[key], self.interface)
        if known is None:
            # It speaks when all else of it is known.
            quiet = replace(settings, keepalive=None, named=False)
            self._tunnel.add_peer(quiet, (), now=clock.now())
        await self._allow(change)
        if change.endpoint is not None:
            self._book.place(key, change.endpoint, call=change.call)
        if settings != self._tunnel.peers.settings_of(key):
            self._tunnel.change_peer(settings, now=clock.now())

    def _new(self, change: PeerChange) -> PeerConfig:
        sacip = self.interface.sacip if change.sacip is None else change.sacip
        return PeerConfig(change.public_key, sacip=sacip)

    async def _allow(self, change: PeerChange) -> None:
        key = change.public_key
        kept = set[int]()
        async for step in _in_turns(change.allowed_ips, PREFIXES_A_TURN):
            if step < 0:
                self._tunnel.disallow(Prefix(~step), key)
                kept.discard(~step)
            else:
                self._tunnel.allow(Prefix(step), key)
                kept.add(step)
        if change.replace_allowed_ips:
            # Taken away last, so that what is in both is never missing.
            async for code in _in_turns(self._tunnel.prefixes_of(key), PREFIXES_A_TURN):
                if code not in kept:
                    self._tunnel.disallow(code, key)

    async def _remove(self, key: bytes) -> None:
        if key in self.peers:
            async for code in _in_turns(self._tunnel.prefixes_of(key), PREFIXES_A_TURN):
                self._tunnel.disallow(code, key)
            self._drop(key)

    def _drop(self, key: bytes) -> None:
        if self.peers.pop(key, None) is not None:
            self._book.forget(key)
            self._removed += self._tunnel.peers.is_met(key)
            self._tunnel.remove_peer(key)
            self._watcher.removed(key)
            self._journal.forget(key)


def settings_of(peer: PeerConfig, interface: InterfaceConfig) -> PeerSettings:
    """Return what the protocol is to know of a peer; its endpoint is told by the address book."""
    return PeerSettings(
        peer.public_key,
        peer.preshared_key or NO_PRESHARED_KEY,
        keepalive=peer.persistent_keepalive,
        sacip=peer.sacip,
        strict_nat=peer.nat is Nat.STRICT,
        relay=peer.relay,
        hold_bytes=interface.hold_megabytes << 20,
        ring_bytes=interface.resend_megabytes << 20,
        named=peer.endpoint is not None,
    )


def _is_other(change: PeerChange, peer: PeerConfig) -> bool:
    wanted = (change.sacip, peer.sacip), (change.nat, peer.nat), (change.relay, peer.relay)
    return any(new is not None and new != old for new, old in wanted)


def _merged(peer: PeerConfig, change: PeerChange) -> PeerConfig:
    preshared = peer.preshared_key
    if change.preshared_key is not None:
        preshared = change.preshared_key if any(change.preshared_key) else None
    keepalive = peer.persistent_keepalive
    if change.keepalive is not None:
        keepalive = None if change.keepalive == AUTOMATIC else change.keepalive
    return replace(
        peer,
        preshared_key=preshared,
        persistent_keepalive=keepalive,
        endpoint=change.endpoint or peer.endpoint,
        nat=change.nat or peer.nat,
        relay=peer.relay if change.relay is None else change.relay,
    )


async def _in_turns(items: Iterable[T], at_once: int) -> AsyncIterator[T]:
    """Yield items, and let packets have their turn after every so many."""
    for number, item in enumerate(items, start=1):
        yield item
        if number % at_once == 0:
            await asyncio.sleep(0)
