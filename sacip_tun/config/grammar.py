"""wg-quick's grammar: the table of all keys, and text cut into entries.

1. An entry is a section, a key, a value and its line. Nothing is read into a value here.
2. Sections and keys are case-insensitive, and spaces around keys and values are dropped.
3. `#` starts a comment, except in hooks, whose value keeps it.
4. An unknown key is an error that names the nearest valid one: a misspelt AllowedIPs that is
   silently skipped would be a tunnel that is up and carries nothing.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import Enum

from sacip_tun.config import values
from sacip_tun.config.errors import ConfigError
from sacip_tun.config.eventhook import event_hook


class Section(Enum):
    """The two kinds of section."""

    INTERFACE = "Interface"
    PEER = "Peer"


@dataclass(frozen=True, slots=True)
class Entry:
    """One setting and its place: a line number or a command line option.

    An empty key opens a section.
    """

    where: int | str
    section: Section
    key: str = ""
    value: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Key:
    """One row of the table: the key as users write it, its dataclass field and its reader."""

    name: str
    field: str
    read: Callable[[str], object]
    many: bool = False
    hook: bool = False


def _hook(text: str) -> str:
    return text


def _table(*keys: Key) -> dict[str, Key]:
    return {key.name.lower(): key for key in keys}


KEYS = {
    Section.INTERFACE: _table(
        Key("PrivateKey", "private_key", values.private_key),
        Key("ListenPort", "listen_port", values.port),
        Key("FwMark", "fwmark", values.fwmark),
        Key("Address", "addresses", values.address, many=True),
        Key("DNS", "dns", values.dns, many=True),
        Key("MTU", "mtu", values.mtu),
        Key("Table", "table", values.table),
        Key("PreUp", "pre_up", _hook, many=True, hook=True),
        Key("PostUp", "post_up", _hook, many=True, hook=True),
        Key("PreDown", "pre_down", _hook, many=True, hook=True),
        Key("PostDown", "post_down", _hook, many=True, hook=True),
        Key("EventHook", "event_hooks", event_hook, many=True, hook=True),
        Key("SaveConfig", "save_config", values.true_or_false),
        Key("Dscp", "dscp", values.dscp),
        Key("ExcludeIPs", "exclude", values.excluded, many=True),
        Key("HoldMegabytes", "hold_megabytes", values.megabytes),
        Key("KillSwitch", "kill_switch", values.yes_or_no),
        Key("LeakProtection", "leak_protection", values.leak_protection),
        Key("Offload", "offload", values.offload),
        Key("ResendMegabytes", "resend_megabytes", values.megabytes),
        Key("Sacip", "sacip", values.on_or_off),
    ),
    Section.PEER: _table(
        Key("PublicKey", "public_key", values.public_key),
        Key("PresharedKey", "preshared_key", values.preshared_key),
        Key("AllowedIPs", "allowed_ips", values.allowed_ip, many=True),
        Key("Endpoint", "endpoint", values.endpoint),
        Key("PersistentKeepalive", "persistent_keepalive", values.keepalive),
        Key("Nat", "nat", values.nat),
        Key("Relay", "relay", values.yes_or_no),
        Key("Sacip", "sacip", values.on_or_off),
    ),
}
_SECTIONS = {f"[{section.value.lower()}]": section for section in Section}


def entries_of(text: str, source: str = "") -> Iterator[Entry]:
    """Cut text into entries, a section header being an entry without a key."""
    section: Section | None = None
    for number, raw in enumerate(text.removeprefix("\ufeff").split("\n"), start=1):
        try:
            entry = _entry(number, raw, section)
        except ConfigError as error:
            raise error.at(number, source) from None
        if entry is not None:
            section = entry.section
            yield entry


def _entry(number: int, raw: str, section: Section | None) -> Entry | None:
    line = raw.partition("#")[0].strip()
    _check_text(line)
    if not line:
        return None
    if line.startswith("["):
        return Entry(number, _section(line))
    key, equals, value = (part.strip() for part in line.partition("="))
    if not equals or not key:
        raise ConfigError("this line is not 'Key = value'", "write a '#' before a comment")
    if section is None:
        raise ConfigError(f"{key!r} stands before any section", "put [Interface] or [Peer] first")
    row = row_of(section, key)
    if row.hook:
        value = raw.partition("=")[2].strip()
        _check_text(value)
    else:
        values.refuse_placeholder(row.name, value)
    return Entry(number, section, row.name, value)


def _check_text(text: str) -> None:
    if any(ord(character) < 32 and character not in "\t\r" for character in text):
        raise ConfigError(
            "there is a control character in this line", "a configuration is plain text"
        )
    if any("\udc80" <= character <= "\udcff" for character in text):  # see files.py
        raise ConfigError("this line is not text in UTF-8", "save the file in UTF-8")


def _section(line: str) -> Section:
    name = "".join(line.split()).lower()
    if name not in _SECTIONS:
        near = get_close_matches(name.strip("[]"), [s.value.lower() for s in Section], n=1)
        nearest = near[0].capitalize() if near else None
        raise ConfigError(
            f"{line!r} is not a section",
            f"did you mean [{nearest}]?" if nearest else "there are [Interface] and [Peer]",
            nearest=nearest,
        )
    return _SECTIONS[name]


def row_of(section: Section, key: str) -> Key:
    """Find the key's row; the error names the nearest valid key, or the section it belongs to."""
    rows = KEYS[section]
    if key.lower() in rows:
        return rows[key.lower()]
    for other, foreign in KEYS.items():
        if key.lower() in foreign:
            raise ConfigError(
                f"{foreign[key.lower()].name} stands in [{section.value}]",
                f"it belongs in [{other.value}]",
                nearest=foreign[key.lower()].name,
            )
    near = get_close_matches(key.lower(), rows, n=1, cutoff=0.5)
    nearest = rows[near[0]].name if near else None
    known = ", ".join(row.name for row in rows.values())
    raise ConfigError(
        f"unknown key {key!r} in [{section.value}]",
        f"did you mean {nearest}?" if nearest else f"its keys are {known}",
        nearest=nearest,
    )
