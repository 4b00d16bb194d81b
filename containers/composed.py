"""The lab of docker-compose.yml: up, what is done in it, and down."""

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from subprocess import DEVNULL, STDOUT, CompletedProcess, Popen
from types import TracebackType
from typing import IO, Self

from engine import PATIENCE, last_line, run

from sacip_tun.lab.endings import undisturbed
from sacip_tun.linux.errors import SetupError

TREE = Path(__file__).resolve().parents[1]
IMAGE = "sacip-tun-lab"
HUB, LAPTOP = "sacip-hub", "sacip-laptop"
PROJECT = '{{.Label "com.docker.compose.project"}}'
# What has the same name in whatever project the lab is up: so there is one lab in an engine.
NAMED = {
    ("ps", "-a", "--format", "{{.Names}} " + PROJECT): (HUB, LAPTOP),
    ("network", "ls", "--format", "{{.Name}} " + PROJECT): ("sacip-wifi", "sacip-lte"),
}
# How long the lab may take to be healthy, in seconds.
HEALTHY = 90.0

Environment = Mapping[str, str]

# What Docker says of a lab that cannot be made here, and what helps.
REMEDIES = {
    "Pool overlaps": "another network of this machine has these addresses: LAB_NET=10.78 make lab",
    "/dev/net/tun": "load the kernel's module: modprobe tun",
    "nat-unprotected": "Docker 27 knows this kind of network by another name: LAB_GATEWAY_MODE=nat",
    "Cannot connect to the Docker daemon": "start the engine, or leave it to: make lab",
}


class Lab:
    """A context manager, in which the lab is up and healthy. Keys, networks and all go with it."""

    def __init__(self, environment: Environment) -> None:
        # Not the project of the directory: what a visitor has up there is not ours to take down.
        self.environment = {"COMPOSE_PROJECT_NAME": "sacip-lab", **environment}
        self._command = compose_command(self.environment)
        self._started: list[Popen[str]] = []
        self.net = self.environment.get("LAB_NET") or "10.77"

    def __enter__(self) -> Self:
        self._require_no_other()
        made = tempfile.TemporaryDirectory(prefix="sacip-tun-lab-")
        self._directory = made
        try:
            self.compose("up", "-d")
            self.wait_until_healthy()
        except BaseException:
            self._down()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._down()

    def compose(self, *words: str, patience: float = PATIENCE) -> CompletedProcess[str]:
        """Run compose. Raises SetupError with a remedy where one is known, TimeoutExpired."""
        done = self._compose(*words, patience=patience)
        if done.returncode:
            said = f"{done.stdout}{done.stderr}".strip()
            remedy = next((cure for sign, cure in REMEDIES.items() if sign in said), None)
            raise SetupError(f"compose {words[0]} failed: {said[-2000:]}", remedy or "see above")
        return done

    def docker(self, *words: str, check: bool = True) -> CompletedProcess[str]:
        """Run `docker WORDS`. Raises CalledProcessError."""
        return run(["docker", *words], environment=self.environment, check=check, apart=True)

    def container(self, part: str) -> "Container":
        """Return a running part of the lab."""
        found = self.compose("ps", "-q", part).stdout.split()
        if not found:
            raise SetupError(f"the part {part} does not run", f"docker compose logs {part}")
        return Container(self, part, found[0])

    def start(self, command: Sequence[str], stdin: int, stdout: int | IO[bytes]) -> Popen[str]:
        """Start a client of the engine that ends with the lab at the latest."""
        stderr = STDOUT if not isinstance(stdout, int) else DEVNULL
        process = Popen(
            command,
            env=self.environment,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            text=True,
            start_new_session=True,
        )
        self._started.append(process)
        return process

    def log_path(self, name: str) -> Path:
        """Return where one of the started may write."""
        return Path(self._directory.name) / f"{name}-{len(self._started)}.log"

    def wait_until_healthy(self) -> None:
        """Wait for the tunnel's ends. Raises SetupError with the health check's last words."""
        deadline = time.monotonic() + HEALTHY
        for name in (HUB, LAPTOP):
            while (state := self._health(name)) != "healthy":
                if time.monotonic() > deadline:
                    said = self.docker("logs", "--tail", "20", name, check=False)
                    cause = f"{name} is {state}: {last_line(said.stdout + said.stderr)}"
                    raise SetupError(cause, f"docker compose up; docker logs {name}")
                time.sleep(0.2)

    def _health(self, name: str) -> str:
        form = "{{.State.Status}} {{.State.Health.Status}}"
        words = self.docker("inspect", "-f", form, name, check=False).stdout.split()
        return "not there" if not words else words[1] if words[0] == "running" else words[0]

    def _compose(self, *words: str, patience: float = PATIENCE) -> CompletedProcess[str]:
        command = [*self._command, *words]
        return run(command, environment=self.environment, check=False, timeout=patience, apart=True)

    def _require_no_other(self) -> None:
        found = self._present()
        if not found:
            return
        # Up or stopped, it is somebody's: `up` here would fail, and `down` take its networks away.
        name, _, project = found[0].partition(" ")
        whose = f" -p {project}" if project else ""
        down = f"{' '.join(self._command)}{whose} down -v"
        raise SetupError(f"a lab is up already: {name} is there", f"take it down first: {down}")

    def _present(self) -> list[str]:
        """Return what there is of a lab, the name and the project of each."""
        found = []
        for command, names in NAMED.items():
            filters = [f"--filter=name=^{name}$" for name in names]
            found += self.docker(*command, *filters, check=False).stdout.splitlines()
        return found

    def _down(self) -> None:
        with undisturbed():
            for process in self._started:
                with process:
                    process.kill()
            # Nothing in it has anything to save.
            done = self._compose("down", "-v", "-t", "0")
            left = self._present()
            if done.returncode or left:
                what = ", ".join(left) or "all of it"
                said = last_line(done.stderr)
                print(f"lab: could not remove {what}: {said}", file=sys.stderr)
            self._directory.cleanup()


class Container:
    """One part of the lab, with what `sacip_tun.lab.connection` wants of a host."""

    python = "/opt/sacip-tun/bin/python"

    def __init__(self, lab: Lab, name: str, identity: str) -> None:
        self.lab = lab
        self.name = name
        self.identity = identity
        self._logs: dict[int, Path] = {}

    def run(self, *command: str, check: bool = True) -> CompletedProcess[str]:
        """Run a command in it. Raises CalledProcessError."""
        return self.lab.docker("exec", self.identity, *command, check=check)

    def start(self, command: Sequence[str]) -> Popen[str]:
        """Start a command in it; what it prints goes to a file: see `log`."""
        path = self.lab.log_path(self.name)
        with path.open("wb") as log:
            process = self.lab.start(["docker", "exec", self.identity, *command], DEVNULL, log)
        self._logs[process.pid] = path
        return process

    def talk(self, *command: str) -> Popen[str]:
        """Start a command in it with pipes to and from it."""
        words = ["docker", "exec", "-i", self.identity, *command]
        return self.lab.start(words, subprocess.PIPE, subprocess.PIPE)

    def log(self, process: Popen[str]) -> str:
        """Return what a process of `start` printed so far."""
        return self._logs[process.pid].read_text(errors="replace")


def compose_command(environment: Environment) -> list[str]:
    """Return how to call compose: v2, else Debian's. Raises SetupError where there is neither."""
    file = ["-f", str(TREE / "docker-compose.yml")]
    if not run(["docker", "compose", "version"], environment=environment, check=False).returncode:
        return ["docker", "compose", *file]
    if shutil.which("docker-compose"):
        return ["docker-compose", *file]
    raise SetupError("docker compose is missing", "tools/system-packages lab")


def engine_runs() -> bool:
    """Tell whether this machine has an engine that we may use."""
    if shutil.which("docker") is None:
        return False
    return not run(["docker", "info"], check=False).returncode
