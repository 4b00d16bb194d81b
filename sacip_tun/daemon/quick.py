"""What wg-quick does around a WireGuard interface, for one service.

The service makes the interface and moves packets; this says when the host around it is changed, and
answers `down`. While packets move it is changed by the worker alone.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

from sacip_tun.config import Config, ConfigError
from sacip_tun.daemon.control import Answer, Command, CommandError
from sacip_tun.daemon.hooks import Hooks
from sacip_tun.daemon.journal import Journal
from sacip_tun.daemon.keeper import Keeper
from sacip_tun.daemon.loopguard import LoopGuard
from sacip_tun.daemon.outlets import Outlets
from sacip_tun.daemon.phases import CommandFailed, Phases
from sacip_tun.daemon.reconciler import Reconciler
from sacip_tun.daemon.setup import derived_mtu, leads_on, routes_of, set_up
from sacip_tun.daemon.status import surroundings_document
from sacip_tun.daemon.surroundings import KEPT, SHUT, Surroundings
from sacip_tun.daemon.watcher import Watcher
from sacip_tun.daemon.worker import Worker
from sacip_tun.linux import interface, unit_job
from sacip_tun.linux.errors import InterfaceError, SetupError
from sacip_tun.linux.policy import Policy
from sacip_tun.linux.routes import TABLE_MAIN


class NotTakenBackError(InterfaceError):
    """A change failed half way, and so did the way back."""


async def _nothing() -> None:
    """Do nothing."""


class Quick:
    """The host around one interface. `stop` ends the service."""

    def __init__(
        self, config: Config, directory: Path, journal: Journal, stop: Callable[[], None]
    ) -> None:
        self._config = config
        self.journal = journal
        self._stop = stop
        self.trace: Callable[[str], None] = lambda _line: None
        """Told each step that changes this host, as the command that does the same."""
        self.phases = Phases(config, self._traced)
        self.surroundings = Surroundings(config.interface.name, directory, self._traced)
        self.commands: dict[str, Command] = {"down": self.down}
        """What the control socket answers about the interface as a whole."""
        self.worker = Worker()
        """Whatever changes this host while packets move."""
        self._reconciler: Reconciler | None = None
        self.index = 0
        self.save: Callable[[], Awaitable[None]] = _nothing
        """Called while all is still there, after PreDown. Raises ConfigError."""
        self._problems: list[str] = []
        self._taken_down = self._was_up = False
        self._keeper: Keeper
        self._hooks: Hooks
        self._undone: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()

    # Coming up

    def begin(self, stack: AsyncExitStack, keeper: Keeper) -> int:
        """Undo what a killed one left, and keep events for hooks.

        Returns the mark that the outer sockets need, 0 for none. What belongs to an interface that
        `keeper` gives back is not undone.
        """
        self._keeper = keeper
        stack.push_async_callback(self._end)
        settings = self._config.interface
        wanted = self.surroundings.begin(self._config, kept=keeper.has_tun(settings.name))
        self._hooks = Hooks(settings.event_hooks, settings.name, self.journal)
        self._hooks.listen()
        stack.push_async_callback(self._hooks.stop)
        return wanted.mark if wanted else 0

    async def make_up(self) -> None:
        """Run PostDown of a process that was killed and had run its PostUp: there is no interface.

        It is a warning where it fails, or where no commands are wanted now.
        """
        due = self.surroundings.due
        if not due.lines:
            return
        if self._config.no_commands:
            self.surroundings.warnings.append(
                f"PostDown of the process before is not run: {'; '.join(due.lines)}"
            )
            return
        try:
            await self.phases.make_up_for(due)
        except CommandFailed as error:
            self.surroundings.warnings.append(error.cause)

    async def before_up(self) -> None:
        """Run PreUp, unless what it did is still there. Raises CommandFailed."""
        if not self.surroundings.commands_were_run:
            await self.phases.before_up()

    async def _after_up(self) -> None:
        if self.surroundings.commands_were_run:
            self.phases.were_run()
            await self.phases.set_key()
        else:
            await self.phases.after_up()
        await self.worker.do(self._remember_commands)
        self._was_up = True

    def _remember_commands(self) -> None:
        """Write down what a process after this one has to know, if it is killed."""
        again = self.phases.come_up and self._keeper.is_supervised
        if again or self._config.interface.post_down:
            self.surroundings.commands_run(self._config)
        else:
            self.surroundings.commands_over()

    def configure(self, index: int, mark: int, *, prune: bool = False) -> int:
        """Give the interface its addresses, MTU and routes; return the MTU. Raises InterfaceError.

        `mark` is that of the outer sockets, by which their routes are found. With `prune` the
        interface has something from an earlier time.
        """
        mtu = set_up(index, self._config, self.surroundings.policy, mark, prune=prune)
        if len(interface.carried(index, self._config.routes)) < len(self._config.routes):
            self.surroundings.warnings.append(
                "IPv6 is off on this host: what AllowedIPs say of it is not routed"
            )
        return mtu

    async def finish(self, stack: AsyncExitStack, index: int, port: int, watcher: Watcher) -> None:
        """Change what is not the interface's own, when names of peers have been looked up.

        Raises SetupError, OSError.
        """
        self.index = index
        stack.push_async_callback(self._take_down)
        await self.worker.do(partial(self.surroundings.put_up, self._config, index, port))
        self._reconciler = Reconciler(self.surroundings, watcher, index, self.journal.note)
        await self._reconciler.start(stack, self.worker)
        await self._after_up()
        self._hooks.start()

    async def rebound(self, guard: LoopGuard, outlets: Outlets) -> None:
        """Let the loop guard, rules and firewall be about the port and mark that are in use now."""
        guard.listens_on(outlets.port)

        def follow() -> None:
            self.surroundings.follow(self._config, outlets.port, outlets.mark)

        try:
            await self.worker.do(self._renewed(follow))
        except (SetupError, OSError) as error:
            self.journal.note("command-failed", why=f"{error}; it is tried again")
            if self._reconciler is not None:
                self._reconciler.distrust()
        self._attend()

    async def expect(self, mark: int) -> None:
        """Let outer datagrams with another mark leave as well, until `rebound`.

        Raises SetupError, OSError, and then nothing is changed.
        """
        await self.worker.do(self._renewed(partial(self.surroundings.expect, mark)))

    def _renewed(self, work: Callable[[], None]) -> Callable[[], None]:
        """Return `work` with a look at the firewall behind it, for the worker."""

        def adapt() -> None:
            work()
            if self._reconciler is not None:
                self._reconciler.renew()

        return adapt

    @property
    def warnings(self) -> list[str]:
        """What the user should know though the interface is up."""
        return self.surroundings.warnings

    @property
    def document(self) -> Answer:
        """What the status says of this host."""
        put_back = self._reconciler.last if self._reconciler else None
        source = self._config.source
        return {
            "source": None if source is None else str(source),
            **surroundings_document(self.surroundings),
            "put_back": put_back,
        }

    # Changing

    @property
    def config(self) -> Config:
        """What was asked for last."""
        return self._config

    async def plan(self, new: Config) -> Policy | None:
        """Return what another configuration wants of the rules. Raises OSError."""
        return await self.worker.do(partial(self.surroundings.plan, new))

    async def change(self, new: Config, port: int) -> int:
        """Let the host be as another configuration wants it; return the mark of outer sockets.

        What is wanted comes first, then goes what is not. Where something fails, all is as before.
        Raises SetupError, OSError.
        """
        mark = await self.worker.do(partial(self._change, new, port))
        self._attend()
        return mark

    def _attend(self) -> None:
        if self._reconciler is not None:
            self._reconciler.attend()

    def _change(self, new: Config, port: int) -> int:
        if self._taken_down:
            raise InterfaceError("it is about to end", "bring it up again")
        old = self._config
        before = self.surroundings.policy
        try:
            self._go(old, new, self.surroundings.plan(new), port)
        except (SetupError, OSError) as first:
            try:
                self._go(new, old, before, port)
            except (SetupError, OSError) as second:
                if self._reconciler is not None:
                    self._reconciler.distrust()
                raise NotTakenBackError(
                    f"{first}; nor could all be made as it was: {second}",
                    f"sacip-tun down {old.interface.name}, and up again",
                ) from second
            raise
        self._config = new
        self.phases.follow(new)
        if self._was_up:
            with contextlib.suppress(OSError):
                self._remember_commands()
        wanted = self.surroundings.policy
        return wanted.mark if wanted else new.interface.fwmark

    def _go(self, old: Config, new: Config, wanted: Policy | None, port: int) -> None:
        index, addresses = self.index, new.interface.addresses
        before = routes_of(old, self.surroundings.policy)
        after = routes_of(new, wanted)
        connected = TABLE_MAIN in after
        if connected != (TABLE_MAIN in before):
            interface.change_addresses(index, old.interface.addresses, ())
        interface.change_addresses(index, old.interface.addresses, addresses, connected=connected)
        # The rules are still those of before: only their mark leads to the peers.
        policy = self.surroundings.policy or wanted
        mark = policy.mark if policy else new.interface.fwmark
        interface.set_mtu(index, new.interface.mtu or derived_mtu(new, mark), addresses)
        for table, routes in after.items():
            known = addresses if table == TABLE_MAIN else ()
            interface.add_routes(index, routes, table, known, gateways=leads_on(wanted))
        self.surroundings.change(new, wanted, index, port)
        for table, routes in before.items():
            gone = set(routes) - set(after.get(table, ()))
            if table == TABLE_MAIN:
                gone -= {address.network for address in addresses}
            interface.delete_routes(index, gone, table)
        if self._reconciler is not None:
            self._reconciler.renew()

    # Going down

    async def leave(self) -> None:
        """Do what is to be done while the interface is still there."""
        await self._whatever_happens(self.phases.before_down())
        await self._whatever_happens(self.worker.do(self.surroundings.commands_over))
        await self._whatever_happens(self.save(), "it is not saved: ")

    async def _whatever_happens(self, step: Awaitable[None], prefix: str = "") -> None:
        """Do a step of the way down; where it fails, what comes after it is done nevertheless."""
        try:
            await step
        except CommandFailed as error:
            self._problems.append(error.cause)
        except (ConfigError, SetupError, OSError) as error:
            self._problems.append(f"{prefix}{error}")

    async def down(self, _request: Answer) -> Answer:
        """Answer when all is undone; a PreDown that fails keeps the interface, as in wg-quick."""
        try:
            await self.phases.before_down()
        except CommandFailed as error:
            raise CommandError(error.cause, error.fix) from None
        self._stop()
        problems = await asyncio.shield(self._undone)
        if problems:
            name = self._config.interface.name
            fix = "mend it before the next time; all else is undone"
            if self.surroundings.is_left:
                fix = f"'sacip-tun cleanup {name}' undoes what is left"
            raise CommandError(f"it is down, but: {'; '.join(problems)}", fix)
        return {"said": self.phases.said}

    async def _take_down(self) -> None:
        await self._whatever_happens(self.worker.do(self._undo))

    def _undo(self) -> None:
        if not self._taken_down:
            self._taken_down = True
            self._problems += self.surroundings.take_down(self._kept())

    def _kept(self) -> frozenset[str]:
        """Return what stays when this process ends; nothing where `down` was asked for.

        Rules and firewall of one that was up stay for the process that a service manager starts
        next, and with a kill switch also where none may come. One that never came up leaves what
        an earlier one had shut.
        """
        surroundings = self.surroundings
        if self._keeper.final:
            return frozenset()
        if self._was_up:
            if not (self._keeper.is_supervised and surroundings.policy):
                return frozenset()
            return SHUT if surroundings.is_shut or unit_job.is_restart() else frozenset()
        if not surroundings.held:
            return frozenset()
        return SHUT if surroundings.adopted else KEPT

    async def _end(self) -> None:
        """What is done when the interface is gone; who asked for that is told how it went."""
        await self._take_down()
        await self._whatever_happens(self.phases.after_down())
        for problem in self._problems:
            self.journal.note("command-failed", why=problem)
        self._undone.set_result(self._problems)

    def _traced(self, line: str) -> None:
        self.trace(line)
