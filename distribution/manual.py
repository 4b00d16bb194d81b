"""sacip-tun(8) out of what `--help` says: man(7) text from the tree of parsers."""

import argparse
import re
from collections.abc import Iterator

from sacip_tun import __version__
from sacip_tun.cli.parser import DESCRIPTION, Parser, whole
from sacip_tun.outcome import MEANINGS

FILES = {
    "/etc/sacip-tun/NAME.conf": "what up NAME brings up; see sacip-tun.conf(5)",
    "/etc/wireguard/NAME.conf": "the same, where the first is not there: wg-quick's files",
    "/etc/sacip-tun/NAME.key": "the private key of an interface without a file; up makes it",
    "/run/sacip-tun/NAME.sock": "the control socket of a tunnel that is up",
    "/run/wireguard/NAME.sock": "the socket by which wg(8) sees and changes it",
}
SEE_ALSO = ("sacip-tun.conf(5)", "sacip-wg(8)", "wg(8)", "wg-quick(8)", "systemctl(1)")
SUPERVISED = """\
sacip-tun@NAME.service brings up NAME. systemctl restart and an upgrade of the package break no
inner connection: the interface and the outer sockets are kept meanwhile, and peers are called
again at once. SIGHUP, or systemctl reload, does what sacip-tun reload does: what the file says now
counts while packets move, and the journal names what is left to a restart.
"""


def manual() -> str:
    """Return the page."""
    return "\n".join(_page()) + "\n"


def _page() -> Iterator[str]:
    _, children = whole()
    yield f'.TH SACIP-TUN 8 "" "sacip-tun {__version__}" "System Administration"'
    yield ".SH NAME"
    yield escaped("sacip-tun - a VPN tunnel that does not notice when your address changes")
    yield ".SH SYNOPSIS"
    yield from (
        f".br\n.B {escaped(child.prog)}\n[\\fIARGUMENT\\fR ...]" for child in children.values()
    )
    yield ".SH DESCRIPTION"
    yield escaped(DESCRIPTION)
    yield ".SH COMMANDS"
    for child in children.values():
        yield from _command(child)
    yield ".SH UNDER SYSTEMD"
    yield escaped(SUPERVISED)
    yield ".SH EXIT STATUS"
    yield from terms({str(int(code)): text for code, text in MEANINGS.items()})
    yield ".SH FILES"
    yield from terms(FILES)
    yield ".SH SEE ALSO"
    yield escaped(", ".join(SEE_ALSO))


def _command(parser: Parser) -> Iterator[str]:
    yield f".SS {escaped(parser.prog)}"
    yield escaped(parser.description or "")
    usage = re.sub(r"^usage: ", "", parser.format_usage())
    yield from _verbatim(usage)
    nested = [
        action for action in parser._actions if isinstance(action, argparse._SubParsersAction)
    ]
    yield from terms({_name(action): action.help or "" for action in _shown(parser)})
    yield from _verbatim((parser.epilog or "").partition("exit codes:")[0])
    for action in nested:
        for child in action.choices.values():
            child.epilog = ""
            yield from _command(child)


def _shown(parser: Parser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        hidden = isinstance(action, argparse._HelpAction | argparse._SubParsersAction)
        if not hidden and action.help is not argparse.SUPPRESS:
            yield action


def _name(action: argparse.Action) -> str:
    metavar = action.metavar or (action.dest.upper() if action.nargs != 0 else "")
    if action.choices:
        metavar = "|".join(map(str, action.choices))
    names = ", ".join(action.option_strings)
    return f"{names} {metavar}".strip()


def terms(explained: dict[str, str]) -> Iterator[str]:
    """Yield a list of terms and what they mean."""
    for term, text in explained.items():
        yield f".TP\n.B {escaped(term)}\n{escaped(text)}"


def _verbatim(text: str) -> Iterator[str]:
    if text.strip():
        yield f".PP\n.nf\n{escaped(text.strip())}\n.fi"


def escaped(text: str) -> str:
    """Return text that man(7) shows as it is."""
    text = text.replace("\\", "\\e").replace("-", "\\-").strip("\n")
    return re.sub(r"(?m)^([.'])", r"\\&\1", text)
