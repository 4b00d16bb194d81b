"""The hub whose peers are changed: its file, and the tunnel while it is up."""

import sys
from argparse import Namespace
from collections.abc import Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from sacip_tun.cli.control import Control
from sacip_tun.cli.directories import Directories
from sacip_tun.cli.terminal import printable
from sacip_tun.client.errors import NotRunning
from sacip_tun.client.sockets import running, socket_of
from sacip_tun.client.uapi import change
from sacip_tun.config import Config, Network, find
from sacip_tun.config.files import load_text
from sacip_tun.linux.unix import is_live
from sacip_tun.outcome import Exit, Failure
from sacip_tun.protocol.keys import from_base64


class Hub:
    """One configuration, named by a file or the interface; else it is that of the only tunnel."""

    def __init__(self, argument: str | None, directories: Directories) -> None:
        """Raises ConfigError where there is no such file, Failure where nobody can know which."""
        self._directories = directories
        name = argument or _only(directories.run)
        self.path: Path = _running(name, directories) or find(name, directories.configurations)
        self.name = self.path.stem

    @classmethod
    def of(cls, options: Namespace) -> "Hub":
        """Return the one that a command line means."""
        return cls(options.interface, options.directories)

    def read(self) -> tuple[Config, str]:
        """Read its file, where that is one that `up` takes. Raises ConfigError."""
        return load_text(str(self.path), self._directories.configurations)

    def status(self) -> dict[str, Any]:
        """Return the status document of the tunnel, empty where it is not up."""
        return _status(self._directories, self.name)

    def networks(self) -> list[Network]:
        """Return the allowed IPs of all peers of the tunnel, none where it is not up."""
        peers = self.status().get("peers", ())
        return [ip_network(text) for peer in peers for text in peer["allowed_ips"]]

    def let_in(self, public: str, preshared: str, allowed: Sequence[str]) -> bool:
        """Add a peer to the tunnel; False where it is not up. Raises Failure."""
        return self._change(
            [
                f"public_key={from_base64(public).hex()}",
                f"preshared_key={from_base64(preshared).hex()}",
                "replace_allowed_ips=true",
                *(f"allowed_ip={network}" for network in allowed),
            ]
        )

    def keep_out(self, public: str) -> bool:
        """Remove a peer from the tunnel; False where it is not up. Raises Failure."""
        return self._change([f"public_key={from_base64(public).hex()}", "remove=true"])

    def _change(self, lines: Sequence[str]) -> bool:
        try:
            change(socket_of(self._directories.uapi, self.name), lines)
        except NotRunning:
            return False
        return True

    def tell(self, text: str, *, live: bool) -> None:
        """Say what was done, not into what may be piped into a file."""
        where = f"saved in {self.path}" if live else f"saved in {self.path}; it is not up"
        print(f"sacip-tun: {printable(text)}; {where}", file=sys.stderr)


def _running(name: str, directories: Directories) -> Path | None:
    """Return the file that the tunnel of this name was brought up from, None where it is not up."""
    if "/" in name or name.endswith(".conf"):
        return None
    source = _status(directories, name).get("source")
    return Path(source) if source else None


def _status(directories: Directories, name: str) -> dict[str, Any]:
    try:
        with Control(socket_of(directories.run, name)) as control:
            return control.request("status")
    except NotRunning:
        return {}


def _only(directory: Path) -> str:
    up = [path for path in running(directory) if is_live(path)]
    if len(up) != 1:
        names = ", ".join(path.stem for path in up)
        raise Failure(
            f"several tunnels are up: {names}" if up else "no tunnel is up",
            "say whose peer it is: --interface NAME, or the path of its file",
            Exit.USAGE,
        )
    return up[0].stem
