"""move: the planned change of address, told to the peers before the old address goes."""

from argparse import Namespace
from ipaddress import ip_interface

from sacip_tun.cli.control import Control
from sacip_tun.cli.parser import Parser
from sacip_tun.cli.quantities import milliseconds
from sacip_tun.cli.terminal import printable
from sacip_tun.client.lines import Answer
from sacip_tun.client.sockets import chosen
from sacip_tun.outcome import Exit, Failure

TIMEOUT = 5.0
# The daemon answers at its own timeout: a little later than that it is stuck.
GRACE = 5.0

EXAMPLES = """\
examples:
  sacip-tun move --to 192.168.1.2/24
      add the address to the interface in use, tell the peers, and when all have
      acknowledged take the old one away
  sacip-tun move sacip0 --to 10.0.0.7/24 --interface eth1 --keep-old
      move to another interface and leave the old address where it is
"""


def configure(parser: Parser) -> None:
    """Declare `move`."""
    parser.teach(
        "Change the outer address as planned: the new one is added and announced, every peer\n"
        "acknowledges, traffic moves over, and only then the old one goes. Nothing is lost.",
        EXAMPLES,
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="the interface, if several are up")
    parser.add_argument("--to", required=True, metavar="ADDR[/LEN]", help="the new outer address")
    parser.add_argument("--interface", metavar="DEV", help="the device that has or gets it")
    parser.add_argument("--keep-old", action="store_true", help="leave the old address there")
    parser.add_argument(
        "--timeout",
        type=float,
        default=TIMEOUT,
        metavar="S",
        help=f"how long peers may take to acknowledge, in seconds, else {TIMEOUT:g}",
    )
    parser.set_defaults(run=_move)


def _move(options: Namespace) -> int:
    _check(options)
    path = chosen(options.directories.run, options.name)
    with Control(path, options.timeout + GRACE) as control:
        answer = control.request(
            "move",
            to=options.to,
            interface=options.interface,
            keep_old=options.keep_old,
            timeout=options.timeout,
        )
    for line in _report(control.name, answer):
        print(line)
    return Exit.OK


def _check(options: Namespace) -> None:
    try:
        ip_interface(options.to)
    except ValueError:
        raise Failure(
            f"--to: {options.to!r} is not an address", "write it as 192.168.1.2/24", Exit.USAGE
        ) from None
    # Written so that "nan" fails as well.
    if not 0 < options.timeout <= 3600:
        raise Failure(
            f"--timeout: {options.timeout:g} is out of range", "use 0.1 to 3600", Exit.USAGE
        )


def _report(name: str, answer: Answer) -> list[str]:
    lines = [f"{name}: moved {printable(answer.get('old'))} → {printable(answer.get('new'))}"]
    for peer in answer.get("peers", ()):
        took = peer.get("acknowledged_ms")
        when = (
            f"acknowledged after {milliseconds(took)}" if took is not None else "not acknowledged"
        )
        lines.append(f"  {printable(peer.get('name'))}  {when}")
    return lines
