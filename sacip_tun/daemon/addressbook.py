"""The address book: where the user says that each peer is, kept resolved.

Thousands of peers are looked up, and so knocked at for the first time, a few at a time: at once
they would hold the loop up for seconds, and go on doing so with every timer that they share.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from sacip_tun.config import EndpointName, PeerConfig
from sacip_tun.daemon import clock
from sacip_tun.daemon.journal import Journal
from sacip_tun.daemon.resolver import LookUp, Outside, Resolver, literal
from sacip_tun.protocol.address import Endpoint
from sacip_tun.protocol.hygiene import Fault
from sacip_tun.protocol.keys import to_base64
from sacip_tun.protocol.tunnel import Tunnel

# How long `up` waits for the peers' names, in seconds; longer ones are resolved behind its back.
FIRST_LOOKUP = 0.3
# So many lookups begin together, and the next so many after this pause in seconds: a first
# handshake costs 0.3 ms, so that they take a fifth of a core.
TOGETHER, PAUSE = 32, 0.05


class AddressBook:
    """The endpoints of one tunnel's peers. `versions` are the families that there is a socket for.

    `known` is called with the key of a peer whose addresses were found, each time.
    """

    def __init__(
        self,
        tunnel: Tunnel,
        journal: Journal,
        versions: frozenset[int],
        known: Callable[[bytes], None],
    ) -> None:
        self._tunnel = tunnel
        self._journal = journal
        self._versions = versions
        self._known = known
        self.outside: Outside = lambda: None
        """How names are looked up outside of a full tunnel."""
        self._resolvers: dict[bytes, Resolver] = {}
        self._untried: set[bytes] = set()
        self._tried = asyncio.Event()
        self._pacing: asyncio.Task[None] | None = None
        # Peers whose names the user gave while they may have been elsewhere: these override.
        self._ordered: set[bytes] = set()

    def start(self, peers: Iterable[PeerConfig]) -> None:
        """Look up every peer that has an endpoint."""
        for peer in peers:
            if peer.endpoint is not None:
                self._write(peer.public_key, peer.endpoint)
        self._untried = set(self._resolvers)
        self._look_up(self._resolvers.values())

    def place(self, key: bytes, endpoint: EndpointName, *, call: bool) -> None:
        """Take where the user says that a peer is from now on: a name counts when it resolves.

        With `call` a handshake begins; where there is a name it does in any case.
        """
        self.forget(key)
        resolver = self._write(key, endpoint)
        address = literal(resolver.text)
        if address is None:
            self._ordered.add(key)
            resolver.start()
            return
        resolver.begun = resolver.resolved = True
        peer = self._tunnel.peers[key]
        peer.placed(address, now=clock.now())
        if call and not peer.can_seal(now=clock.now()):
            peer.start_handshake(now=clock.now())
        self._known(key)

    def forget(self, key: bytes) -> None:
        """Look a peer up no more; harmless where it is not looked up."""
        self._ordered.discard(key)
        resolver = self._resolvers.pop(key, None)
        if resolver is not None:
            resolver.end()
            self._was_tried(key)

    def _write(self, key: bytes, endpoint: EndpointName) -> Resolver:
        found, failed = partial(self._found, key), partial(self._failed, key)
        resolver = self._resolvers[key] = Resolver(
            str(endpoint), found=found, failed=failed, outside=self._way_outside
        )
        return resolver

    def _way_outside(self) -> LookUp | None:
        return self.outside()

    def stop(self) -> None:
        """End what is under way."""
        if self._pacing is not None:
            self._pacing.cancel()
        for resolver in self._resolvers.values():
            resolver.stop()

    async def first_lookups(self) -> None:
        """Give names a moment to resolve."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_LOOKUP if self._untried else 0):
                await self._tried.wait()

    def look_up(self, key: bytes) -> None:
        """Look up a peer that may be somewhere else, unless that is being done or tells no more."""
        resolver = self._resolvers.get(key)
        if resolver is not None and not resolver.final:
            resolver.start()

    def look_up_again(self, *, detached: bool = False) -> None:
        """Look up all peers, or those to which no address of ours leads: the network is another."""
        self._look_up(
            resolver
            for key, resolver in self._resolvers.items()
            if not detached or self._tunnel.peers[key].detached
        )

    @property
    def warnings(self) -> Iterator[str]:
        """Say which names do not resolve, and where a peer's packets are sent to this very host."""
        for resolver in self._resolvers.values():
            if resolver.begun and not resolver.resolved:
                yield f"{resolver.text} does not resolve yet: trying on, see 'sacip-tun monitor'"
        for resolver in self._resolvers.values():
            endpoint = literal(resolver.text)
            if endpoint is not None and self._tunnel.fault_of(endpoint) is Fault.OURS:
                yield f"{endpoint} is an address of this host: no other host is reached there"

    def _look_up(self, resolvers: Iterable[Resolver]) -> None:
        if self._pacing is not None:
            self._pacing.cancel()
        self._pacing = None
        waiting = list(resolvers)
        for resolver in waiting[:TOGETHER]:
            resolver.restart()
        if waiting[TOGETHER:]:
            self._pacing = asyncio.ensure_future(self._pace(waiting[TOGETHER:]))

    @staticmethod
    async def _pace(waiting: list[Resolver]) -> None:
        for start in range(0, len(waiting), TOGETHER):
            await asyncio.sleep(PAUSE)
            for resolver in waiting[start : start + TOGETHER]:
                resolver.restart()

    def _failed(self, key: bytes, why: str) -> None:
        self._journal.note("unresolved", peer=to_base64(key), why=why)
        self._was_tried(key)

    def _found(self, key: bytes, endpoints: list[Endpoint]) -> None:
        """A name was resolved: begin where nothing is known yet, else keep it as a candidate."""
        self._was_tried(key)
        usable = [endpoint for endpoint in endpoints if endpoint.host.version in self._versions]
        if literal(self._resolvers[key].text) is None:
            usable = self._elsewhere(key, usable)
        if usable:
            if key in self._ordered:
                self._ordered.discard(key)
                self._tunnel.peers[key].placed(usable[0], now=clock.now())
            self._tunnel.peers[key].resolved(tuple(usable), now=clock.now())
            self._known(key)

    def _was_tried(self, key: bytes) -> None:
        self._untried.discard(key)
        if not self._untried:
            self._tried.set()

    def _elsewhere(self, key: bytes, endpoints: list[Endpoint]) -> list[Endpoint]:
        """Leave out where a name does not lead to the peer: its addresses are not the user's."""
        faults = {endpoint: self._tunnel.fault_of(endpoint) for endpoint in endpoints}
        for endpoint, fault in faults.items():
            if fault is not None:
                why = f"{endpoint.host} is no endpoint: {fault.value}"
                self._journal.note("unresolved", peer=to_base64(key), why=why)
        return [endpoint for endpoint, fault in faults.items() if fault is None]
