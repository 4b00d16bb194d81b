"""down: ask the daemon to undo what `up` made, and wait until it has."""

import socket
import sys
from argparse import Namespace
from contextlib import suppress

from sacip_tun.cli.cleanup import clean
from sacip_tun.cli.control import Control
from sacip_tun.cli.names import interface_of
from sacip_tun.cli.parser import Parser
from sacip_tun.client.sockets import socket_of
from sacip_tun.outcome import Exit, Failure

# Routes, addresses and the interface go in milliseconds, but PreDown and PostDown take their time.
UNDO_TIME = 120.0


def configure(parser: Parser) -> None:
    """Declare `down`."""
    parser.teach(
        "Take a tunnel down; return when the interface, its addresses and its routes are gone.",
        "examples:\n  sacip-tun down sacip0\n  sacip-tun down ./laptop.conf",
    )
    parser.add_argument(
        "name", metavar="NAME", help="the interface, or the file that 'up' was given"
    )
    parser.set_defaults(run=_down)


def _down(options: Namespace) -> int:
    name = interface_of(options.name)
    directory = options.directories.run
    try:
        control = Control(socket_of(directory, name), UNDO_TIME)
    except Failure as failure:
        # A daemon that was killed did not undo it.
        left = (directory / f"{name}.undo", directory / f"{name}.sock")
        if failure.code == Exit.NOT_RUNNING and any(path.exists() for path in left):
            _check_not_kept(name)
            if clean(directory, name):
                return Exit.OK
        raise
    with control:
        said = control.request("down").get("said")
        # A second `down` at the same time ends this connection as it ends the interface.
        with suppress(Failure):
            control.wait_closed()
    if said:
        print(said, end="", file=sys.stderr)
    print(f"{name} is down")
    return Exit.OK


def _check_not_kept(name: str) -> None:
    """Raises Failure where the interface outlived its daemon: the next one is about to have it."""
    with suppress(OSError):
        socket.if_nametoindex(name)
        raise Failure(
            f"{name} is still there: a service manager keeps it, and starts its daemon again",
            f"systemctl stop sacip-tun@{name}, then 'sacip-tun cleanup {name}'",
            Exit.FAILED,
        )
