"""Live flows through the tunnel of two hosts, and what a move did to each of them."""

import os
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from one_way import Heard, Stream

from sacip_tun.lab.connection import Connection, survived
from sacip_tun.lab.namespaces import Host
from sacip_tun.lab.timeline import Timeline
from sacip_tun.lab.tunnel import LabTunnel

Document = dict[str, Any]

# Mbit/s in each direction: enough for several packets in every millisecond that a move takes,
# little for two processors that carry both ends.
RATE = 8.0
PORTS = {"upload": 5001, "download": 5002, "keystrokes": 5003}
# How long the flows run before anything happens to them, in seconds.
RUN_IN = 1.0
# How long after a move TCP's timers may still expire for it, in seconds: the least one is 200 ms.
SETTLING = 1.0


@dataclass(frozen=True)
class Felt:
    """What the two ends of one connection saw of it: `receivers` are those that got its bytes."""

    ends: tuple[Document, Document]
    receivers: tuple[Document, ...]

    @property
    def intact(self) -> bool:
        return survived(*self.ends)

    @property
    def retransmissions(self) -> int:
        return sum(end["retransmissions"] for end in self.ends)

    @property
    def silence_ms(self) -> float:
        return max(end["longest_silence_ms"] for end in self.receivers)

    def after(self, usable: float) -> float:
        """How long after `usable` (Unix seconds) the last longest silence ended, in ms."""
        return max(
            min(
                (end["silent_from_unix"] - usable) * 1000 + end["longest_silence_ms"],
                end["longest_silence_ms"],  # it began later: something else was the matter
            )
            for end in self.receivers
        )


def counters(host: Host) -> Counter[str]:
    """The TCP counters of one host's kernel (/proc/net/snmp and netstat)."""
    files = ["/proc/net/snmp", "/proc/net/netstat"]
    lines = host.run(["grep", "-hE", "^(Tcp|TcpExt):", *files]).stdout.splitlines()
    found: Counter[str] = Counter()
    for names, numbers in zip(lines[::2], lines[1::2], strict=True):
        found.update(dict(zip(names.split()[1:], map(int, numbers.split()[1:]), strict=True)))
    return found


def processor_time(end: LabTunnel) -> float:
    """What the daemon of one end has taken so far, in seconds (proc_pid_stat(5))."""
    assert end._daemon is not None
    fields = Path(f"/proc/{end._daemon.pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def resident(process_id: int) -> float:
    """The memory of a process that is in RAM, in MB (proc_pid_status(5))."""
    text = Path(f"/proc/{process_id}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0]) / 1024


@dataclass
class Live:
    """Flows between `mover` and `fixed`.

    Any of upload, download, keystrokes, as the mover sees it; and a stream that only the fixed side
    sends.
    """

    mover: LabTunnel
    fixed: LabTunnel
    kinds: tuple[str, ...]
    seconds: float
    streaming: float = 0.0
    """For how long the fixed side streams, in seconds."""
    connections: dict[str, Connection] = field(default_factory=dict)
    stream: Stream | None = None
    felt: dict[str, Felt] = field(default_factory=dict)
    heard: Heard | None = None
    _before: Counter[str] = field(default_factory=Counter)
    _after: Counter[str] | None = None

    def __post_init__(self) -> None:
        for kind in self.kinds:
            self.connections[kind] = self._connection(kind)
        for connection in self.connections.values():
            connection.wait_until_established()
        if self.streaming:
            ends = self.fixed.host, self.mover.host
            self.stream = Stream(*ends, self.mover.inner, self.streaming)
        time.sleep(RUN_IN)
        self._before = self._counters()
        self.began = time.time()

    def _connection(self, kind: str) -> Connection:
        options = ["--seconds", str(self.seconds), "--direction"]
        if kind == "keystrokes":
            options += ["both", "--chunk", "1", "--interval", "0.02"]
        else:
            options += [kind, "--rate", str(RATE)]
        hosts = self.mover.host, self.fixed.host
        return Connection(*hosts, self.fixed.inner, *options, port=PORTS[kind])

    def settle(self) -> None:
        """All is over that was to happen: what TCP does later is for other reasons."""
        time.sleep(SETTLING)
        self._after = self._counters()

    def finish(self) -> None:
        """Wait for the end of all, and require that every byte came as it was sent."""
        for kind, connection in self.connections.items():
            near, far = connection.finish()
            receivers = {"upload": (far,), "download": (near,), "keystrokes": (near, far)}[kind]
            self.felt[kind] = Felt((near, far), receivers)
        if self.stream is not None:
            self.heard = self.stream.finish()
        for kind, felt in self.felt.items():
            assert felt.intact, f"{kind} broke: {felt.ends}\n{self.story()}"

    @property
    def retransmissions(self) -> int:
        """Segments that an inner TCP sent again because it took them for lost, until it settled.

        A tail loss probe is none: Linux sends one after two round trips without an
        acknowledgement (RFC 8985 7.2), which is 2 ms here, and any pause of this machine.
        """
        assert self._after is not None, "settle first"
        grown = self._after - self._before
        # A timer that expired, or duplicate acknowledgements that told of a loss.
        told = ("TCPTimeouts", "TCPFastRetrans", "TCPSlowStartRetrans")
        unasked = max(0, grown["RetransSegs"] - grown["TCPLossProbes"])
        return unasked + sum(grown[name] for name in told)

    def _counters(self) -> Counter[str]:
        return counters(self.mover.host) + counters(self.fixed.host)

    @property
    def silence_ms(self) -> float:
        return max(felt.silence_ms for felt in self.felt.values())

    def after(self, usable: float) -> float:
        """How long after `usable` (Unix seconds) the last flow went on, in ms."""
        found = [felt.after(usable) for felt in self.felt.values()]
        return max(*found, self.heard.after(usable) if self.heard else float("-inf"), -1e9)

    def story(self) -> str:
        """What both ends told, in order: for the reader of a failure."""
        told = Timeline()
        told.add_events("mover", self.mover.events())
        told.add_events("fixed", self.fixed.events())
        return "\n".join(told.lines(self.began))

    def told(self, side: str, name: str) -> list[Document]:
        """The events of one name on the `mover` or the `fixed` side since the flows run."""
        end: LabTunnel = getattr(self, side)
        return [event for event in end.events(name) if event["time_unix"] > self.began]
