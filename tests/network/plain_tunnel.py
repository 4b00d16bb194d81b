"""What is configured with `wg`: wireguard-go and boringtun-cli on a host, and our sacip-wg."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sacip_tun.lab.namespaces import Host, interface_name
from sacip_tun.lab.tunnel import Keys, Remote

REPOSITORY = Path(__file__).parents[2]
PATIENCE = 10.0


def wireguard_go() -> str:
    found = shutil.which("wireguard-go")
    assert found, "wireguard-go is missing: apt-get install wireguard-go, or `make test`"
    return found


def boringtun() -> str:
    built = REPOSITORY / ".tools" / "bin" / "boringtun-cli"
    found = os.environ.get("BORINGTUN") or shutil.which("boringtun-cli")
    if not found and built.exists():
        found = str(built)
    assert found, (
        "boringtun-cli is missing: `tools/boringtun` builds it into .tools/bin (needs cargo; it is "
        "also looked for on PATH and in $BORINGTUN)"
    )
    return found


@dataclass(frozen=True)
class Program:
    """How an implementation is started in the foreground."""

    name: str
    find: Callable[[], str]
    options: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()

    def command(self, interface: str) -> list[str]:
        return [self.find(), *self.options, interface]


WIREGUARD_GO = Program(
    "wireguard-go", wireguard_go, ("-f",),
    (("WG_PROCESS_FOREGROUND", "1"), ("LOG_LEVEL", "verbose")),
)  # fmt: skip
# Ours, started as wireguard-go is: everything about it is done with `wg` and `ip`.
SACIP_WG = Program("sacip-wg", lambda: sys.executable, ("-m", "sacip_tun.cli.wg", "-f"))
# Dropping privileges would need a login name, which a test run may not have.
BORINGTUN = Program(
    "boringtun", boringtun, ("-f", "--disable-drop-privileges", "--verbosity", "info")
)


class PlainTunnel:
    """One end that is made as WireGuard's users do it."""

    def __init__(
        self, host: Host, address: str, program: Program = WIREGUARD_GO, listen_port: int = 51820
    ) -> None:
        self.host = host
        self.address = address
        self.program = program
        self.listen_port = listen_port
        self.keys = Keys.new()
        self.name = interface_name()
        self.process: subprocess.Popen[str] | None = None

    @property
    def inner(self) -> str:
        return self.address.partition("/")[0]

    def start(self) -> None:
        self.process = self.host.start(
            self.program.command(self.name), environment=dict(self.program.environment)
        )
        self._wait_for_its_socket()

    def up(self, *remotes: Remote) -> None:
        self.start()
        private = self.secret_file("private", self.keys.private)
        self.set("private-key", str(private), "listen-port", str(self.listen_port))
        for remote in remotes:
            self.set_peer(remote)
        self.host.ip(f"addr add {self.address} dev {self.name}")
        self.host.ip(f"link set {self.name} mtu 1420 up")

    def set(self, *words: str) -> None:
        self.host.run(["wg", "set", self.name, *words])

    def set_peer(self, remote: Remote) -> None:
        words = ["peer", remote.public, "allowed-ips", ",".join(remote.allowed)]
        if remote.endpoint is not None:
            words += ["endpoint", remote.endpoint]
        if remote.preshared is not None:
            words += ["preshared-key", str(self.secret_file("preshared", remote.preshared))]
        if remote.keepalive is not None:
            words += ["persistent-keepalive", str(remote.keepalive)]
        self.set(*words)

    def show(self, field: str, public: str) -> str:
        """One peer's value of `wg show NAME FIELD`."""
        return shown(self.host, self.name, field)[public]

    def handshake(self, public: str) -> int:
        """The last handshake in seconds since 1970, 0 where there was none."""
        return int(self.show("latest-handshakes", public))

    def endpoint(self, public: str) -> str:
        return self.show("endpoints", public)

    @property
    def log(self) -> str:
        return self.host.log(self.process)

    def _wait_for_its_socket(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while self.host.run(["wg", "show", self.name], check=False).returncode:
            assert self.process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.02)

    def secret_file(self, name: str, secret: str) -> Path:
        path = self.host.network.directory / f"{self.name}-{name}"
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(f"{secret}\n")
        return path


def shown(host: Host, name: str, field: str) -> dict[str, str]:
    """What `wg show NAME FIELD` says of each peer, by its public key."""
    lines = host.run(["wg", "show", name, field]).stdout.splitlines()
    return dict(line.split("\t", 1) for line in lines)


def wg_quick(host: Host, verb: str, path: Path, userspace: Path | str) -> None:
    """Run Debian's `wg-quick up` or `down`, with that program where the kernel has no WireGuard.

    It calls `wg show interfaces`, which deletes every socket that does not listen yet, also that of
    a wireguard-go of another test: who uses this runs alone.
    """
    found = shutil.which("wg-quick")
    assert found, "wg-quick is missing: apt-get install wireguard-tools"
    host.run(["env", f"WG_QUICK_USERSPACE_IMPLEMENTATION={userspace}", found, verb, str(path)])
