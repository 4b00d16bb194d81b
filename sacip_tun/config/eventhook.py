"""EventHook: a command, and for which kinds of events it is run.

    EventHook = /usr/local/bin/tell %i
    EventHook = moved, peer moved: /usr/local/bin/tell "with spaces"

1. What begins with `/` is a command. Anything else is a list of kinds, a colon and a command.
2. Without kinds it is run for those that an application is told: sacip_tun.agreement.TOLD.
3. The command is cut into words as a shell does, and no shell sees it: no variables, no pipes.
"""

import shlex

from sacip_tun.agreement import OWN, TOLD, known_kind
from sacip_tun.config.errors import ConfigError
from sacip_tun.config.model import EventHook

EXAMPLE = "write it as 'EventHook = /path/to/program', or 'EventHook = moved: /path/to/program'"


def event_hook(text: str) -> EventHook:
    """Read one value; raises ConfigError, which never repeats the command: it may hold a secret."""
    if text.startswith("/"):
        return EventHook(TOLD, _words(text))
    kinds, colon, command = text.partition(":")
    if not colon:
        raise ConfigError("this is neither a command with its whole path nor kinds of it", EXAMPLE)
    return EventHook(tuple(dict.fromkeys(map(_kind, kinds.split(",")))), _words(command.strip()))


def _kind(text: str) -> str:
    if not text.strip():
        raise ConfigError("there is an empty place among the kinds of events", EXAMPLE)
    try:
        kind = known_kind(text.strip())
    except ValueError as error:
        cause, _, hint = str(error).partition(": ")
        raise ConfigError(cause, f"{hint}; docs/events.md has all") from None
    if kind in OWN:
        raise ConfigError(f"no hook can be run for {kind!r}", f"there are {', '.join(TOLD)}")
    return kind


def _words(command: str) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(command))
    except ValueError:
        raise ConfigError("a quotation in this command has no end", "close it") from None
    if not words or not words[0].startswith("/"):
        raise ConfigError("a hook needs the whole path of its program", EXAMPLE)
    return words
