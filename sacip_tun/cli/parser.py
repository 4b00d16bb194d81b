"""The command line: a table of commands, of which only the one that was asked for is imported.

`sacip-tun status` is typed often and runs in health checks: it must not pay for what `up` needs.
So a command's module is imported when it is named, and may then import at its top what it likes.
It offers `configure(parser)`, which declares arguments and examples and sets `run`, a function of
the parsed arguments that returns the exit code.
"""

import re
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from importlib import import_module
from typing import NoReturn

from sacip_tun import __version__
from sacip_tun.cli.terminal import complain
from sacip_tun.outcome import Exit, Failure, epilog_of_codes


@dataclass(frozen=True, slots=True)
class Command:
    """One row of the table: where the command lives and what it does in a line."""

    module: str
    summary: str
    configure: str = "configure"


COMMANDS = {
    "up": Command("up", "bring a tunnel up"),
    "down": Command("down", "take a tunnel down and undo what 'up' made"),
    "reload": Command("reload", "read a tunnel's file again, and change what it changes"),
    "save": Command("save", "write what runs into the file that it came from"),
    "strip": Command("save", "print a file as wg or wg-quick take it", "configure_strip"),
    "cleanup": Command("cleanup", "undo what tunnels left that were killed"),
    "status": Command("status", "show tunnels, peers, addresses and the last moves"),
    "monitor": Command("monitor", "print events while they happen, one a line"),
    "wait": Command("wait", "wait until a tunnel is up, its peer is there, or a move is done"),
    "move": Command("move", "move to another address, telling the peers first"),
    "peer": Command("peer", "add, list and remove the peers of a hub"),
    "lab": Command("lab", "a network on this machine to watch a tunnel move in"),
    "genkey": Command("keys", "print a new private key", "configure_genkey"),
    "pubkey": Command("keys", "print the public key of a private key", "configure_pubkey"),
    "genpsk": Command("keys", "print a new preshared key", "configure_genpsk"),
}

DESCRIPTION = """\
A VPN tunnel that does not notice when your address changes. It speaks the
WireGuard protocol, takes wg-quick's files unchanged, and keeps connections
inside the tunnel alive while the addresses outside change.
"""

EXAMPLES = """\
examples:
  sacip-tun up sacip0                /etc/sacip-tun/sacip0.conf, or wg-quick's
  sacip-tun up ./laptop.conf         a file; its stem is the interface
  sacip-tun status                   what runs, and which addresses are in use
  sacip-tun move --to 192.168.1.2/24  a planned change of address
  sacip-tun down sacip0

'sacip-tun COMMAND --help' has examples for each command.
"""


class Parser(ArgumentParser):
    """argparse with examples, exit codes, and the nearest choice in its errors."""

    def __init__(self, prog: str, description: str = "", examples: str = "") -> None:
        super().__init__(
            prog=prog,
            allow_abbrev=False,
            formatter_class=partial(RawDescriptionHelpFormatter, max_help_position=28, width=90),
        )
        self.teach(description, examples)

    def teach(self, description: str, examples: str) -> None:
        """Set what `--help` says beside the arguments."""
        self.description = description
        self.epilog = f"{examples.rstrip()}\n\n{epilog_of_codes()}"

    def error(self, message: str) -> NoReturn:
        """Print what is wrong and where the help is; exit with 2."""
        complain(message, f"{self._nearest(message)}see '{self.prog} --help'")
        sys.exit(Exit.USAGE)

    def _nearest(self, message: str) -> str:
        if match := re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message):
            near = get_close_matches(match[1], re.findall(r"'([^']*)'", match[2]), n=1)
        elif match := re.search(r"unrecognized arguments: (\S+)", message):
            options = [name for action in self._actions for name in action.option_strings]
            near = get_close_matches(match[1], options, n=1)
        else:
            near = []
        return f"did you mean {near[0]}? Otherwise " if near else ""


def build(command: str) -> tuple[Parser, Parser]:
    """Return the parser of the whole line and the parser of `command`, the only one configured.

    Where `command` is no command, both are the same. Raises Failure where its module is missing.
    """
    # One that is known needs no other beside it: each takes 0.2 ms to declare.
    parser, children = _table([command] if command in COMMANDS else COMMANDS)
    if command in children:
        _configure(COMMANDS[command], children[command])
    return parser, children.get(command, parser)


def whole() -> tuple[Parser, dict[str, Parser]]:
    """Return the parser with every command configured, and theirs: for manuals and completion."""
    parser, children = _table(COMMANDS)
    for name, child in children.items():
        _configure(COMMANDS[name], child)
    return parser, children


def _table(names: Iterable[str]) -> tuple[Parser, dict[str, Parser]]:
    parser = Parser("sacip-tun", DESCRIPTION, EXAMPLES)
    parser.add_argument("--version", action="version", version=f"sacip-tun {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    # argparse lists the commands in the order in which they are added.
    children = {name: commands.add_parser(name, help=COMMANDS[name].summary) for name in names}
    for name, child in children.items():
        child.prog = f"sacip-tun {name}"
    return parser, children


def _configure(row: Command, parser: Parser) -> None:
    try:
        module = import_module(f"sacip_tun.cli.{row.module}")
    except ModuleNotFoundError as error:
        raise Failure(
            f"this installation lacks the module {error.name}", "install sacip-tun again"
        ) from None
    getattr(module, row.configure)(parser)
