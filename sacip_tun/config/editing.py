"""Peers in a file's text: added at its end or cut out of it, and every other line as it was.

A peer's name is a comment, since wg-quick refuses keys that it does not know:

    [Peer]
    # Name = phone
    PublicKey = ...

`friendly_name`, which exporters of metrics read, is understood as well.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sacip_tun.config.errors import ConfigError
from sacip_tun.config.grammar import Section, entries_of
from sacip_tun.config.values import public_key

_NAME = re.compile(r"\s*#\s*(?:friendly_)?name\s*=\s*(\S.*?)\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Place:
    """One [Peer] section: its key, its name, and its lines: `first` to before `end`, from 0."""

    key: bytes
    name: str
    allowed: tuple[str, ...]
    first: int
    end: int


def places(text: str) -> list[Place]:
    """Find the peers of a file that parses. Raises ConfigError where it does not."""
    lines = _lines(text)
    entries = list(entries_of(text))
    heads = [entry.where - 1 for entry in entries if not entry.key and isinstance(entry.where, int)]
    starts = [_begin(lines, head) for head in heads]
    keys: dict[int, bytes] = {}
    allowed: dict[int, tuple[str, ...]] = {}
    for entry in entries:
        head = _head_before(entry.where, heads)
        if entry.section is Section.PEER and entry.key == "PublicKey":
            keys[head] = public_key(entry.value)
        elif entry.key == "AllowedIPs":
            words = entry.value.replace(",", " ").split()
            allowed[head] = (*allowed.get(head, ()), *words)
    return [
        Place(keys[head], _name(lines[start:end]), allowed.get(head, ()), start, end)
        for head, start, end in zip(heads, starts, [*starts[1:], len(lines)], strict=True)
        if head in keys
    ]


def named(text: str, wanted: str) -> Place:
    """Find the peer with this name or key. Raises ConfigError where there is none, or several."""
    found = places(text)
    same = [place for place in found if place.name == wanted]
    if not same:
        try:
            key = public_key(wanted)
        except ConfigError:
            key = b""
        same = [place for place in found if place.key == key]
    if len(same) == 1:
        return same[0]
    names = ", ".join(place.name for place in found if place.name) or "no peer has a name"
    raise ConfigError(
        f"there are {len(same)} peers named {wanted!r}" if same else f"there is no peer {wanted!r}",
        "give its public key" if same else f"there are: {names}; or give its public key",
    )


def with_peer(text: str, lines: Sequence[str]) -> str:
    """Return the text with one more section at its end."""
    ending = "\r\n" if "\r\n" in text else "\n"
    before = text if text.endswith("\n") or not text else text + ending
    gap = "" if not before or before.endswith(("\n\n", "\n\r\n")) else ending
    return before + gap + "".join(line + ending for line in lines)


def without_peer(text: str, place: Place) -> str:
    """Return the text without a section, the comments right above it and the gap behind it."""
    lines = _lines(text)
    before, after = lines[: place.first], lines[place.end :]
    if not after:
        while before and not before[-1].strip():
            before.pop()
    return "".join(before + after)


def _lines(text: str) -> list[str]:
    # As the grammar cuts it: str.splitlines knows more ends of lines.
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def _begin(lines: Sequence[str], head: int) -> int:
    """Return the line where a section begins for people: with the comments right above it."""
    first = head
    while first and lines[first - 1].lstrip().startswith("#"):
        first -= 1
    # Comments that follow a setting without a gap are about that one.
    return first if not first or not lines[first - 1].strip() else head


def _head_before(where: int | str, heads: Sequence[int]) -> int:
    return heads[bisect_left(heads, where if isinstance(where, int) else 0) - 1]


def _name(lines: Sequence[str]) -> str:
    return next(_names(lines), "")


def _names(lines: Sequence[str]) -> Iterator[str]:
    for line in lines:
        if match := _NAME.fullmatch(line):
            yield match[1]
