"""systemd-resolved over D-Bus: the servers and domains of one link.

Its methods are called with busctl, which comes in one package with the resolver: a D-Bus library
would be a dependency for four calls (docs/decisions/0078-dns.md). What is set goes with the link.
"""

import re
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from socket import AF_INET, AF_INET6

from sacip_tun.protocol.address import Host

NAME = "systemd-resolved"
SERVICE, OBJECT = "org.freedesktop.resolve1", "/org/freedesktop/resolve1"
MANAGER = f"{SERVICE}.Manager"
RUNTIME = Path("/run/systemd/resolve")
# The servers of all links, for those who do not ask it.
UPLINKS = RUNTIME / "resolv.conf"
RESOLV_CONF, NSSWITCH = Path("/etc/resolv.conf"), Path("/etc/nsswitch.conf")
# The addresses that its stub answers at.
STUBS = frozenset({"127.0.0.53", "127.0.0.54"})
PATIENCE = 5.0


def is_asked() -> bool:
    """Tell whether this host's names are resolved by it, and not only whether it runs."""
    if not RUNTIME.is_dir():
        return False
    if RESOLV_CONF.resolve().is_relative_to(RUNTIME) or any(map(STUBS.__contains__, servers())):
        return True
    return re.search(r"^hosts:.*\bresolve\b", _text(NSSWITCH), re.MULTILINE) is not None


def servers() -> list[str]:
    """Return the name servers of resolv.conf."""
    return re.findall(r"^nameserver\s+(\S+)", _text(RESOLV_CONF), re.MULTILINE)


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def set_link(index: int, hosts: Sequence[Host], search: Sequence[str], *, exclusive: bool) -> None:
    """Let a link's servers be asked: for everything if `exclusive`, else for its domains.

    Raises OSError.
    """
    _call("SetLinkDNS", "ia(iay)", str(index), str(len(hosts)), *_addresses(hosts))
    domains = [(name, "false") for name in search]
    domains += [(".", "true")] if exclusive else []
    flat = (word for domain in domains for word in domain)
    _call("SetLinkDomains", "ia(sb)", str(index), str(len(domains)), *flat)
    _call("SetLinkDefaultRoute", "ib", str(index), "true" if exclusive else "false")


def revert_link(index: int) -> None:
    """Forget what was set for a link. Raises OSError."""
    _call("RevertLink", "i", str(index))


def _addresses(hosts: Iterable[Host]) -> list[str]:
    words = list[str]()
    for host in hosts:
        words += [str(int(AF_INET if host.version == 4 else AF_INET6)), str(len(host.packed))]
        words += map(str, host.packed)
    return words


def _call(method: str, signature: str, *words: str) -> None:
    line = ["busctl", "--system", "--quiet", "call", SERVICE, OBJECT, MANAGER, method, signature]
    try:
        done = subprocess.run(
            [*line, *words], capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        raise OSError("systemd-resolved does not answer") from None
    if done.returncode:
        raise OSError(f"systemd-resolved: {method}: {done.stderr.strip() or done.returncode}")
