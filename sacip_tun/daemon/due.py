"""What is due: PostDown of a process that was killed, as its undo log has it.

It is written down when PostUp has been run, with the lines of then. Who finds it undoes all else
first, and forgets it before it is run: no line is run twice, and none under the lock of the logs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from sacip_tun.config import Config
from sacip_tun.linux.shell import begun, environment_of
from sacip_tun.linux.undo import UndoLog

# The kind of the step that says it, and that PreUp and PostUp were run.
COMMANDS = "commands"


@dataclass(frozen=True, slots=True)
class Due:
    """The lines of one interface, %i being replaced, and the file that they came from."""

    interface: str
    lines: Sequence[str] = ()
    source: str = ""

    @classmethod
    def of(cls, log: UndoLog) -> Self:
        """Return what a log says is due."""
        step = next(iter(log.of(COMMANDS)), {})
        return cls(log.interface, step.get("post_down", ()), step.get("source", ""))

    @classmethod
    def by(cls, config: Config) -> Self:
        """Return what will be due when the interface of a configuration is gone."""
        name = config.interface.name
        lines = [line.replace("%i", name) for line in config.interface.post_down]
        return cls(name, lines, str(config.source or ""))

    def remember(self, log: UndoLog) -> None:
        """Write it down, in place of what was due before. Raises OSError."""
        log.drop(COMMANDS)
        log.remember(COMMANDS, post_down=list(self.lines), source=self.source)

    def run(self) -> list[str]:
        """Run the lines, until one fails; returns what failed."""
        environment = environment_of(self.interface, self.source)
        for line in self.lines:
            try:
                code = begun(line, environment).wait()
            except OSError as error:
                return [f"PostDown of {self.interface} cannot be run: {error}"]
            if code:
                return [f"PostDown of {self.interface} failed with exit status {code}"]
        return []
