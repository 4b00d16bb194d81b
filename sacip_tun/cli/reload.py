"""reload: the running tunnel becomes what its file says now; `--dry-run` only says what would."""

from argparse import Namespace

from sacip_tun.cli.control import Control
from sacip_tun.cli.names import interface_of
from sacip_tun.cli.parser import Parser
from sacip_tun.cli.terminal import warn
from sacip_tun.client.sockets import socket_of
from sacip_tun.outcome import Exit

# A file may have thousands of peers.
PATIENCE = 60.0


def configure(parser: Parser) -> None:
    """Declare `reload`."""
    parser.teach(
        "Read a running tunnel's file again, and change what it changes: all of it or nothing. "
        "Peers of which nothing changed lose no packet. Prints what is different. "
        "PreUp and PostUp are not run again.",
        "examples:\n  sacip-tun reload sacip0 --dry-run\n  sacip-tun reload sacip0",
    )
    parser.add_argument("name", metavar="NAME", help="the interface, or its file")
    parser.add_argument(
        "--dry-run", "--diff", action="store_true", help="print the difference, change nothing"
    )
    parser.set_defaults(run=_reload)


def _reload(options: Namespace) -> int:
    name = interface_of(options.name)
    with Control(socket_of(options.directories.run, name), PATIENCE) as control:
        answer = control.request("reload", dry_run=options.dry_run)
    for warning in answer["warnings"]:
        warn(warning)
    for line in answer["difference"]:
        print(line)
    if answer["restart_for"]:
        warn(f"only a new 'up' changes {', '.join(answer['restart_for'])}")
    if not options.dry_run or not answer["difference"]:
        print(f"{name} is what its file says")
    return Exit.OK
