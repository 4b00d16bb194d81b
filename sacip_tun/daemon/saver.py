"""Saving: what runs is written into the file that it came from, as `wg-quick save` does it.

Keys, the port, the mark and peers are as they are now, and addresses as the interface has them; all
else is as the file says. Comments are lost, as with wg-quick.
"""

import asyncio
from dataclasses import replace
from ipaddress import ip_interface

from sacip_tun.config import (
    Config,
    ConfigError,
    PeerConfig,
    alone,
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
            await self._save()
        except ConfigError as error:
            raise CommandError(str(error), error.fix, Exit.BAD_CONFIGURATION) from None
        return {"path": str(self._quick.config.source)}

    async def save_if_asked(self) -> None:
        """Save where the file says SaveConfig = true. Raises ConfigError."""
        if self._quick.config.interface.save_config:
            await self._save()

    async def _save(self) -> None:
        source = self._quick.config.source
        if source is None:
            raise ConfigError("it was not brought up from a file", "write one, for 'up FILE'")
        async with self._reconfigurer.busy:
            running = self._reconfigurer.current()
        addresses = self._addresses(Snapshot.taken())

        def write() -> None:
            with alone(source) as real:
                # With all its commands, also those that are not run.
                written = parse(read(real), self._quick.config.interface.name, str(source))
                replace_text(real, text_of(self._merged(written, running, addresses)))

        await asyncio.to_thread(write)

    def _addresses(self, snapshot: Snapshot) -> tuple[Interface, ...]:
        """Return what the interface has: those of the file first, in its order."""
        there = {
            ip_interface(f"{address.host}/{address.prefix_length}")
            for address in snapshot.addresses
            if address.interface == self._quick.index and not address.host.is_link_local
        }
        asked = [a for a in self._quick.config.interface.addresses if a in there]
        return (*asked, *sorted(there - set(asked), key=str))

    def _merged(self, written: Config, running: Config, addresses: tuple[Interface, ...]) -> Config:
        interface, policy = running.interface, self._quick.surroundings.policy
        # The mark that a full tunnel chose for itself is chosen again.
        chosen = policy is not None and not self._quick.config.interface.fwmark
        own = chosen and policy is not None and interface.fwmark == policy.table
        changed = replace(
            written.interface,
            addresses=addresses,
            private_key=interface.private_key,
            listen_port=interface.listen_port,
            fwmark=0 if own else interface.fwmark,
        )
        return Config(changed, tuple(map(self._named, running.peers)))

    def _named(self, peer: PeerConfig) -> PeerConfig:
        """Keep the name that a user gave: where it leads now is no news to anybody."""
        asked = self._reconfigurer.peers[peer.public_key].endpoint
        return peer if asked is None or host_of(asked.host) else replace(peer, endpoint=asked)
