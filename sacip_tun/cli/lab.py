"""lab: a network of namespaces on this machine, in which a tunnel is seen to move."""

from sacip_tun.cli.parser import Parser
from sacip_tun.lab.demo import add_arguments, run

EXAMPLES = """\
examples:
  sacip-tun lab             two hosts, a running download, and an address that changes
  sacip-tun lab --help      what else it can show
"""


def configure(parser: Parser) -> None:
    """Declare `lab`."""
    parser.teach("Watch a tunnel survive a change of address, on this machine alone.", EXAMPLES)
    add_arguments(parser)
    parser.set_defaults(run=run)
