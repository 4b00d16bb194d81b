"""Saving: what runs is written into the file that it came from, as `wg-quick save` does it.

Keys, the port, the mark and peers are as they are now, and addresses as the interface has them; all
else is as the file says. Comments are lost, as with wg-quick, but for the names of peers.
"""

import asyncio
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from sacip_tun.config import (
    Config,
    ConfigError,
    PeerConfig,
    alone,
    editing,
    parse,
    read,
    replace_text,
    text_of,
)
from sacip_tun.config.model import Interface
from sacip_tun.config.values import host_of
from sacip_tun.daemon.control import Answer, CommandError
from sacip_tun.daemon.quick import Quick
from sacip_tun.daemon.reconfigurer import Reconfigurer
from sacip_tun.linux.snapshot import Snapshot
from sacip_tun.outcome import Exit


class Saver:
    """Saves one interface."""

    def __init__(self, reconfigurer: Reconfigurer, quick: Quick) -> None:
        self._reconfigurer = reconfigurer
        self._quick = quick
        quick.commands["save"] = self.command
        quick.save = self.save_if_asked

    async def command(self, _request: Answer) -> Answer:
        """Save, whatever the file says of that."""
        try:
            warnings = await self._save()
        except ConfigError as error:
            raise CommandError(str(error), error.fix, Exit.BAD_CONFIGURATION) from None
        return {"path": str(self._quick.config.source), "warnings": warnings}

    async def save_if_asked(self) -> None:
        """Save where the file says SaveConfig = true. Raises ConfigError.

        Not where somebody has deleted the interface: what it had is gone with it.
        """
        if self._quick.config.interface.save_config:
            if self._quick.index not in Snapshot.taken().links:
                raise ConfigError("the interface was deleted", "end it with 'sacip-tun down'")
            for warning in await self._save():
                self._quick.journal.note("command-failed", why=warning)

    async def _save(self) -> list[str]:
        """Do it, and return what the user should know."""
        source = self._quick.config.source
        if source is None:
            raise ConfigError("it was not brought up from a file", "write one, for 'up FILE'")
        with ExitStack() as stack:
            # First of all: who changes the file meanwhile changes what runs as well.
            real = await asyncio.to_thread(stack.enter_context, alone(source))
            async with self._reconfigurer.busy:
                running = self._running()
            return await asyncio.to_thread(self._write, source, real, running)

    def _write(self, source: Path, real: Path, running: Config) -> list[str]:
        text = read(real)
        # With all its commands, also those that are not run.
        written = parse(text, running.interface.name, str(source))
        names = {place.key: place.name for place in editing.places(text)}
        return replace_text(real, text_of(_merged(written, running), names=names))

    def _running(self) -> Config:
        """Return what runs, in the words of a file."""
        current = self._reconfigurer.current()
        interface, policy = current.interface, self._quick.surroundings.policy
        # The mark that a full tunnel chose for itself is chosen again.
        asked = self._quick.config.interface.fwmark
        own = not asked and policy is not None and interface.fwmark == policy.table
        changed = replace(
            interface,
            addresses=self._addresses(Snapshot.taken()),
            fwmark=0 if own else interface.fwmark,
        )
        return Config(changed, tuple(map(self._named, current.peers)))

    def _addresses(self, snapshot: Snapshot) -> tuple[Interface, ...]:
        """Return what the interface has: those of the file first, in its order.

        One that is not there has lost nothing that was wanted.
        """
        wanted = self._quick.config.interface.addresses
        if self._quick.index not in snapshot.links:
            return wanted
        there = {
            address.with_prefix
            for address in snapshot.addresses
            if address.interface == self._quick.index and not address.host.is_link_local
        }
        asked = [address for address in wanted if address in there]
        return (*asked, *sorted(there - set(asked), key=str))

    def _named(self, peer: PeerConfig) -> PeerConfig:
        """Keep the name that a user gave: where it leads now is no news to anybody."""
        asked = self._reconfigurer.peers[peer.public_key].endpoint
        return peer if asked is None or host_of(asked.host) else replace(peer, endpoint=asked)


def _merged(written: Config, running: Config) -> Config:
    now = running.interface
    interface = replace(
        written.interface,
        addresses=now.addresses,
        private_key=now.private_key,
        listen_port=now.listen_port,
        fwmark=now.fwmark,
    )
    return Config(interface, running.peers)
