"""One end of our tunnel on a host of the lab, run through the command line as a user would."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CompletedProcess, Popen
from typing import Any, Self

from sacip_tun.lab.namespaces import Host, interface_name
from sacip_tun.lab.timeline import records
from sacip_tun.linux.errors import SetupError
from sacip_tun.protocol.keys import clamped, public_key, to_base64

Document = dict[str, Any]

PROGRAM = (sys.executable, "-m", "sacip_tun")
# How long an interface may take to come up, and a peer to answer, in seconds.
PATIENCE = 15.0


@dataclass(frozen=True, slots=True)
class Keys:
    """A key pair in base64."""

    private: str = field(repr=False)
    public: str

    @classmethod
    def new(cls) -> Self:
        """Make a new pair."""
        private = clamped(os.urandom(32))
        return cls(to_base64(private), to_base64(public_key(private)))


@dataclass(frozen=True, slots=True)
class Remote:
    """The other end, as a tunnel is told of it."""

    public: str
    endpoint: str | None = None
    """HOST:PORT, None where it will call."""
    allowed: tuple[str, ...] = ()
    preshared: str | None = field(default=None, repr=False)
    keepalive: int | None = None

    @property
    def section(self) -> str:
        """The [Peer] section that says the same."""
        lines = {
            "PublicKey": self.public,
            "PresharedKey": self.preshared,
            "AllowedIPs": ", ".join(self.allowed) or None,
            "Endpoint": self.endpoint,
            "PersistentKeepalive": self.keepalive,
        }
        given = (f"{key} = {value}\n" for key, value in lines.items() if value is not None)
        return "[Peer]\n" + "".join(given)


def interface_section(keys: Keys, addresses: Sequence[str], lines: Sequence[str] = ()) -> str:
    """Return the [Interface] section of a file, with `lines` at its end."""
    own = [f"PrivateKey = {keys.private}", f"Address = {', '.join(addresses)}", *lines]
    return "\n".join(["[Interface]", *own, ""])


class LabTunnel:
    """One end: its key, its inner addresses, and the daemon that runs it.

    `options` are further ones of `up`.
    """

    def __init__(
        self,
        host: Host,
        address: str,
        listen_port: int = 51820,
        more: tuple[str, ...] = (),
        options: tuple[str, ...] = (),
    ) -> None:
        self.host = host
        self.address = address
        self.more = more
        self.options = options
        self.listen_port = listen_port
        self.keys = Keys.new()
        self.name = interface_name()
        self._daemon: Popen[str] | None = None
        self._monitor: Popen[str] | None = None

    @property
    def inner(self) -> str:
        """The inner address without its prefix length."""
        return self.address.partition("/")[0]

    def secret_file(self, name: str, secret: str) -> Path:
        """Write a secret where only its owner can read it."""
        path = self.host.network.directory / f"{self.name}-{name}"
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write(f"{secret}\n")
        return path

    def up(self, *remotes: Remote) -> None:
        """Bring it up and wait until it is. Raises SetupError with the daemon's own words."""
        private = self.secret_file("private", self.keys.private)
        line = ["up", "--foreground", "--interface", self.name, "--private-key-file", str(private)]
        for address in (self.address, *self.more):
            line += ["--address", address]
        line += ["--listen-port", str(self.listen_port), *self.options]
        for number, remote in enumerate(remotes):
            line += self._arguments(number, remote)
        self._start(line)

    def up_from_file(self, *remotes: Remote, lines: tuple[str, ...] = ()) -> None:
        """Bring it up from a configuration file, with `lines` in its [Interface] section too.

        For more peers than a command line can name, and for what it has no option for.
        """
        self._start(["up", str(self.configuration(*remotes, lines=lines)), "--foreground"])

    def configuration(self, *remotes: Remote, lines: tuple[str, ...] = ()) -> Path:
        """Write a file that `up` takes, and return where it is."""
        own = (f"ListenPort = {self.listen_port}", *lines)
        sections = [interface_section(self.keys, (self.address, *self.more), own)]
        sections += [remote.section for remote in remotes]
        path = self.host.network.directory / f"{self.name}.conf"
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write("".join(sections))
        return path

    def _start(self, line: list[str], inside: Sequence[str] = ()) -> None:
        self._daemon = self.host.start([*inside, *PROGRAM, *line])
        self._wait_until_up(self._daemon)
        self._monitor = monitored(self.host, self.name)

    def _arguments(self, number: int, remote: Remote) -> list[str]:
        at = "" if remote.endpoint is None else f"@{remote.endpoint}"
        line = ["--peer", f"{remote.public}{at}"]
        if remote.allowed:
            line += ["--allowed-ips", *remote.allowed]
        if remote.preshared is not None:
            path = self.secret_file(f"preshared-{number}", remote.preshared)
            line += ["--preshared-key-file", str(path)]
        if remote.keepalive is not None:
            line += ["--persistent-keepalive", str(remote.keepalive)]
        return line

    def _wait_until_up(self, daemon: Popen[str]) -> None:
        deadline = time.monotonic() + PATIENCE
        while self.command("status", self.name, check=False).returncode:
            if daemon.poll() is not None or time.monotonic() > deadline:
                raise SetupError(
                    f"the tunnel on {self.host.name} did not come up",
                    f"it said: {self.log.strip() or 'nothing'}",
                )
            time.sleep(0.05)

    @property
    def log(self) -> str:
        """What the daemon wrote to stderr."""
        return "" if self._daemon is None else self.host.log(self._daemon)

    @property
    def process_id(self) -> int | None:
        """The daemon's process id, None before it was started."""
        return None if self._daemon is None else self._daemon.pid

    def command(self, *words: str, check: bool = True) -> CompletedProcess[str]:
        """Run `sacip-tun WORDS` on this host. Raises CalledProcessError where it fails."""
        return self.host.run([*PROGRAM, *words], check=check)

    def status(self) -> Document:
        """Return what `sacip-tun status NAME --json` says."""
        document: Document = json.loads(self.command("status", self.name, "--json").stdout)
        return document

    def peer(self, public: str) -> Document:
        """Return the part of the status that is about one peer."""
        for document in self.status()["peers"]:
            if document["public_key"] == public:
                found: Document = document
                return found
        raise KeyError(public)

    def active(self, public: str, side: str) -> str | None:
        """Return the endpoint in use: of `side` "local" or "remote", towards one peer."""
        pair = self.peer(public)[side]
        endpoint: str | None = pair["slots"][pair["active"]]
        return endpoint

    def events(self, name: str | None = None) -> list[Document]:
        """Return what `sacip-tun monitor --json` printed since it is up: all, or those of a name.

        It listens before `up` returns; of a handshake that comes at once the start may be missing.
        """
        if self._monitor is None:
            return []
        found = records(self.host.log(self._monitor).splitlines())
        return [record for record in found if name is None or record.get("event") == name]

    def reach(self, inner: str) -> None:
        """Ping an inner address until it answers. Raises SetupError where it does not."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if _answers(self.host, inner):
                return
        raise SetupError(
            f"{self.host.name} does not reach {inner} through the tunnel",
            f"its daemon said: {self.log.strip() or 'nothing'}",
        )


def monitored(host: Host, name: str) -> Popen[str]:
    """Start `sacip-tun monitor NAME --json` and wait until it listens.

    Raises SetupError where it does not.
    """
    monitor = host.start([*PROGRAM, "monitor", name, "--json"])
    deadline = time.monotonic() + PATIENCE
    while "listening to" not in host.log(monitor):
        if monitor.poll() is not None or time.monotonic() > deadline:
            raise SetupError(
                f"'monitor {name}' does not listen",
                f"it said: {host.log(monitor).strip() or 'nothing'}",
            )
        time.sleep(0.01)
    return monitor


def _answers(host: Host, inner: str) -> bool:
    try:
        done = host.run(["ping", "-n", "-c", "1", "-W", "1", inner], check=False)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0
