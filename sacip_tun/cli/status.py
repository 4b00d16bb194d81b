"""status: what runs, for people, for programs (--json) and for health checks (--check)."""

import json
import sys
import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from typing import Any

from sacip_tun.agreement import STATUS_SCHEMA
from sacip_tun.cli.control import Control, each_running
from sacip_tun.cli.parser import Parser
from sacip_tun.cli.quantities import age
from sacip_tun.cli.report import BAD_STATES, report
from sacip_tun.cli.terminal import Palette, printable, warn
from sacip_tun.client.lines import of_schema
from sacip_tun.client.sockets import nothing_runs, socket_of
from sacip_tun.outcome import Exit, Failure

# REJECT_AFTER_TIME (WireGuard 6.1): a session older than that carries nothing any more.
FRESH = 180.0

EXAMPLES = """\
examples:
  sacip-tun status                      every tunnel
  sacip-tun status sacip0 --json        one object, schema sacip-tun/status/1
  sacip-tun status --json               a list of such objects
  sacip-tun status sacip0 --check       a line and an exit code, for health checks

Of a full tunnel it shows the routing table (its mark is the fwmark above) and
whether the kill switch is on; the name servers, who was told them and whether
they are asked for everything; and what another program took away last that was
put back, with the culprit. In JSON: full_tunnel, name_servers, put_back.

--check ends with 7 where a peer with a configured endpoint had no handshake in
the last 180 seconds, or its path does not carry now: it is silent, degraded or
hunted, or this host has no address. A tunnel that waits to be called is healthy.
Give a peer a PersistentKeepalive if its tunnel is idle and shall be checked.
"""

Document = dict[str, Any]


def configure(parser: Parser) -> None:
    """Declare `status`."""
    parser.teach("Show tunnels: peers, transfer, both address pairs, the last moves.", EXAMPLES)
    parser.add_argument("name", nargs="?", metavar="NAME", help="one interface, else all")
    parser.add_argument("--json", action="store_true", help="print JSON, schema " + STATUS_SCHEMA)
    parser.add_argument("--check", action="store_true", help="tell by the exit code; see below")
    parser.set_defaults(run=_status)


def _status(options: Namespace) -> int:
    documents = list(_documents(options))
    if options.json:
        shown: object = documents[0] if options.name is not None else documents
        print(json.dumps(shown, indent=2))
    elif not options.check:
        _print_reports(documents)
    if not documents:
        raise nothing_runs()
    if not options.check:
        return Exit.OK
    return _check(documents, quiet=options.json)


def _documents(options: Namespace) -> Iterator[Document]:
    directory = options.directories.run
    if options.name is not None:
        with Control(socket_of(directory, options.name)) as control:
            yield _document(control)
        return
    for control in each_running(directory):
        with control:
            try:
                yield _document(control)
            except Failure as failure:
                # One that is still coming up hides none that is.
                if failure.code != Exit.NOT_RUNNING:
                    raise
                warn(failure.cause)


def _document(control: Control) -> Document:
    return of_schema(control.request("status"), STATUS_SCHEMA, control.name)


def _print_reports(documents: Sequence[Document]) -> None:
    palette = Palette.of(sys.stdout)
    try:
        texts = [report(document, palette, now=time.time()) for document in documents]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Failure(
            f"the daemon's status is not as {STATUS_SCHEMA} says: {error!r}",
            "after an upgrade restart the tunnel",
        ) from None
    if texts:
        print("\n\n".join(texts))


def _check(documents: Sequence[Document], *, quiet: bool) -> int:
    code = Exit.OK
    for document in documents:
        lacking = [peer for peer in document["peers"] if _is_lacking(peer)]
        code = Exit.DEGRADED if lacking else code
        name = printable(document["interface"])
        lines = [f"{name}: {_complaint(peer)}" for peer in lacking] or [f"{name}: ok"]
        if not quiet:
            print("\n".join(lines))
    return code


def _is_lacking(peer: Document) -> bool:
    seconds = peer["handshake_age"]
    stale = seconds is None or seconds > FRESH
    return bool(peer["endpoint_configured"]) and (stale or peer["state"] in BAD_STATES)


def _complaint(peer: Document) -> str:
    seconds = peer["handshake_age"]
    last = "no handshake yet" if seconds is None else f"last handshake {age(seconds)}"
    return f"degraded: peer {printable(peer['public_key'])}: {printable(peer['state'])}, {last}"
