"""monitor: the events of one tunnel or of all, live, one a line."""

import json
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from selectors import EVENT_READ, DefaultSelector

from sacip_tun.cli.control import Control, each_running
from sacip_tun.cli.eventline import event_line
from sacip_tun.cli.parser import Parser
from sacip_tun.cli.terminal import Palette
from sacip_tun.client.lines import Answer, accepted
from sacip_tun.client.sockets import nothing_runs, socket_of
from sacip_tun.outcome import Exit

EXAMPLES = """\
examples:
  sacip-tun monitor                  every tunnel, until Ctrl-C
  sacip-tun monitor sacip0 --json    one object of JSON a line
  sacip-tun monitor --json | jq --unbuffered 'select(.event == "moved")'

Each line: time, interface, start of the peer's key, event, addresses, reason.
What it listens to, and that a tunnel went down, is said on stderr.
It ends with 0 on Ctrl-C and when the last tunnel goes down.
"""


def configure(parser: Parser) -> None:
    """Declare `monitor`."""
    parser.teach("Print what happens while it happens: moves, handshakes, refusals.", EXAMPLES)
    parser.add_argument("name", nargs="?", metavar="NAME", help="one interface, else all")
    parser.add_argument("--json", action="store_true", help="one object of JSON a line")
    parser.set_defaults(run=_monitor)


def _monitor(options: Namespace) -> int:
    directory = options.directories.run
    render = _json if options.json else _renderer()
    with ExitStack() as stack:
        # Events are rare: no timeout while waiting for the next.
        if options.name is None:
            controls = [stack.enter_context(found) for found in each_running(directory, None)]
        else:
            controls = [stack.enter_context(Control(socket_of(directory, options.name), None))]
        if not controls:
            raise nothing_runs()
        try:
            for control, record in _records(controls):
                print(render(record, control.name), flush=True)
        except KeyboardInterrupt:
            return Exit.OK
    return Exit.OK


def _records(controls: Sequence[Control]) -> Iterator[tuple[Control, Answer]]:
    """Yield records as they come, until the last tunnel has closed its connection."""
    with DefaultSelector() as selector:
        for control in controls:
            control.send({"command": "monitor"})
            selector.register(control, EVENT_READ, control)
        while selector.get_map():
            for key, _ in selector.select():
                control = key.data
                if not control.fill():
                    selector.unregister(control)
                    print(f"{control.name} is down", file=sys.stderr)
                while (record := control.pending()) is not None:
                    if "event" in record:
                        yield control, record
                    else:
                        accepted(record, control.name)
                        print(f"listening to {control.name}", file=sys.stderr)


def _json(record: Answer, name: str) -> str:
    return json.dumps({"interface": name, **record})


def _renderer() -> Callable[[Answer, str], str]:
    palette = Palette.of(sys.stdout)
    return lambda record, name: event_line(record, palette, name)
