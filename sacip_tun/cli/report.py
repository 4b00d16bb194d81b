"""The status of one tunnel as people read it: the layout of `wg show`, and the address pairs.

    interface: sacip0
      public key: qf1KdL4Z5cM2gQbXxN3r2o2h7XG1nPpY0zq3nJvJ2lA=
      ...

    peer: o4uPbVJ9cHn2c6Qm0V0Y7m3hJc1wqkG0cQyYy2tq8nM=
      local:  → [0] 192.168.1.22:51820
                [1] 192.168.1.30:51820

The arrow stands at the slot in use, its number is the index of protocol.address.AddressPair.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from sacip_tun.cli.quantities import age, milliseconds, size
from sacip_tun.cli.terminal import Palette, printable

Document = dict[str, Any]
GOOD_STATES = {"connected", "idle"}
# The path does not carry now.
BAD_STATES = {"silent", "degraded", "unresolved", "no address", "held: no address", "hunting"}
# What the counters say to people, where there is anything to count; see daemon.tally.
COUNTED = {
    "moves": "{} of ours",
    "peer_moves": "{} of the peer's",
    "released": "{} inner packets waited",
    "resent": "{} sent again",
    "lost": "{} lost",
}


def report(document: Document, palette: Palette, *, now: float) -> str:
    """Render a status document, `now` in Unix seconds; KeyError where a field is missing."""
    lines = list(_interface(document, palette, now=now))
    for peer in document["peers"]:
        lines += ["", *_peer(peer, palette, now=now)]
    return "\n".join(lines)


def _interface(document: Document, palette: Palette, *, now: float) -> Iterator[str]:
    yield _heading("interface", palette.interface(printable(document["interface"])), palette)
    fields = {
        "public key": printable(document["public_key"]),
        "listening port": printable(document["listen_port"]),
        "fwmark": hex(document["fwmark"]) if document["fwmark"] else "",
        "addresses": _list(document["addresses"]),
        "mtu": printable(document["mtu"]),
        "offload": _offload(document["offload"], palette),
        "full tunnel": _full_tunnel(document, palette),
        "name servers": _name_servers(document.get("name_servers"), palette),
        "put back": _put_back(document.get("put_back"), palette, now=now),
        "problem": _problem(document.get("problem"), palette),
        "dropped": _list([f"{count} {reason}" for reason, count in document["drops"].items()]),
    }
    yield from _fields(fields, palette)


def _peer(peer: Document, palette: Palette, *, now: float) -> Iterator[str]:
    yield _heading("peer", palette.peer(printable(peer["public_key"])), palette)
    fields = {
        "preshared key": "(hidden)" if peer["preshared_key"] else "",
        "state": _state(peer, palette),
        "endpoint": _endpoint(peer["endpoint_configured"]),
        "allowed ips": _list(peer["allowed_ips"]) or "(none)",
        "latest handshake": _handshake(peer["handshake_age"]),
        "transfer": _transfer(peer, palette),
        "path mtu": _path_mtu(peer.get("path_mtu")),
        "persistent keepalive": _keepalive(peer["persistent_keepalive"]),
        "holding": _holding(peer["held"], palette),
        "moves": _moved(peer["counters"]),
        "refused moves": _refused(peer["counters"], palette),
        "behind a NAT": _nat(peer),
        "relay": "may hand on notices of moves" if peer.get("relay") else "",
    }
    yield from _fields(fields, palette)
    yield from _pair("local", peer["local"], peer["local_move"], palette)
    yield from _pair("remote", peer["remote"], peer["remote_move"], palette)
    if peer["moves"]:
        yield f"  {palette.label('last moves')}:"
        yield from _moves(peer["moves"], palette, now=now)


def _heading(kind: str, name: str, palette: Palette) -> str:
    return f"{palette.label(kind)}: {name}"


def _fields(fields: dict[str, str], palette: Palette) -> Iterator[str]:
    for name, text in fields.items():
        if text:
            yield f"  {palette.label(name)}: {text}"


def _list(texts: Sequence[object]) -> str:
    return ", ".join(printable(text) for text in texts)


def _offload(offload: Document, palette: Palette) -> str:
    """List what is on, and what the kernel refuses; nothing of what nobody asked for."""
    on, refused = [], []
    for key, found in offload.items():
        name = printable(key.replace("_", " "))
        if key != "mode" and found["state"] == "on":
            on.append(name)
        elif key != "mode" and found["state"] == "refused":
            refused.append(palette.bad(f"{name} refused ({printable(found['refusals'])})"))
    return ", ".join(on + refused) or "none"


def _full_tunnel(document: Document, palette: Palette) -> str:
    found, put_back = document.get("full_tunnel"), document.get("put_back") or {}
    if not found:
        return ""
    versions = " and ".join(f"IPv{version}" for version in found["ip_versions"])
    switch = "kill switch on" if found["kill_switch"] else "kill switch off"
    if found["kill_switch"] and put_back.get("owed"):
        switch = palette.bad("kill switch not in force, see below")
    parts = [f"{versions} by table {printable(found['table'])}", switch]
    lacking = [] if found["firewall"] else [palette.bad("no firewall")]
    return ", ".join(parts + lacking)


def _name_servers(found: Document | None, palette: Palette) -> str:
    """Say who is asked and for what, and by whom."""
    if not found:
        return ""
    for_what = "everything" if found["exclusive"] else "its domains"
    parts = [_list(found["servers"]), f"for {for_what}"]
    if found["search"]:
        parts = [parts[0], f"search {' '.join(map(printable, found['search']))}", parts[1]]
    told = found["resolver"]
    parts.append(f"told to {printable(told)}" if told else palette.bad("nobody takes them"))
    return ", ".join(parts)


def _put_back(found: Document | None, palette: Palette, *, now: float) -> str:
    """Say what other programs took away last, and whether it is there again."""
    if not found:
        return ""
    what = printable(found["what"])
    if found.get("owed"):
        what = palette.bad(f"{what} not yet, tried again")
    parts = [what, age(max(0.0, now - found["time_unix"]))]
    if found["culprit"]:
        parts.append(f"taken away by {printable(found['culprit'])}")
    if found["why"]:
        parts.append(palette.bad(printable(found["why"])))
    if found["times"] > 1:
        parts.append(f"{found['times']} times so far")
    return ", ".join(filter(None, parts))


def _problem(text: str | None, palette: Palette) -> str:
    return palette.bad(printable(text)) if text else ""


def _state(peer: Document, palette: Palette) -> str:
    state = printable(peer["state"])
    if state in GOOD_STATES:
        state = palette.good(state)
    elif state in BAD_STATES:
        state = palette.bad(state)
    speaks = {True: ", speaks SACIP", False: ", plain WireGuard"}.get(peer["sacip"], "")
    rtt = peer.get("rtt_milliseconds")
    return state + speaks + (f", round trip {milliseconds(rtt)}" if rtt is not None else "")


def _endpoint(configured: str | None) -> str:
    return f"{printable(configured)} (as configured)" if configured else ""


def _handshake(seconds: float | None) -> str:
    return "none yet" if seconds is None else age(seconds)


def _transfer(peer: Document, palette: Palette) -> str:
    received, sent = (
        f"{number} {palette.unit(unit)}"
        for number, unit in (size(peer["rx_bytes"]), size(peer["tx_bytes"]))
    )
    return f"{received} received, {sent} sent"


def _path_mtu(found: Document | None) -> str:
    if not found or found["bytes"] is None:
        return ""
    state = "" if found["state"] == "found" else f" ({printable(found['state'])})"
    return f"{printable(found['bytes'])} bytes{state}"


def _nat(peer: Document) -> str:
    """Say where the peer sees us, and how often we speak so that it can go on doing so."""
    if not peer.get("nat"):
        return ""
    seconds = peer.get("keepalive")
    kept = f", kept open every {round(seconds)} seconds" if seconds else ""
    return f"seen as {printable(peer.get('observed') or '(not known)')}{kept}"


def _keepalive(seconds: int | None) -> str:
    return f"every {seconds} seconds" if seconds else ""


def _holding(packets: int, palette: Palette) -> str:
    many = "s" if packets > 1 else ""
    return palette.bad(f"{packets} inner packet{many}") if packets else ""


def _moved(counters: dict[str, int]) -> str:
    """Sum the moves up, and what became of the packets meanwhile."""
    return ", ".join(
        text.format(counters[name]) for name, text in COUNTED.items() if counters[name]
    )


def _refused(counters: dict[str, int], palette: Palette) -> str:
    return palette.bad(printable(counters["refused_moves"])) if counters["refused_moves"] else ""


def _pair(name: str, pair: Document, move: str, palette: Palette) -> Iterator[str]:
    """Draw the two slots, the arrow at the one in use; an empty idle slot takes no line."""
    lines = []
    for index, slot in enumerate(pair["slots"]):
        if index == pair["active"]:
            text = printable(slot or "(not known)")
            busy = "" if move == "settled" else f"  {palette.unit(printable(move))}"
            lines.append(f"{palette.good('→')} [{index}] {text}{busy}")
        elif slot:
            lines.append(f"  [{index}] {printable(slot)}")
    for number, line in enumerate(lines):
        label = "" if number else f"{name}:"
        yield f"  {palette.label(label.ljust(len('remote:')))} {line}"


def _moves(moves: Sequence[Document], palette: Palette, *, now: float) -> Iterator[str]:
    """List the moves, newest first, in aligned columns."""
    rows = [_move(move, now=now) for move in reversed(moves)]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        yield f"    {palette.unit(cells[0])}  {cells[1]}  {cells[2]}  {row[3]}"


def _move(move: Document, *, now: float) -> tuple[str, str, str, str]:
    observed = move["observed"]
    why = [
        printable(move["reason"] or "no reason given"),
        printable(move["kind"]),
        milliseconds(move["milliseconds"]),
    ]
    if observed and observed != move["new"]:
        why.append(f"seen as {printable(observed)}")
    return (
        age(max(0.0, now - move["time_unix"])),
        printable(move["side"]),
        f"{printable(move['old'] or '(none)')} → {printable(move['new'])}",
        ", ".join(why),
    )
