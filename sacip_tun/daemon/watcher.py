"""The watcher: changes of this host's addresses, settled, and told to the tunnel as facts.

Detection (linux/netlink.py) is apart from reaction (protocol/local_move.py); in between, this room
decides when a change is news. It acts on the leading edge: a usable address is passed on at once.
Only the news that no address is left of the family in use waits a moment, since the kernel
announces the deletion of a primary address before the promotion of a secondary one.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice

from sacip_tun.daemon import clock
from sacip_tun.linux.addresses import Address
from sacip_tun.linux.netlink import NetlinkMonitor
from sacip_tun.linux.snapshot import Snapshot
from sacip_tun.linux.sources import Source as LinuxSource
from sacip_tun.protocol.address import Endpoint, Host
from sacip_tun.protocol.facts import LocalFacts, Source
from sacip_tun.protocol.frames import Reason
from sacip_tun.protocol.peer import Peer
from sacip_tun.protocol.tunnel import Tunnel

# How long a peer may be without any source before that is believed, in seconds.
SETTLE = 0.020
# Peers looked at in one turn of the loop: some 0.1 ms each (benchmarks/scale.py).
PEERS_A_TURN = 64
# While the kernel goes on refusing to send, looks come ever more slowly, up to this, in seconds.
SLOWEST_LOOK = 1.0


@dataclass(frozen=True, slots=True)
class Outlet:
    """What the outer sockets have in common: their port, their FwMark, and for which families."""

    port: int
    mark: int = 0
    versions: frozenset[int] = frozenset({4, 6})


class Watcher:
    """Feeds one tunnel with the facts of one network namespace.

    `settle` drains what the tunnel has to say after each change; `retry` sends what waited because
    the kernel refused it. `own` are the interfaces that no outer packet may leave by: the tunnel's
    own.
    """

    def __init__(
        self,
        monitor: NetlinkMonitor,
        tunnel: Tunnel,
        *,
        outlet: Outlet,
        own: set[int],
        settle: Callable[[], None],
        retry: Callable[[], None],
    ) -> None:
        self.monitor = monitor
        self._tunnel = tunnel
        self._outlet = outlet
        self._own = own
        self._settle = settle
        self._retry = retry
        self.looked: Callable[[Snapshot], None] = lambda _snapshot: None
        """Told each state of this host that is looked at."""
        self._patience = SETTLE
        self._known: dict[bytes, tuple[Source, ...]] = {}
        self._present: frozenset[Host] = frozenset()
        self._candidates: tuple[Host, ...] = ()
        # What is looked at, what was there before and is not now, and who was not looked at yet.
        self._seen = Snapshot()
        self._gone: frozenset[Host] = frozenset()
        self._unseen: dict[Peer, None] = {}
        self._next_turn: asyncio.Handle | None = None
        self._recheck: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def candidates(self) -> tuple[Host, ...]:
        """The addresses at which any peer may find this host."""
        return self._candidates

    def start(self) -> None:
        """Take the first snapshot as it is, then watch."""
        self.look(settled=True)
        self._task = asyncio.ensure_future(self._watch())

    async def stop(self) -> None:
        """Watch no more."""
        for handle in (self._recheck, self._next_turn):
            if handle is not None:
                handle.cancel()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def rebound(self, outlet: Outlet) -> None:
        """Take other outer sockets: another port is another address to every peer."""
        self._outlet = outlet
        self._known.clear()
        self.look(settled=True)

    def removed(self, key: bytes) -> None:
        """Know nothing of a peer that is no more; another one may have its key some day."""
        self._known.pop(key, None)

    def path_failed(self) -> None:
        """Look again soon: the kernel refused to send, so something is about to be announced."""
        if self._recheck is None:
            loop = asyncio.get_running_loop()
            self._recheck = loop.call_later(self._patience, self._look_again)
            self._patience = min(2 * self._patience, SLOWEST_LOOK)

    def look(self, *, settled: bool = False) -> None:
        """Compare the snapshot with what is known, and tell the tunnel what is new.

        Of thousands of peers only the first have been looked at when this returns: the loop has
        other things to do. Those that the look before had not come to are the first now.
        """
        self._seen = snapshot = self.monitor.snapshot()
        self.looked(snapshot)
        self._unseen = dict.fromkeys((*self._unseen, *self._tunnel.peers.met))
        self._gone = self._present - snapshot.hosts
        news = self._news(self._some(), settled=settled)
        before = self._candidates
        if settled or self._recheck is None:
            self._candidates = snapshot.candidates(self._own, self._outlet.versions)
        if snapshot.hosts != self._present:
            self._tunnel.addresses_known(snapshot.hosts, snapshot.broadcasts)
        if news or self._candidates != before:
            self._tell(news)
        self._present = snapshot.hosts
        self._go_on(settled=settled)

    def _some(self) -> list[Peer]:
        """Take as many peers as one turn of the loop may look at."""
        some = list(islice(self._unseen, PEERS_A_TURN))
        for peer in some:
            del self._unseen[peer]
        return some

    def _go_on(self, *, settled: bool) -> None:
        if self._next_turn is not None:
            self._next_turn.cancel()
            self._next_turn = None
        if self._unseen:
            loop = asyncio.get_running_loop()
            self._next_turn = loop.call_soon(partial(self._look_further, settled=settled))

    def _look_further(self, *, settled: bool) -> None:
        news = self._news(self._some(), settled=settled)
        if news:
            self._tell(news)
        self._go_on(settled=settled)

    def _tell(self, news: dict[bytes, tuple[Source, ...]]) -> None:
        hosts, reasons = self._seen.hosts, self._reasons(self._seen)
        facts = LocalFacts(news, hosts, reasons, self._candidates)
        self._tunnel.addresses_changed(facts, now=clock.now())
        self._settle()

    def _news(self, peers: Iterable[Peer], *, settled: bool) -> dict[bytes, tuple[Source, ...]]:
        """Return the sources that are new, by peer; bad news only where it is settled."""
        news = dict[bytes, tuple[Source, ...]]()
        for peer in filter(self._tunnel.peers.holds, peers):
            key = peer.key
            sources, known = self._sources(self._seen, peer), self._known.get(key, ())
            if sources is None or (sources == known and key in self._known):
                continue
            if _loses_its_family(known, sources) and not settled:
                self.path_failed()
                continue
            news[key] = self._known[key] = sources
        if news:
            self._patience = SETTLE
        return news

    def reload(self) -> None:
        """Ask the kernel for everything anew: messages about it are as old as our sleep."""
        self.monitor.reload()
        self.look(settled=True)

    def look_at(self, key: bytes, *, settled: bool = False) -> None:
        """Look at one peer, of which something is new; at all where this host's state is."""
        peer = self._tunnel.peers.get(key)
        if self.monitor.snapshot() is not self._seen:
            self.look(settled=settled)
        elif peer is not None:
            news = self._news((peer,), settled=settled)
            if news:
                self._tell(news)

    def forget(self, key: bytes) -> None:
        """Look at a peer anew: its address changed, so other sources may lead there."""
        self._known.pop(key, None)
        self.look_at(key, settled=True)

    def sources(self, key: bytes) -> tuple[Source, ...]:
        """Return what is known to lead to a peer, best first."""
        return self._known.get(key, ())

    def address(self, host: Host) -> Address | None:
        """Return the address of this host that is `host`, None where it has none such."""
        for address in self.monitor.snapshot().addresses:
            if address.host == host:
                return address
        return None

    def is_own(self, host: Host) -> bool:
        """Tell whether an address is of the tunnel itself."""
        address = self.address(host)
        return address is not None and address.interface in self._own

    async def _watch(self) -> None:
        async for _ in self.monitor:
            try:
                self.look()
            except Exception as error:  # noqa: BLE001 - a bug must not end the watching
                loop = asyncio.get_running_loop()
                loop.call_exception_handler({"message": "watching addresses", "exception": error})

    def _look_again(self) -> None:
        self._recheck = None
        self.look(settled=True)
        self._retry()
        if self._recheck is None:
            self._patience = SETTLE

    def _sources(self, snapshot: Snapshot, peer: Peer) -> tuple[Source, ...] | None:
        """The usable sources towards a peer, best first; None where the peer is nowhere.

        Those of the family in use come first. Those of the other are a fallback, and preferred only
        where they are all there is.
        """
        places = list(_best_of_each_family(peer.where.destinations, self._outlet.versions))
        if not places:
            return None
        found = list[Source]()
        for place in places:
            found += self._towards(snapshot, place, fallback=bool(found))
        return tuple(found)

    def _towards(self, snapshot: Snapshot, remote: Endpoint, *, fallback: bool) -> Iterator[Source]:
        found = snapshot.sources_towards(
            remote.host, self._own, interface=remote.interface, mark=self._outlet.mark
        )
        kernel = next((source.interface for source in found if source.on_kernel_route), 0)
        return (
            Source(
                Endpoint(source.host, self._outlet.port, self._steering(source, kernel)),
                source.interface,
                deprecated=source.deprecated,
                preferred=source.on_kernel_route and not fallback,
                gateway=source.gateway,
            )
            for source in found
        )

    @staticmethod
    def _steering(source: LinuxSource, kernel: int) -> int:
        """Name the interface only where the kernel would take another, or an address needs it."""
        needed = source.interface != kernel or source.host.is_link_local
        return source.interface if needed else 0

    def _reasons(self, snapshot: Snapshot) -> dict[Host, Reason]:
        """Say of every address that was or is here why it would not be usable now."""
        down = {index for index, link in snapshot.links.items() if not (link.up and link.carrier)}
        reasons = dict.fromkeys(self._gone, Reason.ADDRESS_REMOVED)
        for address in snapshot.addresses:
            lost = address.interface in down
            reasons[address.host] = Reason.CARRIER_LOST if lost else Reason.ROUTE_CHANGED
        return reasons


def _best_of_each_family(
    destinations: Iterable[Endpoint], versions: Iterable[int]
) -> Iterator[Endpoint]:
    """Yield the first destination of each family, in their order."""
    best = dict[int, Endpoint]()
    for destination in destinations:
        if destination.interface or not destination.host.is_link_local:
            best.setdefault(destination.host.version, destination)
    return (place for version, place in best.items() if version in versions)


def _loses_its_family(known: tuple[Source, ...], sources: tuple[Source, ...]) -> bool:
    """Tell whether nothing is left of the family that came first."""
    if not known:
        return False
    version = known[0].endpoint.host.version
    return all(source.endpoint.host.version != version for source in sources)
