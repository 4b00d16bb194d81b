"""What a terminal gets: colours where wanted, no control characters, messages on stderr."""

import os
import sys
from typing import TextIO


class Palette:
    """Colours of `wg show`, or none at all."""

    def __init__(self, *, coloured: bool) -> None:
        self._coloured = coloured

    @classmethod
    def of(cls, stream: TextIO) -> "Palette":
        """Colour only a terminal, and respect https://no-color.org and TERM=dumb."""
        wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        return cls(coloured=wanted and stream.isatty())

    def _paint(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._coloured and text else text

    def interface(self, text: str) -> str:
        """An interface's name."""
        return self._paint("1;32", text)

    def peer(self, text: str) -> str:
        """A peer's key."""
        return self._paint("1;33", text)

    def label(self, text: str) -> str:
        """What a value is called."""
        return self._paint("1", text)

    def unit(self, text: str) -> str:
        """A unit behind a number, and anything of less weight."""
        return self._paint("36", text)

    def good(self, text: str) -> str:
        """As it should be."""
        return self._paint("32", text)

    def bad(self, text: str) -> str:
        """Not as it should be."""
        return self._paint("31", text)


def printable(value: object) -> str:
    """Return text without control characters: a terminal would obey them."""
    text = str(value)
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else "?" for character in text)


def warn(text: str) -> None:
    """Print a warning to stderr."""
    print(f"sacip-tun: warning: {printable(text)}", file=sys.stderr)


def complain(cause: str, fix: str = "") -> None:
    """Print an error and its remedy to stderr."""
    print(f"sacip-tun: error: {printable(cause)}", file=sys.stderr)
    if fix:
        print(f"sacip-tun: fix: {printable(fix)}", file=sys.stderr)
