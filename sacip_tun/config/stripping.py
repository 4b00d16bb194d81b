"""strip: a file for those who refuse keys that they do not know, every other line as it was."""

from collections.abc import Iterator
from enum import Enum

from sacip_tun.config.grammar import entries_of

# The keys of wg(8)'s configuration format.
WG_KEYS = frozenset({
    "PrivateKey", "ListenPort", "FwMark",
    "PublicKey", "PresharedKey", "AllowedIPs", "Endpoint", "PersistentKeepalive",
})  # fmt: skip
# What wg-quick(8) adds.
QUICK_KEYS = WG_KEYS | {
    "Address", "DNS", "MTU", "Table", "PreUp", "PostUp", "PreDown", "PostDown", "SaveConfig",
}  # fmt: skip


class Reader(Enum):
    """Who is to read the file."""

    WG = "wg"
    WG_QUICK = "wg-quick"


def stripped(text: str, reader: Reader) -> str:
    """Return the text without the lines that `reader` does not know.

    As `wg-quick strip` has it, lines lose the spaces at both ends. Raises ConfigError.
    """
    known = WG_KEYS if reader is Reader.WG else QUICK_KEYS
    foreign = {entry.where for entry in entries_of(text) if entry.key and entry.key not in known}
    return "\n".join(_kept(text, foreign)) + "\n"


def _kept(text: str, foreign: set[int | str]) -> Iterator[str]:
    lines = text.removeprefix("\ufeff").removesuffix("\n").split("\n")
    for number, line in enumerate(lines, start=1):
        if number not in foreign:
            yield line.strip()
