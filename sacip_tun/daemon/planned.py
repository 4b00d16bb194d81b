"""The planned move: the deck's order, announced and acknowledged before the old address goes.

1. The new address is added to the interface, where it is not there yet.
2. Every peer that speaks SACIP is told over the old path (PREPARE), and proves the new one.
3. Each switches (CHANGE) and acknowledges.
4. Only then the old address is deleted.
Where a peer does not answer in time, what step 1 added is taken away again: nothing has changed.
"""

import asyncio
import contextlib
from collections.abc import Callable
from ipaddress import IPv4Interface, IPv6Interface, ip_interface
from typing import Any

from sacip_tun.daemon import clock
from sacip_tun.daemon.control import Answer, CommandError
from sacip_tun.daemon.journal import Journal
from sacip_tun.daemon.watcher import Watcher
from sacip_tun.linux import interface
from sacip_tun.linux.addresses import Address
from sacip_tun.linux.succession import replace_address
from sacip_tun.outcome import Exit
from sacip_tun.protocol.address import Endpoint, Host
from sacip_tun.protocol.keys import to_base64
from sacip_tun.protocol.peer import Peer
from sacip_tun.protocol.sacip import LocalState
from sacip_tun.protocol.tunnel import Tunnel

# How long a peer may take to follow, in seconds, where the request does not say.
PATIENCE = 5.0


class PlannedMove:
    """One run of `sacip-tun move`."""

    def __init__(
        self,
        tunnel: Tunnel,
        watcher: Watcher,
        journal: Journal,
        settle: Callable[[], None],
        news: asyncio.Event,
    ) -> None:
        self._tunnel = tunnel
        self._watcher = watcher
        self._journal = journal
        self._settle = settle
        self._news = news

    async def run(self, request: dict[str, Any]) -> Answer:
        """Move all peers of the family. Raises CommandError; then nothing has changed."""
        new = _parse_target(request.get("to"))
        patience = _parse_patience(request.get("timeout"))
        self._check_target(new)
        movers = [peer for peer in self._tunnel.peers.met if _concerned(peer, new.ip)]
        if not movers:
            raise CommandError(
                f"no connected peer would move to {new.ip}",
                "see 'sacip-tun status': a move needs a session with the peer",
                Exit.NOT_REACHED,
            )
        old = self._old_address(movers)
        added = self._add(new, request.get("interface"), old)
        try:
            await self._move_in_time(movers, new.ip, patience)
        except BaseException:
            self._take_back(movers, added)
            raise
        if not request.get("keep_old"):
            self._delete(old, new.ip)
        return {
            "old": str(old.host),
            "new": str(new.ip),
            "peers": [_report(peer) for peer in movers],
        }

    def _check_target(self, new: IPv4Interface | IPv6Interface) -> None:
        """Refuse what cannot be an outer address of ours before anything is changed."""
        host = new.ip
        if not _can_be_a_host(new):
            raise CommandError(
                f"{host} cannot be the address of a host",
                "give one that peers can answer",
                Exit.USAGE,
            )
        if self._watcher.is_own(host):
            raise CommandError(
                f"{host} is an inner address of this tunnel", "give an outer address", Exit.USAGE
            )
        for peer in self._tunnel.peers.met:
            active, used = peer.path.remote.active, peer.path.local.active
            if active is not None and active.host == host:
                raise CommandError(
                    f"{host} is the peer's own address", "give one for this side", Exit.USAGE
                )
            if used is not None and used.host == host:
                raise CommandError(
                    f"{host} is the address in use already",
                    "there is nothing to do",
                    Exit.NOT_REACHED,
                )

    def _old_address(self, movers: list[Peer]) -> Address:
        host = movers[0].path.local.active
        address = self._watcher.address(host.host) if host is not None else None
        if address is None:
            raise CommandError(
                "the address in use is not on any interface of this host", "see 'ip address'"
            )
        return address

    def _add(
        self, new: IPv4Interface | IPv6Interface, device: str | None, old: Address
    ) -> tuple[int, IPv4Interface | IPv6Interface] | None:
        """Add the new address where it is missing; return what was added."""
        if self._watcher.address(new.ip) is not None:
            return None
        if new.network.prefixlen == new.max_prefixlen:
            raise CommandError(
                f"{new.ip} is on no interface", f"to add it, say {new.ip}/LENGTH", Exit.USAGE
            )
        try:
            index = interface.interface_index(device) if device else old.interface
            interface.add_address(index, new)
        except OSError as error:
            raise CommandError(
                f"cannot add {new}: {error.strerror or error}", "see 'ip address' and 'ip link'"
            ) from None
        self._journal.note("address-added", address=str(new))
        return index, new

    async def _move_in_time(self, movers: list[Peer], new: Host, patience: float) -> None:
        try:
            async with asyncio.timeout(patience):
                await self._move_peers(movers, new)
        except TimeoutError:
            raise CommandError(
                _why_not(movers, new, patience),
                "check that the new address leads to the peer, or give a longer --timeout",
                Exit.NOT_REACHED,
            ) from None

    async def _move_peers(self, movers: list[Peer], new: Host) -> None:
        await self._until(lambda: all(self._source(peer, new) for peer in movers))
        for peer in movers:
            source = self._source(peer, new)
            if source is not None and not peer.exchange.local_move.request(source, now=clock.now()):
                raise CommandError("the address is changing right now", "wait, then try again")
        self._settle()
        await self._until(lambda: all(_arrived(peer, new) for peer in movers))

    def _source(self, peer: Peer, new: Host) -> Endpoint | None:
        for source in self._watcher.sources(peer.key):
            if source.endpoint.host == new:
                return source.endpoint
        return None

    async def _until(self, done: Callable[[], bool]) -> None:
        while not done():
            self._news.clear()
            await self._news.wait()

    def _take_back(
        self, movers: list[Peer], added: tuple[int, IPv4Interface | IPv6Interface] | None
    ) -> None:
        for peer in movers:
            peer.exchange.local_move.cancel()
        if added is not None:
            with contextlib.suppress(OSError):  # somebody else was faster
                interface.delete_address(*added)
            self._journal.note("address-deleted", address=str(added[1]))
        self._settle()

    def _delete(self, old: Address, new: Host) -> None:
        """Delete the old address; the new one takes over its routes and secondaries."""
        network = old.with_prefix
        try:
            replace_address(old.interface, network, new)
        except OSError as error:
            raise CommandError(
                f"moved, but {network} cannot be deleted: {error.strerror or error}",
                f"see 'ip address show to {old.host}'",
            ) from None
        self._journal.note("address-deleted", address=str(network))


def _parse_patience(seconds: object) -> float:
    if seconds is None:
        return PATIENCE
    if isinstance(seconds, int | float) and seconds > 0:
        return float(seconds)
    raise CommandError(f"{seconds!r} is not a time", "give seconds", Exit.USAGE)


def _parse_target(text: object) -> IPv4Interface | IPv6Interface:
    try:
        return ip_interface(str(text))
    except ValueError:
        raise CommandError(
            f"{text!r} is not an address", "give ADDRESS or ADDRESS/LENGTH", Exit.USAGE
        ) from None


def _can_be_a_host(address: IPv4Interface | IPv6Interface) -> bool:
    host, network = address.ip, address.network
    if host.is_loopback or host.is_multicast or host.is_unspecified:
        return False
    # RFC 3021: the two addresses of a /31 are hosts, neither is the network's or a broadcast.
    reserved = host in {network.network_address, network.broadcast_address}
    return host.version == 6 or network.prefixlen >= 31 or not reserved


def _concerned(peer: Peer, new: Host) -> bool:
    """Tell whether a peer is reached over the family of `new`, and can be told."""
    active = peer.path.local.active
    same_family = active is not None and active.host.version == new.version
    return same_family and peer.can_seal(now=clock.now())


def _arrived(peer: Peer, new: Host) -> bool:
    active = peer.path.local.active
    settled = peer.exchange.local_move.state is LocalState.SETTLED
    return settled and active is not None and active.host == new


def _report(peer: Peer) -> Answer:
    return {"name": to_base64(peer.key), "acknowledged_ms": peer.exchange.local_move.milliseconds}


def _why_not(movers: list[Peer], new: Host, patience: float) -> str:
    missing = [to_base64(peer.key) for peer in movers if not _arrived(peer, new)]
    return (
        f"not moved: within {patience:g} s the path from {new} did not carry to "
        f"{', '.join(missing)}; the old address is kept"
    )
