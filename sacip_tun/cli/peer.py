"""peer add | list | remove: the peers of a hub, in its file and live."""

import json
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from sacip_tun.agreement import PEERS_SCHEMA
from sacip_tun.cli import peer_add
from sacip_tun.cli.hub import Hub
from sacip_tun.cli.mistakes import refusal
from sacip_tun.cli.parser import Parser
from sacip_tun.cli.quantities import age
from sacip_tun.cli.terminal import printable, warn
from sacip_tun.config import ConfigError, editing
from sacip_tun.config.saving import alone, replace_text
from sacip_tun.outcome import Exit
from sacip_tun.protocol.errors import LocalError
from sacip_tun.protocol.keys import from_base64, to_base64

Run = Callable[[Namespace], int]

EXAMPLES = """\
examples:
  sacip-tun peer add phone --endpoint vpn.example.org --qr
      scan it with the WireGuard app
  sacip-tun peer add laptop --endpoint vpn.example.org --output laptop.conf
      there: sacip-tun up ./laptop.conf, or wg-quick up ./laptop.conf
  sacip-tun peer list
  sacip-tun peer remove phone

What is added counts at once and is saved in the hub's file, whose other lines stay
as they are. The new peer's private key is in what is printed, and nowhere else.
"""


def configure(parser: Parser) -> None:
    """Declare `peer` and what can be done with peers."""
    parser.teach("Add, list and remove the peers of a hub.", EXAMPLES)
    actions = parser.add_subparsers(
        title="actions", metavar="ACTION", required=True, parser_class=Parser
    )

    def action(name: str, summary: str, run: Run) -> Parser:
        child = actions.add_parser(name, help=summary, prog=f"sacip-tun peer {name}")
        child.teach(f"{summary[0].upper()}{summary[1:]}.", EXAMPLES)
        child.add_argument(
            "--interface",
            metavar="FILE|NAME",
            help="the hub's file or its name, else that of the one tunnel that is up",
        )
        child.set_defaults(run=_telling(run))
        return child

    peer_add.declare(action("add", "make keys and addresses for a new peer, and let it in", _add))
    listed = action("list", "list the peers of the file, and how they are", _list)
    listed.add_argument("--json", action="store_true", help="print JSON, schema " + PEERS_SCHEMA)
    removed = action("remove", "let a peer in no more", _remove)
    removed.add_argument("peer", metavar="NAME|KEY", help="its name in the file, or its public key")


def _telling(run: Run) -> Run:
    """Let what is wrong with a file end with the code that it has everywhere."""

    def told(options: Namespace) -> int:
        try:
            return run(options)
        except ConfigError as error:
            raise refusal(error) from None

    return told


def _add(options: Namespace) -> int:
    return peer_add.add(Hub.of(options), options)


def _list(options: Namespace) -> int:
    hub = Hub.of(options)
    peers = list(_listed(hub.read()[1], hub.status()))
    if options.json:
        document = {"schema": PEERS_SCHEMA, "interface": hub.name, "peers": peers}
        print(json.dumps(document, indent=2))
        return Exit.OK
    rows = [("NAME", "PUBLIC KEY", "ALLOWED IPS", "STATE"), *map(_row, peers)]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row[:3], widths, strict=True)]
        print("  ".join([*cells, row[3]]).rstrip())
    return Exit.OK


def _listed(text: str, status: dict[str, Any]) -> Iterator[dict[str, Any]]:
    live = {peer["public_key"]: peer for peer in status.get("peers", ())}
    saved = {to_base64(place.key): place for place in editing.places(text)}
    for key in dict.fromkeys([*saved, *live]):
        peer, place = live.get(key, {}), saved.get(key)
        yield {
            "name": place.name or None if place else None,
            "public_key": key,
            "saved": place is not None,
            "allowed_ips": peer.get("allowed_ips", list(place.allowed) if place else []),
            "state": peer.get("state"),
            "handshake_age": peer.get("handshake_age"),
        }


def _row(peer: dict[str, Any]) -> tuple[str, str, str, str]:
    state = peer["state"] or "not up"
    if peer["handshake_age"] is not None:
        state += f", last handshake {age(peer['handshake_age'])}"
    if not peer["saved"]:
        state += ", not in the file"
    name = printable(peer["name"] or "-")
    return name, peer["public_key"], ", ".join(peer["allowed_ips"]) or "-", printable(state)


def _remove(options: Namespace) -> int:
    hub = Hub.of(options)
    with alone(hub.path) as path:
        _, text = hub.read()
        try:
            place = editing.named(text, options.peer)
        except ConfigError:
            if _removed_live(hub, options.peer):
                return Exit.OK
            raise
        for warning in replace_text(path, editing.without_peer(text, place)):
            warn(warning)
        live = hub.keep_out(to_base64(place.key))
    hub.tell(f"{place.name or to_base64(place.key)} is removed", live=live)
    return Exit.OK


def _removed_live(hub: Hub, wanted: str) -> bool:
    """Remove a peer that is in no file; False where the tunnel does not have it either."""
    with suppress(LocalError):
        public = to_base64(from_base64(wanted))
        if any(peer["public_key"] == public for peer in hub.status().get("peers", ())):
            hub.tell(f"{public} is removed", live=hub.keep_out(public))
            return True
    return False
