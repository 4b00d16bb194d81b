"""save and strip: a tunnel's file as it would be now, and as others take it."""

import sys
from argparse import Namespace

from sacip_tun.cli.control import Control
from sacip_tun.cli.names import interface_of
from sacip_tun.cli.parser import Parser
from sacip_tun.cli.terminal import warn
from sacip_tun.client.sockets import socket_of
from sacip_tun.outcome import Exit


def configure(parser: Parser) -> None:
    """Declare `save`."""
    parser.teach(
        "Write what runs into the file that it came from. Comments are lost, names of peers stay.",
        "examples:\n  sacip-tun save sacip0",
    )
    parser.add_argument("name", metavar="NAME", help="the interface, or its file")
    parser.set_defaults(run=_save)


def _save(options: Namespace) -> int:
    name = interface_of(options.name)
    with Control(socket_of(options.directories.run, name)) as control:
        answer = control.request("save")
    for warning in answer.get("warnings", ()):
        warn(warning)
    print(f"saved to {answer['path']}")
    return Exit.OK


def configure_strip(parser: Parser) -> None:
    """Declare `strip`."""
    parser.teach(
        "Print a file without the keys that others refuse to read. It has its secrets in it.",
        "examples:\n  sacip-tun strip sacip0 > wg.conf     # for wg setconf and syncconf\n"
        "  sacip-tun strip --for wg-quick ./laptop.conf",
    )
    parser.add_argument("file", metavar="FILE|NAME", help="a file, or its name")
    parser.add_argument(
        "--for", dest="reader", choices=("wg", "wg-quick"), default="wg", help="else wg"
    )
    parser.set_defaults(run=_strip)


def _strip(options: Namespace) -> int:
    # `save` needs none of it.
    from sacip_tun.cli.mistakes import refusal  # noqa: PLC0415
    from sacip_tun.config import ConfigError, Reader, load_text, stripped  # noqa: PLC0415

    try:
        # What is wrong with it is told here, and not by wg.
        _, text = load_text(options.file, options.directories.configurations)
    except ConfigError as error:
        raise refusal(error) from None
    sys.stdout.write(stripped(text, Reader(options.reader)))
    return Exit.OK
