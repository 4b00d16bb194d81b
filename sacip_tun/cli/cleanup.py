"""cleanup: undo what tunnels left on this host whose daemon was killed."""

from argparse import Namespace
from pathlib import Path

from sacip_tun.cli.parser import Parser
from sacip_tun.cli.terminal import warn
from sacip_tun.outcome import Exit, Failure

EXAMPLES = """\
examples:
  sacip-tun cleanup                  all that were killed
  sacip-tun cleanup laptop           this one; harmless where nothing is left

Every 'up' does the same, but for a kill switch: what that shut stays shut
until its tunnel is up and down again, or until this command opens it.
PostDown of a killed one is run here, by 'down', or when it is next brought up.
"""


def configure(parser: Parser) -> None:
    """Declare `cleanup`."""
    parser.teach(
        "Undo what a tunnel left that was killed: rules, firewall, name servers.", EXAMPLES
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="the interface, else all")
    parser.add_argument(
        "--keep-kill-switch", action="store_true", help="undo all but what the kill switch shut"
    )
    parser.set_defaults(run=_cleanup)


def _cleanup(options: Namespace) -> int:
    clean(options.directories.run, options.name, keep_kill_switch=options.keep_kill_switch)
    return Exit.OK


def clean(directory: Path, name: str | None, *, keep_kill_switch: bool = False) -> bool:
    """Undo what was left, by one interface or all; tells whether there was anything.

    Of all, those whose interface is there are left out: a service manager keeps them. Raises
    Failure where something cannot be undone.
    """
    from sacip_tun.daemon.due import COMMANDS, Due  # noqa: PLC0415 - after the usage
    from sacip_tun.daemon.leftovers import (  # noqa: PLC0415 - after the usage
        index_of,
        leftovers,
        recover_names,
        remove_dead_sockets,
    )
    from sacip_tun.daemon.surroundings import KEPT  # noqa: PLC0415 - after the usage

    keep = KEPT if keep_kill_switch else frozenset[str]()
    problems, undone = list[str](), set[str]()
    try:
        found = leftovers(directory)
        undone.update(remove_dead_sockets(directory, name))
    except PermissionError as error:
        raise Failure(
            f"what was left cannot be read: {error}", "run it as root", Exit.NO_PRIVILEGE
        ) from None
    for log in found:
        if name == log.interface or (name is None and not index_of(log.interface)):
            steps, is_there = log.steps(), index_of(log.interface)
            due = Due(log.interface) if is_there else Due.of(log)
            problems += log.undo(keep=keep | {COMMANDS} if is_there else keep)
            problems += due.run()
            if steps != log.steps():
                (directory / f"{log.interface}.sock").unlink(missing_ok=True)
                undone.add(log.interface)
    recover_names(directory)
    for interface in sorted(undone):
        print(f"{interface}: undone what it had left")
    for problem in problems:
        warn(problem)
    if problems:
        fix = "mend what stands there, and run it again as root"
        raise Failure("not everything could be undone", fix, Exit.FAILED)
    return bool(undone)
