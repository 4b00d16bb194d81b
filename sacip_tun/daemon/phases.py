"""PreUp, PostUp, PreDown and PostDown: the user's own shell lines, run as wg-quick runs them.

One after the other, each in a bash of its own with `set -e`, `%i` being the interface. One that
fails ends `up`, or keeps the interface when it is a PreDown of `down`. These are the words of a
file that only root can write; nothing that a peer sent comes near them.
"""

import asyncio
import os
from collections.abc import Callable, Sequence

from sacip_tun.config import Config
from sacip_tun.config.model import SETS_KEY
from sacip_tun.daemon.due import Due
from sacip_tun.linux.errors import SetupError
from sacip_tun.linux.shell import begun, environment_of

# What a command may say in `down`, in bytes, before the rest is left out.
MAX_SAID = 16 * 1024

Trace = Callable[[str], None]


class CommandFailed(SetupError):  # noqa: N818 - named as its neighbours of the command line are
    """A command of the file ended with an error."""


class Phases:
    """The commands of one interface. `said` is what those of `down` printed."""

    def __init__(self, config: Config, trace: Trace) -> None:
        self._interface = config.interface
        self._environment = environment_of(config.interface.name, str(config.source or ""))
        self._trace = trace
        self._up = False
        self._left = False
        self._leaving = asyncio.Lock()
        self.said = ""

    def follow(self, config: Config) -> None:
        """Take the commands of a file that was read again."""
        self._interface = config.interface

    async def make_up_for(self, due: Due) -> None:
        """Run PostDown of a process that was killed. Raises CommandFailed."""
        await self._run("PostDown of the process before", due.lines)

    @property
    def come_up(self) -> bool:
        """Whether there is any PreUp or PostUp."""
        return bool(self._interface.pre_up or self._interface.post_up)

    def were_run(self) -> None:
        """Take PreUp and PostUp for run: an earlier process did it."""
        self._up = True

    async def before_up(self) -> None:
        """Run PreUp. Raises CommandFailed."""
        await self._run("PreUp", self._interface.pre_up)

    async def after_up(self) -> None:
        """Run PostUp. Raises CommandFailed."""
        await self._run("PostUp", self._interface.post_up)
        self._up = True

    async def set_key(self) -> None:
        """Run what of PostUp sets the private key: an earlier process took it along."""
        if not self._interface.has_key:
            await self._run("PostUp", list(filter(SETS_KEY.search, self._interface.post_up)))

    async def before_down(self) -> None:
        """Run PreDown, once. Raises CommandFailed, and may be called again then."""
        async with self._leaving:
            if self._up and not self._left:
                await self._run("PreDown", self._interface.pre_down, heard=True)
                self._left = True

    async def after_down(self) -> None:
        """Run PostDown, if the interface was ever up. Raises CommandFailed."""
        if self._up:
            await self._run("PostDown", self._interface.post_down, heard=True)

    async def _run(self, phase: str, commands: Sequence[str], *, heard: bool = False) -> None:
        for command in commands:
            line = command.replace("%i", self._interface.name)
            self._trace(line)
            code = await self._heard(line) if heard else await self._execute(line, None)
            if code:
                raise CommandFailed(
                    f"{phase} failed with exit status {code}", "mend that line, or use --no-hooks"
                )

    async def _heard(self, line: str) -> int:
        """Keep what a command says: nobody sees where a daemon prints to."""
        descriptor = os.memfd_create("sacip-tun command")
        try:
            code = await self._execute(line, descriptor)
            self.said += os.pread(descriptor, MAX_SAID, 0).decode(errors="replace")
        finally:
            os.close(descriptor)
        return code

    async def _execute(self, line: str, output: int | None) -> int:
        """Wait for the command itself, and not for what it leaves behind in the background.

        uvloop's own subprocesses would: they wait until a pipe of theirs is closed by all.
        """
        process = begun(line, self._environment, output)
        try:
            return await asyncio.to_thread(process.wait)
        except asyncio.CancelledError:
            # Who ends a start undoes it next: the line must not go on meanwhile.
            process.terminate()
            await asyncio.to_thread(process.wait)
            raise
