"""A Docker engine for the time of a lab: nothing of it is left on the machine.

    with Engine() as engine:
        engine.import_base()      # Debian's base image, made here: no registry is asked
        engine.build()
        engine.isolate()          # from here on no container has a way out of this machine
        engine.docker("ps")

It lives in namespaces of its own, so that its bridges, its packet filter, its mounts and every
process of every container end with it, whatever happened. An image is built in the machine's own
network, without a bridge and without rules; the lab runs in a network of its own, which nobody
else sees: its subnets can be anybody's.
"""

import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from sacip_tun.lab.command import run as run_in_lab
from sacip_tun.lab.endings import undisturbed
from sacip_tun.linux.errors import SetupError

BASE = "debian:bookworm-slim"
SUITE = "bookworm"
MIRROR = "http://deb.debian.org/debian"
# Certificates that the owner of this machine trusts beside the public ones: a proxy's, mostly.
CERTIFICATES = Path("/usr/local/share/ca-certificates")
CGROUPS = Path("/sys/fs/cgroup")
# Without a bridge and rules: what is built uses the network that the engine is in.
ALONE = ("--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false")
# Where what is written does not wait for a disk, if it has room for the base system, in bytes.
MEMORY, ROOM = Path("/dev/shm"), 600 * 1024 * 1024  # noqa: S108
# A build downloads through the proxies that this machine does.
PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy")
# Seconds for the engine to answer and to end, for a command, and for one that downloads.
START, END, PATIENCE, DOWNLOAD = 30.0, 10.0, 300.0, 900.0

_engines = itertools.count(1)

# A command of a lab, with the patience that a container wants.
run = partial(run_in_lab, timeout=PATIENCE)


class Engine:
    """A context manager, in which the engine runs; at first in the machine's network."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._process: subprocess.Popen[bytes] | None = None
        self.directory = Path()
        """Where all of it is; gone with it."""
        self.cgroup = f"sacip-tun-{os.getpid()}-{next(_engines)}"

    def __enter__(self) -> Self:
        if shutil.which("dockerd") is None:
            raise SetupError("the Docker engine is missing", "tools/system-packages lab")
        made = tempfile.TemporaryDirectory(prefix="sacip-tun-engine-")
        self.directory = Path(self._stack.enter_context(made))
        self._stack.callback(remove_groups, self.cgroup)
        self._stack.callback(self._end)
        try:
            self._start("--fork", *_ISOLATED, arguments=ALONE)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with undisturbed():
            self._stack.close()

    @property
    def environment(self) -> dict[str, str]:
        """What a client of this engine needs in its environment."""
        # The classic builder: the newer one is a plugin that Debian's package does not have.
        return {**os.environ, "DOCKER_HOST": f"unix://{self._socket}", "DOCKER_BUILDKIT": "0"}

    def docker(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run `docker WORDS`. Raises CalledProcessError, with what it said as a note."""
        return run(["docker", *words], environment=self.environment, check=check)

    def import_base(self) -> None:
        """Make the image BASE with debootstrap, as Debian's own is made but for its paring."""
        if shutil.which("debootstrap") is None:
            raise SetupError("debootstrap is missing", "tools/system-packages lab")
        # In memory: the packages of a base system are written and synced one by one.
        with tempfile.TemporaryDirectory(prefix="sacip-tun-base-", dir=_with_room()) as name:
            root = Path(name) / "root"
            wanted = ("--variant=minbase", "--include=ca-certificates")
            # Its own mount namespace: what it mounts in there ends with it.
            inside = ("unshare", "--mount", *_BOUND, "debootstrap")
            made = [*inside, *wanted, SUITE, str(root), MIRROR]
            run(made, timeout=DOWNLOAD)
            _trust_as_here(root)
            (root / "etc/dpkg/dpkg.cfg.d/lab").write_text("force-unsafe-io\n")
            shutil.rmtree(root / "var/cache/apt/archives")
            self._import(root)

    def build(self, context: Path, tag: str) -> None:
        """Build an image in the machine's network."""
        words = ["docker", "build", "--quiet", "--network", "host", "--tag", tag]
        for name in (*PROXIES, *map(str.upper, PROXIES)):
            # Without a value here, which may have a password: the client takes its own.
            words += ["--build-arg", name] if name in os.environ else []
        run([*words, str(context)], environment=self.environment, timeout=DOWNLOAD)

    def isolate(self) -> None:
        """Start the engine again in a network of its own."""
        # Politely: its data is to be used again.
        self._end(signal.SIGTERM)
        self._start("--fork", "--net", *_ISOLATED, arguments=())

    def _import(self, root: Path) -> None:
        with subprocess.Popen(["tar", "-C", str(root), "-c", "."], stdout=subprocess.PIPE) as tar:
            run(["docker", "import", "-", BASE], environment=self.environment, stdin=tar.stdout)

    @property
    def _socket(self) -> Path:
        return self.directory / "docker.sock"

    @property
    def _log(self) -> Path:
        return self.directory / "log"

    def _start(self, *namespaces: str, arguments: tuple[str, ...]) -> None:
        command = [*_BOUND, "unshare", "--kill-child", *namespaces, "dockerd"]
        command += [f"--data-root={self.directory}/data", f"--exec-root={self.directory}/exec"]
        command += [f"--pidfile={self.directory}/pid", f"--host=unix://{self._socket}"]
        command += ["--exec-opt=native.cgroupdriver=cgroupfs", f"--cgroup-parent=/{self.cgroup}"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START
        while self.docker("version", check=False).returncode:
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = last_line(self._log.read_text(errors="replace"))
                raise SetupError(f"no Docker engine can be started here: {said}", "start one")
            time.sleep(0.1)

    def _end(self, number: signal.Signals = signal.SIGKILL) -> None:
        """End the engine, the first process of its namespace: all others end with it."""
        if self._process is None:
            return
        for child in _children(self._process.pid):
            with suppress(ProcessLookupError):
                os.kill(child, number)
        try:
            self._process.wait(END)
        except subprocess.TimeoutExpired:
            self._end()
            return
        self._process = None
        self._socket.unlink(missing_ok=True)
        (self.directory / "pid").unlink(missing_ok=True)


_ISOLATED = ("--pid", "--mount", "--mount-proc")
# Whatever ends this program ends the other one too.
_BOUND = ("setpriv", "--pdeathsig", "KILL")


def last_line(text: str) -> str:
    """Return the last line of a log that says something: mostly why it is the last one."""
    return next((line for line in reversed(text.splitlines()) if line.strip()), "no word")


def _with_room() -> Path | None:
    """Return memory where it is large enough, else None: the directory for temporary files."""
    return MEMORY if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= ROOM else None


def _trust_as_here(root: Path) -> None:
    """Let the base image trust whom this machine trusts, so that a build gets through as here."""
    for path in CERTIFICATES.glob("*.crt"):
        shutil.copy(path, root / CERTIFICATES.relative_to("/"))
    run(["chroot", str(root), "update-ca-certificates"])


def _children(process_id: int) -> list[int]:
    path = Path(f"/proc/{process_id}/task/{process_id}/children")
    return [int(word) for word in path.read_text().split()] if path.exists() else []


def remove_groups(name: str) -> None:
    """Remove what is left of an engine's control groups, which are empty by then."""
    for parent in (CGROUPS, *CGROUPS.iterdir()):
        group = parent / name
        if group.is_dir():
            for path in [*sorted(group.rglob("*/"), reverse=True), group]:
                with suppress(OSError):
                    path.rmdir()
