"""wait: until a tunnel is up, its peers are reached, or the next move is complete. For scripts."""

import sys
import time
from argparse import Namespace
from pathlib import Path
from select import select

from sacip_tun.agreement import PEER_MOVED, STATUS_SCHEMA, kind_of
from sacip_tun.cli.control import Control
from sacip_tun.cli.eventline import event_line
from sacip_tun.cli.parser import Parser
from sacip_tun.cli.terminal import Palette, printable
from sacip_tun.client.errors import went_down
from sacip_tun.client.lines import Answer, of_schema
from sacip_tun.client.sockets import chosen
from sacip_tun.outcome import Exit, Failure

TIMEOUT = 30.0
# How often a socket that is not there yet is looked for, and how old a state may be, in seconds.
PAUSE = 0.05
RECHECK = 1.0

EXAMPLES = """\
examples:
  sacip-tun wait sacip0                        the interface is up
  sacip-tun wait sacip0 --for peer && ssh ...  each peer with an endpoint is connected
  sacip-tun wait --for handover --timeout 600  the next move, ours or a peer's, is done

It ends with 6 where that does not happen in time. A tunnel that goes down while it
is waited for ends it with 3; with --for up, one that is not there yet is waited for.
"""


def configure(parser: Parser) -> None:
    """Declare `wait`."""
    parser.teach("Wait until something is so or happens, and tell by the exit code.", EXAMPLES)
    parser.add_argument("name", nargs="?", metavar="NAME", help="the interface, if several are up")
    parser.add_argument(
        "--for",
        dest="what",
        choices=tuple(_WAITS),
        default="up",
        help="up: the interface; peer: its peers; handover: the next move; else up",
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=TIMEOUT,
        metavar="S",
        help=f"how long, in seconds, else {TIMEOUT:g}",
    )
    parser.set_defaults(run=_wait)


class _Deadline:
    """How much time is left, in seconds."""

    def __init__(self, seconds: float, what: str) -> None:
        self._seconds = seconds
        self._what = what
        self._at = time.monotonic() + seconds

    def left(self, at_most: float = float("inf")) -> float:
        """Return it; raises Failure where there is none."""
        left = self._at - time.monotonic()
        if left <= 0:
            raise Failure(
                f"within {self._seconds:g} s {self._what}",
                "see 'sacip-tun status', or give a longer --timeout",
                Exit.NOT_REACHED,
            )
        return min(left, at_most)


def _wait(options: Namespace) -> int:
    # Written so that "nan" fails as well.
    if not 0 < options.timeout <= 7 * 86400:
        raise Failure(
            f"--timeout: {options.timeout:g} is out of range", "use 0.1 to 604800", Exit.USAGE
        )
    wait, otherwise = _WAITS[options.what]
    wait(options.directories.run, options.name, _Deadline(options.timeout, otherwise))
    return Exit.OK


def _until_up(directory: Path, name: str | None, deadline: _Deadline) -> None:
    while True:
        try:
            with Control(chosen(directory, name), deadline.left()) as control:
                document = control.request("status")
        except Failure as failure:
            # It is not there, or still coming up.
            if failure.code != Exit.NOT_RUNNING:
                raise
            time.sleep(deadline.left(PAUSE))
        else:
            print(f"{printable(document['interface'])} is up")
            return


def _until_connected(directory: Path, name: str | None, deadline: _Deadline) -> None:
    path = chosen(directory, name)
    with _monitor(path, deadline) as events:
        while True:
            with Control(path, deadline.left()) as control:
                document = of_schema(control.request("status"), STATUS_SCHEMA, control.name)
            if _all_connected(document):
                print(f"{path.stem}: connected")
                return
            _news(events, deadline.left(RECHECK))


def _until_moved(directory: Path, name: str | None, deadline: _Deadline) -> None:
    palette = Palette.of(sys.stdout)
    with _monitor(chosen(directory, name), deadline) as events:
        while (record := _news(events, deadline.left())) is None or not _is_move(record):
            pass
        print(event_line(record, palette, events.name))


_WAITS = {
    "up": (_until_up, "the interface did not come up"),
    "peer": (_until_connected, "not every peer was reached"),
    "handover": (_until_moved, "no move was completed"),
}


def _all_connected(document: Answer) -> bool:
    """Tell whether those that we call are there, or anybody where all others call us."""
    called = [peer for peer in document["peers"] if peer["endpoint_configured"]]
    states = [peer["state"] == "connected" for peer in called or document["peers"]]
    return bool(states) and (all(states) if called else any(states))


def _monitor(path: Path, deadline: _Deadline) -> Control:
    """Listen from here on: what happens while the state is asked for is not missed."""
    control = Control(path, deadline.left())
    control.request("monitor")
    return control


def _news(control: Control, seconds: float) -> Answer | None:
    """Return the next record, None where there is none in time; raises TunnelDown."""
    while (record := control.pending()) is None:
        if not select([control], [], [], seconds)[0]:
            return None
        if not control.fill():
            raise went_down(control.name)
    return record


def _is_move(record: Answer) -> bool:
    return kind_of(record) in {"moved", PEER_MOVED}
