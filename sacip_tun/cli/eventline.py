"""One event as one line: time, interface, peer, what happened, from where to where, and why."""

from collections.abc import Iterator
from typing import Any

from sacip_tun.cli.quantities import clock, milliseconds
from sacip_tun.cli.terminal import Palette, printable

Record = dict[str, Any]

# Wide enough for the longest names that are common; a longer one only shifts its own line.
INTERFACE_WIDTH, PEER_WIDTH, EVENT_WIDTH = 8, 8, 19
GOOD = {"moved", "handshake-completed", "session-ready", "prepared", "speaks-sacip", "recovered"}
BAD = {
    "command-failed",
    "degraded",
    "detached",
    "fault",
    "handshake-gave-up",
    "held",
    "hook-failed",
    "hunting",
    "lost",
    "move-refused",
    "put-back",
    "routing-loop",
    "request-refused",
    "send-refused",
    "unresolved",
}
# Whose address it is about, said in front: the same word may stand at both ends.
SIDED = {("moved", "remote"): "peer moved", ("prepared", "remote"): "peer prepared"}
SIDES = ("local", "remote")
# Packets, as people count them.
PACKETS = {
    "released": "{} held packets sent",
    "resent": "{} sent again",
    "lost": "{} lost",
}


def event_line(record: Record, palette: Palette, interface: str) -> str:
    """Render a record of the event stream.

    `interface` stands in for a record without one. Fields that are not known are appended as
    `key=value`: a newer daemon may send them.
    """
    left = dict(record)
    name = printable(left.pop("event", "?"))
    when = left.pop("time_unix", None)
    columns = [
        palette.unit(clock(when)) if isinstance(when, int | float) else "--:--:--.---",
        printable(left.pop("interface", interface)).ljust(INTERFACE_WIDTH),
        printable(left.pop("peer", None) or "-")[:PEER_WIDTH].ljust(PEER_WIDTH),
        _event(name, _words(name, left), palette),
    ]
    details = [text for text in (_path(left, name), _why(left)) if text]
    return "  ".join([*columns, *details]).rstrip()


def _words(name: str, left: Record) -> str:
    """Say in words what happened, and take out of `left` whose address it is about."""
    if name in {"moved", "prepared"} and left.get("side") in SIDES:
        return SIDED.get((name, left.pop("side")), name)
    return name.replace("-", " ")


def _event(name: str, words: str, palette: Palette) -> str:
    text = words.ljust(EVENT_WIDTH)
    if name in GOOD:
        return palette.good(text)
    return palette.bad(text) if name in BAD else text


def _path(left: Record, event: str) -> str:
    """Take out of `left` what says where: the side, the frame's code, and two ends."""
    words = [printable(left.pop(key)) for key in ("side", "code") if left.get(key)]
    old, new = left.pop("old", None), left.pop("new", None)
    local, remote = left.pop("local", None), left.pop("remote", None)
    if new or old:
        words.append(f"{printable(old or '(none)')} → {printable(new or '(none)')}")
    elif local:
        ends = (local, remote) if event != "frame-received" else (remote, local)
        words.append(" → ".join(map(printable, ends)))
    elif remote:
        words.append(printable(remote))
    observed, claimed = left.pop("observed", None), left.pop("claimed", None)
    if claimed:
        words.append(f"claimed {printable(claimed)}")
    if observed and observed != new:
        words.append(f"seen as {printable(observed)}")
    return " ".join(words)


def _why(left: Record) -> str:
    return ", ".join(_reasons(left))


def _packets(left: Record) -> Iterator[str]:
    """Say what became of packets, where anything did."""
    for key, text in PACKETS.items():
        if isinstance(count := left.get(key), int):
            del left[key]
            if count:
                yield text.format(count)


def _reasons(left: Record) -> Iterator[str]:
    for key in ("reason", "why", "verdict", "kind"):
        if text := left.pop(key, None):
            yield printable(text)
    took = left.pop("milliseconds", None)
    if isinstance(took, int | float):
        yield milliseconds(took)
    yield from _packets(left)
    if (number := left.pop("number", None)) is not None:
        yield f"move {printable(number)}"
    if (initiator := left.pop("initiator", None)) is not None:
        yield "as initiator" if initiator else "as responder"
    for key, value in left.items():
        if value is not None:
            yield f"{printable(key)}={printable(value)}"
