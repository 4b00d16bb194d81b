"""Hosts and Ethernet segments made of network namespaces, and what runs in them.

    with Network() as network:
        lan = network.segment("lan")
        mover = network.host("mover")
        mover.plug(lan, "eth0", "192.168.1.22/24")
        mover.ip("addr add 192.168.1.2/24 dev eth0")

A host is a namespace; a segment is a namespace with a bridge in it, so that no port of the bridge
is in anybody's way. Names have the process id in them: labs never meet. Leaving the context stops
by process id what runs in the namespaces and deletes them, also on failure, SIGTERM and SIGHUP.
"""

import itertools
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from subprocess import DEVNULL, STDOUT, CompletedProcess, Popen
from types import TracebackType
from typing import IO, Self

from sacip_tun.lab.command import PATIENCE, run
from sacip_tun.lab.endings import ENDINGS, undisturbed
from sacip_tun.linux.errors import SetupError

NETNS = Path("/run/netns")
# How long processes may take to end by themselves, in seconds.
GRACE = 3.0

# Set in each host before its first interface exists, which takes the defaults over.
SYSCTLS: Mapping[str, int] = {
    # Off, as the kernel has it: some moves here make the way back another one.
    "ipv4/conf/{}/rp_filter": 0,
    # The deck's tests start from a secondary address that is to survive its primary (slide 7).
    "ipv4/conf/{}/promote_secondaries": 1,
    # A new IPv6 address is usable at once; nobody else is on these segments.
    "ipv6/conf/{}/accept_dad": 0,
}

_networks = itertools.count(1)
_interfaces = itertools.count()


def interface_name() -> str:
    """Return a name for a tunnel interface that no other host and no other lab has.

    Control sockets are named after the interface and lie in one directory for all namespaces.
    """
    return f"lab{os.getpid()}{_letters(next(_interfaces))}"


def _letters(number: int) -> str:
    head, last = divmod(number, 26)
    return (_letters(head - 1) if head else "") + chr(ord("a") + last)


class Network:
    """The namespaces of one lab; a context manager, in which they exist."""

    def __init__(self) -> None:
        self._name = f"lab{os.getpid()}-{next(_networks)}"
        self._hosts: list[Host] = []
        self._processes: list[Popen[str]] = []
        self._stack = ExitStack()
        self.directory = Path()
        """For logs and keys; readable by its owner only, and gone with the network."""

    def __enter__(self) -> Self:
        directory = tempfile.TemporaryDirectory(prefix="sacip-tun-")
        self.directory = Path(self._stack.enter_context(directory))
        self._stack.callback(self._tear_down)
        self._end_on_signals()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with undisturbed():
            self._stack.close()

    def host(self, name: str, **sysctls: int) -> "Host":
        """Make a host.

        `sysctls` replace values of SYSCTLS by their last word, as in `promote_secondaries=0`.
        Raises SetupError where namespaces cannot be made here.
        """
        host = Host(self, name, f"{self._name}-{name}")
        self._hosts.append(host)
        _make_namespace(host.namespace)
        _write_sysctls(host, sysctls)
        host.ip("link set lo up")
        return host

    def segment(self, name: str) -> "Segment":
        """Make an Ethernet segment: what is plugged into it is in one broadcast domain."""
        host = self.host(name)
        # A bridge that joins IPv6 on its own behalf would only add noise.
        host.write_sysctl("ipv6/conf/default/disable_ipv6", 1)
        host.ip("link add br0 type bridge forward_delay 0 stp_state 0")
        host.ip("link set br0 up")
        return Segment(host)

    def started(self, process: Popen[str]) -> None:
        """Take care that a process ends with the network."""
        self._processes.append(process)

    def _end_on_signals(self) -> None:
        """Let SIGTERM and SIGHUP end this program as Ctrl-C does, through every `finally`."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in ENDINGS:
            previous = signal.signal(number, signal.default_int_handler)
            self._stack.callback(signal.signal, number, previous)

    def _tear_down(self) -> None:
        for process in reversed(self._processes):
            process.terminate()
        for process in self._processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(GRACE)
        for host in self._hosts:
            host.end_processes()
        for process in self._processes:
            process.wait()
        for host in reversed(self._hosts):
            run(["ip", "netns", "delete", host.namespace], check=False)


class Host:
    """One namespace and what is done in it."""

    python = sys.executable

    def __init__(self, network: Network, name: str, namespace: str) -> None:
        self.network = network
        self.name = name
        self.namespace = namespace
        self._logs: dict[int, Path] = {}

    def plug(self, segment: "Segment", interface: str, *addresses: str) -> None:
        """Make an interface that is connected to the segment, up, with these addresses."""
        port = segment.next_port()
        self.ip(
            f"link add {interface} type veth peer name {port} netns {segment.host.namespace}",
        )
        segment.host.ip(f"link set {port} master br0 up")
        for address in addresses:
            self.ip(f"addr add {address} dev {interface}")
        self.ip(f"link set {interface} up")

    def ip(self, line: str) -> str:
        """Run iproute2's `ip` with these words and return what it prints.

        Raises CalledProcessError, whose note has what it complained about.
        """
        return run(["ip", "-n", self.namespace, *shlex.split(line)]).stdout

    def run(
        self, command: Sequence[str], *, check: bool = True, timeout: float = PATIENCE
    ) -> CompletedProcess[str]:
        """Run a command to its end, with its output as text.

        Raises CalledProcessError where it fails and `check` is set, TimeoutExpired.
        """
        return run([*self._inside, *command], check=check, timeout=timeout)

    def start(
        self,
        command: Sequence[str],
        *,
        stdin: int | IO[str] = DEVNULL,
        stdout: int | IO[str] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Popen[str]:
        """Start a command that ends with the network at the latest.

        Unless `stdout` is given, what it prints goes to a file: see `log`.
        """
        path = self.network.directory / f"{self.name}-{len(self._logs)}.log"
        with path.open("wb") as log:
            process = Popen(
                [*self._inside, *command],
                stdin=stdin,
                stdout=log if stdout is None else stdout,
                stderr=STDOUT if stdout is None else log,
                env=None if environment is None else {**os.environ, **environment},
                text=True,
                # Ctrl-C is for the lab; it ends the others in its own order.
                start_new_session=True,
            )
        self._logs[process.pid] = path
        self.network.started(process)
        return process

    def log(self, process: Popen[str]) -> str:
        """Return what a process of `start` printed so far."""
        return self._logs[process.pid].read_text(errors="replace")

    def write_sysctl(self, name: str, value: int) -> None:
        """Set one value below /proc/sys/net."""
        self.run(["sh", "-c", f"echo {value} > /proc/sys/net/{name}"])

    def end_processes(self) -> None:
        """End what still runs in this namespace, by process id: politely, then not."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            deadline = time.monotonic() + GRACE
            _signal(self.process_ids(), number)
            while self.process_ids() and time.monotonic() < deadline:
                time.sleep(0.01)

    def process_ids(self) -> list[int]:
        """Return what runs in this namespace."""
        found = run(["ip", "netns", "pids", self.namespace], check=False)
        return [int(word) for word in found.stdout.split()]

    @property
    def _inside(self) -> list[str]:
        # Unlike `ip netns exec` this mounts nothing, which a user namespace may not be allowed.
        return ["nsenter", f"--net={NETNS / self.namespace}", "--"]


class Segment:
    """One Ethernet segment: a bridge in a namespace of its own."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self._ports = itertools.count(1)

    def next_port(self) -> str:
        """Return a name for the next port of the bridge."""
        return f"port{next(self._ports)}"


def _make_namespace(name: str) -> None:
    try:
        run(["ip", "netns", "add", name])
    except FileNotFoundError:
        raise SetupError("the command `ip` is missing", "install iproute2", missing=True) from None
    except subprocess.CalledProcessError as error:
        raise SetupError(
            f"cannot make a network namespace: {error.stderr.strip()}",
            "run it as root; in a container, with --cap-add SYS_ADMIN --cap-add NET_ADMIN",
            missing=True,
        ) from None


def _write_sysctls(host: Host, replaced: Mapping[str, int]) -> None:
    lines = []
    for name, value in SYSCTLS.items():
        wanted = replaced.get(name.rpartition("/")[2], value)
        # `all` counts too: the kernel takes the larger one of it and the interface's own.
        lines += [f"echo {wanted} > /proc/sys/net/{name.format(part)}" for part in _PARTS]
    host.run(["sh", "-ec", "\n".join(lines)])


_PARTS = ("all", "default")


def _signal(process_ids: Iterable[int], number: signal.Signals) -> None:
    for process_id in process_ids:
        with suppress(ProcessLookupError):
            os.kill(process_id, number)
