"""Reload: the file is read again, and the running tunnel becomes what it says, or nothing changes.

Keys, port, mark and peers are changed while packets move, and so are addresses, MTU, routes, rules,
firewall and name servers; a peer that the file says the same of as before is not touched. Only what
belongs to the interface's own making is named, and left to a restart.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from difflib import unified_diff

from sacip_tun.config import Config, ConfigError, InterfaceConfig, PeerConfig, load, text_of
from sacip_tun.daemon.changes import Change, PeerChange
from sacip_tun.daemon.control import Answer, CommandError
from sacip_tun.daemon.outlets import Outlets
from sacip_tun.daemon.quick import NotTakenBackError, Quick
from sacip_tun.daemon.reconfigurer import Reconfigurer
from sacip_tun.linux.errors import SetupError
from sacip_tun.outcome import Exit
from sacip_tun.protocol.keys import NO_PRIVATE_KEY
from sacip_tun.protocol.tunnel import Tunnel

# Fields of InterfaceConfig that only a new interface has otherwise, as users write them.
AT_START = {
    "offload": "Offload",
    "hold_megabytes": "HoldMegabytes",
    "resend_megabytes": "ResendMegabytes",
    "dscp": "Dscp",
    "event_hooks": "EventHook",
}


class Reloader:
    """Reads the file that a tunnel came from; requests that come meanwhile are one more reload."""

    def __init__(
        self,
        reconfigurer: Reconfigurer,
        tunnel: Tunnel,
        outlets: Outlets,
        quick: Quick,
    ) -> None:
        self._reconfigurer = reconfigurer
        self._tunnel = tunnel
        self._outlets = outlets
        self._journal = quick.journal
        self._quick = quick
        quick.commands["reload"] = self.command
        self._wanted = asyncio.Event()
        self._busy = asyncio.Lock()

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
            async with self._busy:
                await self._apply(await asyncio.to_thread(self._read))
        except (ConfigError, SetupError, OSError) as error:
            self._journal.note("request-refused", why=f"reload: {error}")

    async def command(self, request: Answer) -> Answer:
        """Do it for somebody who waits; with `dry_run` only say what would change."""
        try:
            async with self._busy:
                config = await asyncio.to_thread(self._read)
                answer: Answer = {
                    "difference": self._difference(config),
                    "restart_for": list(self._left(config)),
                    "warnings": list(config.warnings),
                }
                if not request.get("dry_run"):
                    told = len(self._quick.warnings)
                    await self._apply(config)
                    answer["warnings"] = [*config.warnings, *self._quick.warnings[told:]]
        except ConfigError as error:
            raise CommandError(str(error), error.fix, Exit.BAD_CONFIGURATION) from None
        except NotTakenBackError as error:
            raise CommandError(error.cause, error.fix) from None
        except SetupError as error:
            raise CommandError(error.cause, f"nothing was changed; {error.fix}") from None
        except OSError as error:
            raise CommandError(str(error), "nothing was changed") from None
        return answer

    def _read(self) -> Config:
        began = self._quick.config
        if began.source is None:
            raise ConfigError("it was not brought up from a file", "change it with wg")
        config = load(str(began.source))
        return config.asked(no_commands=began.no_commands, kill_switch=began.closed)

    async def _apply(self, config: Config) -> None:
        """Change the host first: that can fail, and is taken back where the port cannot be had."""
        before, mark_before = self._quick.config, self._outlets.mark
        change = self._change(config)
        wanted = await self._quick.plan(config)
        if wanted is not None:
            # Before there are rules: what is not marked would go into the tunnel itself.
            await self._reconfigurer.apply(Change(fwmark=wanted.mark))
        try:
            mark = await self._quick.change(config, self._outlets.port)
        except (SetupError, OSError):
            await self._reconfigurer.apply(Change(fwmark=mark_before))
            raise
        self._reconfigurer.need_mark(mark if config.full_versions else 0)
        try:
            await self._reconfigurer.apply(replace(change, fwmark=mark))
        except (SetupError, OSError):
            mark = await self._quick.change(before, self._outlets.port)
            self._reconfigurer.need_mark(mark if before.full_versions else 0)
            await self._reconfigurer.apply(Change(fwmark=mark))
            raise
        kept = {name: getattr(self._reconfigurer.interface, name) for name in AT_START}
        running = self._reconfigurer.interface
        self._reconfigurer.interface = replace(
            config.interface,
            private_key=running.private_key,
            listen_port=running.listen_port,
            fwmark=running.fwmark,
            **kept,
        )
        later = ", ".join(self._left(config)) or None
        self._journal.note("reloaded", peers=len(change.peers), restart_for=later)

    def _change(self, config: Config) -> Change:
        interface = config.interface
        return Change(
            private_key=interface.private_key if interface.has_key else None,
            listen_port=interface.listen_port,
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
        if set(self._networks(before).allowed_ips) != set(peer.allowed_ips):
            return False
        return replace(before, allowed_ips=()) == replace(peer, allowed_ips=())

    def _networks(self, peer: PeerConfig) -> PeerConfig:
        """Return a peer with the networks that it has now: they move from peer to peer."""
        known = self._tunnel.peers.glance(peer.public_key)
        return replace(peer, allowed_ips=tuple(self._tunnel.networks_of(known)))

    def _running(self) -> Config:
        """What runs, in the words of a file."""
        running = self._reconfigurer.interface
        policy = self._quick.surroundings.policy
        own = policy is not None and running.fwmark == policy.table
        interface = replace(
            self._quick.config.interface,
            private_key=running.private_key,
            listen_port=running.listen_port,
            fwmark=self._quick.config.interface.fwmark if own else running.fwmark,
        )
        return Config(interface, tuple(map(self._networks, self._reconfigurer.peers.values())))

    def _difference(self, config: Config) -> list[str]:
        running = self._running()
        if not config.interface.has_key:  # PostUp has set it, and it stays
            interface = replace(running.interface, private_key=NO_PRIVATE_KEY)
            running = replace(running, interface=interface)
        texts = (text_of(_sorted(c), secrets=False) for c in (running, config))
        old, new = (text.splitlines() for text in texts)
        return list(unified_diff(old, new, "running", str(config.source), lineterm="", n=1))

    def _left(self, config: Config) -> Iterator[str]:
        """Name what the file says otherwise than at the start, and only a restart brings."""
        running: InterfaceConfig = self._reconfigurer.interface
        for field, name in AT_START.items():
            if getattr(running, field) != getattr(config.interface, field):
                yield name


def _sorted(config: Config) -> Config:
    """Return it with what has no order in one order."""
    peers = (
        replace(peer, allowed_ips=tuple(sorted(peer.allowed_ips, key=str)))
        for peer in sorted(config.peers, key=lambda peer: peer.public_key)
    )
    return replace(config, peers=tuple(peers))
