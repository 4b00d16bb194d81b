"""A configuration on the command line: options become the entries that a file's lines become."""

import sys
from argparse import Action, ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from sacip_tun.cli.parser import Parser
from sacip_tun.config import Config, ConfigError, Entry, Section, assemble, read_key_file
from sacip_tun.config.values import address
from sacip_tun.outcome import Exit, Failure

DEFAULT_INTERFACE = "sacip0"


class Setting(NamedTuple):
    """One option with one value, as it was typed."""

    option: str
    text: str


class _Option(NamedTuple):
    """What an option stands for in a file, and what `--help` says of it."""

    section: Section
    key: str
    metavar: str
    help: str
    many: bool = False
    secret_file: bool = False


OPTIONS = {
    "--private-key-file": _Option(
        Section.INTERFACE,
        "PrivateKey",
        "FILE",
        "this side's key, '-' for stdin; without it /etc/sacip-tun/INTERFACE.key is used, and made",
        secret_file=True,
    ),
    "--address": _Option(
        Section.INTERFACE, "Address", "ADDR/LEN", "this side's address in the tunnel", many=True
    ),
    "--listen-port": _Option(Section.INTERFACE, "ListenPort", "PORT", "UDP port, else random"),
    "--mtu": _Option(Section.INTERFACE, "MTU", "BYTES", "else from the routes to the peers"),
    "--fwmark": _Option(Section.INTERFACE, "FwMark", "MARK", "mark of the outer packets, or 'off'"),
    "--table": _Option(
        Section.INTERFACE, "Table", "TABLE", "where routes go: auto, off, a number or a name"
    ),
    "--offload": _Option(
        Section.INTERFACE, "Offload", "MODE", "let the kernel cut and merge: auto, on or off"
    ),
    "--peer": _Option(
        Section.PEER,
        "PublicKey",
        "KEY[@HOST:PORT]",
        "the other side's public key, and where it is if that is known; can be repeated",
    ),
    "--allowed-ips": _Option(
        Section.PEER,
        "AllowedIPs",
        "NET",
        "inner networks of the --peer before it; for a single peer the network of --address",
        many=True,
    ),
    "--preshared-key-file": _Option(
        Section.PEER,
        "PresharedKey",
        "FILE",
        "a second secret shared with the --peer before it",
        secret_file=True,
    ),
    "--persistent-keepalive": _Option(
        Section.PEER, "PersistentKeepalive", "SECONDS", "for the --peer before it; often 25"
    ),
}


class _Collect(Action):
    """Keeps the options in their order, since some belong to the --peer before them."""

    def __call__(
        self,
        parser: ArgumentParser,  # noqa: ARG002 - the signature is argparse's
        namespace: Namespace,
        values: str | Sequence[object] | None,
        option_string: str | None = None,
    ) -> None:
        texts = [values] if isinstance(values, str) else values or ()
        found = [Setting(option_string or "", str(text)) for text in texts]
        namespace.settings = [*namespace.settings, *found]


def declare(parser: Parser) -> None:
    """Declare the options of a configuration on the command line."""
    interface = parser.add_argument_group("instead of a file, this side")
    interface.add_argument("--interface", metavar="NAME", help=f"else {DEFAULT_INTERFACE}")
    peer = parser.add_argument_group("instead of a file, the other side")
    for name, option in OPTIONS.items():
        (interface if option.section is Section.INTERFACE else peer).add_argument(
            name,
            action=_Collect,
            nargs="+" if option.many else None,
            metavar=option.metavar,
            help=option.help,
            dest="settings",
        )
    parser.set_defaults(settings=[])


def configuration(settings: Sequence[Setting], interface: str, private_key: str | None) -> Config:
    """Build the Config; `private_key` stands in where no key file is given.

    Raises ConfigError, and Failure where an option lacks the option that it belongs to.
    """
    given = {setting.option for setting in settings}
    if "--address" not in given:
        raise Failure(
            "there is no --address", "give this side's: --address 10.9.0.1/24", Exit.USAGE
        )
    warnings: list[str] = []
    entries = [Entry("--interface", Section.INTERFACE), *_entries(settings, warnings)]
    if private_key is not None:
        entries.append(Entry("the key file", Section.INTERFACE, "PrivateKey", private_key))
    if "--allowed-ips" not in given:
        entries += _inner_network(entries)
    config = assemble(entries, interface)
    return Config(config.interface, config.peers, (*warnings, *config.warnings))


def _entries(settings: Sequence[Setting], warnings: list[str]) -> Iterator[Entry]:
    peer = False
    for setting in settings:
        option = OPTIONS[setting.option]
        if setting.option == "--peer":
            peer = True
            yield from _peer(setting)
        elif option.section is Section.PEER and not peer:
            raise Failure(
                f"{setting.option} stands before any --peer",
                "write it behind the --peer that it belongs to",
                Exit.USAGE,
            )
        else:
            text = _secret(setting, warnings) if option.secret_file else setting.text
            yield Entry(setting.option, option.section, option.key, text)


def _peer(setting: Setting) -> Iterator[Entry]:
    """Cut `KEY@HOST:PORT`; no key has an @ in it."""
    key, at, endpoint = setting.text.partition("@")
    yield Entry("--peer", Section.PEER)
    yield Entry("--peer", Section.PEER, "PublicKey", key)
    if at:
        yield Entry("--peer", Section.PEER, "Endpoint", endpoint)


def _secret(setting: Setting, warnings: list[str]) -> str:
    if setting.text == "-":
        return sys.stdin.readline().strip()
    text, found = read_key_file(Path(setting.text))
    warnings.extend(found)
    return text


def _inner_network(entries: Sequence[Entry]) -> Iterator[Entry]:
    """Give a single peer the network of this side's addresses: the tunnel of two hosts."""
    if sum(entry.key == "PublicKey" for entry in entries) != 1:
        return
    for entry in entries:
        if entry.key == "Address":
            try:
                network = address(entry.value).network
            except ConfigError:
                # The address itself is complained of where it is read.
                continue
            if network.num_addresses > 1:
                yield Entry("--address", Section.PEER, "AllowedIPs", str(network))
