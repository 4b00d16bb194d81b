"""What both ends of the control socket agree on: where it is, the schemas, the kinds of events.

A record of the journal has a name (`event`). Its kind is that name, but for one: a move has two
ends, and whoever is told must see at once which. `moved` is ours, `peer moved` the peer's.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

RUN_DIRECTORY = Path("/run/sacip-tun")
STATUS_SCHEMA = "sacip-tun/status/1"
PEERS_SCHEMA = "sacip-tun/peers/1"
EVENT_SCHEMA = "sacip-tun/event/1"

PEER_MOVED = "peer moved"
# What an application wants to know (deck, slide 26): told to it and to hooks unless they choose.
TOLD = ("prepared", "moved", PEER_MOVED, "held", "degraded", "recovered")
# What the tunnel does beside, for those who look closer.
INNER = (
    "moving",
    "detached",
    "hunting",
    "move-refused",
    "path-checked",
    "speaks-sacip",
    "handshake-completed",
    "handshake-unanswered",
    "handshake-gave-up",
    "frame-sent",
    "frame-received",
    "address-added",
    "address-deleted",
    "unresolved",
    "path-mtu",
    "routing-loop",
    "send-refused",
    "request-refused",
    "put-back",
    "resumed",
    "fault",
)
# About the interface and its listeners themselves: no hook is run for these.
OWN = ("up", "down", "taken-back", "reloaded", "lost", "hook-failed", "command-failed")
KINDS = frozenset({*TOLD, *INNER, *OWN})


def kind_of(record: Mapping[str, Any]) -> str:
    """Return the kind of a record, `?` where it has no name."""
    name = record.get("event", "?")
    return PEER_MOVED if name == "moved" and record.get("side") == "remote" else str(name)


def known_kind(text: str) -> str:
    """Return the kind that is written as `text`, in any case and with spaces or hyphens.

    Raises ValueError, which names the nearest.
    """
    wanted = "-".join(text.lower().split())
    spelled = {kind.replace(" ", "-"): kind for kind in KINDS}
    if wanted in spelled:
        return spelled[wanted]
    near = get_close_matches(wanted, spelled, n=1)
    hint = f"did you mean {spelled[near[0]]}?" if near else f"known are {', '.join(TOLD)}"
    raise ValueError(f"{text!r} is no kind of event: {hint}")
