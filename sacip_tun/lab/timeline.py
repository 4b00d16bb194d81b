"""One readable time line out of what was typed, what both ends reported, and what the flow felt."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

Record = dict[str, Any]

WHO_WIDTH, WHAT_WIDTH = 6, 23

# What an event says: what happened, and where or why. `{}` fields are the record's.
WORDS = {
    "frame-sent": ("sends {code}", "{local} → {remote}"),
    "frame-received": ("receives {code}", "{remote} → {local}"),
    "prepared": ("holds both addresses", "{side}: {old}, next {new}"),
    "moving": ("switches", "{old} → {new} ({reason}, {kind})"),
    "moved": ("has moved", "{side}: {old} → {new}, seen from {observed}"),
    "move-refused": ("refuses the move", "claimed {claimed}, seen {observed}: {why}"),
    "path-checked": ("checked a path", "{old}, {new}: {verdict}"),
    "detached": ("has no address", "{old} is gone ({reason})"),
    "held": ("holds inner packets", "{why}"),
    "degraded": ("path does not answer", "{local} → {remote}, for {milliseconds} ms"),
    "recovered": (
        "sends again",
        "after {milliseconds} ms: {released} held, {resent} resent, {lost} lost",
    ),
    "path-mtu": ("measures its path", "{new} bytes go through whole, {old} before"),
    "hunting": ("hunts", "no answer to move {number} after {tries} tries"),
    "handshake-unanswered": ("gets no new keys", "no answer after {tries} tries"),
    "handshake-completed": ("has new keys", "with {remote}"),
    "address-added": ("sees a new address", "{address}"),
    "address-deleted": ("deletes an address", "{address}"),
}
# Known without being said: which tunnel, whose peer. The rest is shown of events without words.
UNSAID = {"event", "time_unix", "interface", "peer"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One line, at a time in seconds since 1970."""

    time_unix: float
    who: str
    what: str
    details: str = ""

    def line(self, origin: float) -> str:
        """Render it, with the time since `origin` in ms."""
        since = (self.time_unix - origin) * 1000
        what = self.what if not self.details else f"{self.what:<{WHAT_WIDTH}}  {self.details}"
        return f"{since:10.1f}  {self.who:<{WHO_WIDTH}}  {what}"


class Timeline:
    """Collects entries in any order."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []

    def add(self, time_unix: float, who: str, what: str, details: str = "") -> None:
        """Add one entry."""
        self._entries.append(Entry(time_unix, who, what, details))

    def add_events(self, who: str, events: Iterable[Record]) -> None:
        """Add what `sacip-tun monitor --json` printed on one host."""
        for record in events:
            if "event" in record and "time_unix" in record:
                self.add(record["time_unix"], who, *_said(record))

    def lines(self, origin: float, *, all_of_it: bool = False) -> list[str]:
        """Render the entries from `origin` on, or all, in the order in which they happened."""
        return [
            entry.line(origin)
            # Entries of one moment stay in the order in which their host told them.
            for entry in sorted(self._entries, key=attrgetter("time_unix"))
            if all_of_it or entry.time_unix >= origin
        ]


def records(lines: Iterable[str]) -> Iterator[Record]:
    """Read one JSON object a line; a line that is cut off or no object is passed over."""
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            yield record


def _said(record: Record) -> tuple[str, str]:
    name = str(record["event"])
    what, details = WORDS.get(name, (name, ""))
    try:
        if details:
            return what.format_map(record), details.format_map(record)
    except KeyError:
        # Another version names its fields otherwise: show them as they are.
        what = name
    rest = (f"{key}={value}" for key, value in record.items() if key not in UNSAID)
    return what, " ".join(rest)
