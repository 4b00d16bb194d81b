"""One roam under live connections: what was typed, what both ends said, and what it did."""

import time
from dataclasses import dataclass

from composed import Lab
from roams import Roam
from session import Session

from sacip_tun.lab.connection import Connection, Document, survived, what_broke
from sacip_tun.lab.timeline import Timeline, records

# The move starts when the connections have run for so long, in seconds.
LEAD = 1.0
# Not for ever: `docker exec` leaves what it started to the container.
MONITOR = "sacip-tun wait sacip0 >/dev/null && exec timeout 60 sacip-tun monitor sacip0 --json"


@dataclass(frozen=True, slots=True)
class Proof:
    """What there is to tell. Times are in ms."""

    roam: Roam
    timeline: list[str]
    download: Document
    server: Document
    keys: Document
    outage: float
    shell: int
    """The shell that answered the telnet session after the roam."""
    error: str | None

    @property
    def silence(self) -> float:
        """The longest silence of the download."""
        return float(self.download.get("longest_silence_ms", 0.0))

    @property
    def beyond(self) -> float:
        """The part of it that was longer than the outage."""
        return max(0.0, self.silence - self.outage)

    @property
    def wait(self) -> float:
        """The longest that a keystroke waited for its echo."""
        return float(self.keys.get("longest_wait_ms", 0.0))

    @property
    def retransmissions(self) -> int:
        """Segments of the download that the server's kernel sent again."""
        return int(self.server.get("retransmissions", 0))


class Prover:
    """Makes one roam after the other in a lab, with one telnet session through all of them."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._laptop, self._hub = lab.container("laptop"), lab.container("hub")
        self._server = lab.container("server")
        self._session = Session(self._laptop)
        self.shell = self._session.shell()

    def prove(self, roam: Roam) -> Proof:
        """Make one roam. What goes wrong with the connections is in the proof."""
        self._type(roam.before)
        monitors = [(end, end.start(["sh", "-c", MONITOR])) for end in (self._laptop, self._hub)]
        timeline, address = Timeline(), f"{self._lab.net}.5.10"
        download = self._connection(address, 5002, roam.seconds, "--direction", "download")
        typing = self._connection(address, 5003, roam.seconds, program="keystrokes")
        time.sleep(LEAD)
        origin = time.time()
        outage = self._make(roam, timeline)
        shell, lost = self._ask()
        ends = (*download.finish(), *typing.finish())
        if roam.name == "killed":
            self._lab.wait_until_healthy()
        for end, monitor in monitors:
            timeline.add_events(end.name, records(end.log(monitor).splitlines()))
        self._type(roam.after)
        error = (
            lost
            or what_broke(*ends)
            or ("" if survived(ends[0], ends[2]) else "not all came")
            or None
        )
        seen = timeline.lines(origin)
        return Proof(roam, seen, ends[0], ends[1], ends[2], outage, shell, error)

    def _ask(self) -> tuple[int, str]:
        """Return the shell that answers at telnet, or what broke there."""
        try:
            return self._session.shell(), ""
        except ConnectionError as error:
            return 0, str(error)

    def _make(self, roam: Roam, timeline: Timeline) -> float:
        """Type the steps; return for how many ms at least there was no network."""
        ended: list[float] = []
        began = 0.0
        for number, step in enumerate(roam.steps):
            time.sleep(roam.pause if number else 0.0)
            timeline.add(time.time(), "you", f"$ {self._line(step)}")
            began = time.monotonic()
            self._type((step,))
            ended.append(time.monotonic())
        return (began - ended[0]) * 1000 if roam.outage else 0.0

    def _line(self, step: str) -> str:
        line = step.format(net=self._lab.net)
        return line if line.startswith("docker ") else f"docker compose exec {line}"

    def _type(self, steps: tuple[str, ...]) -> None:
        for step in steps:
            program, *words = step.format(net=self._lab.net).split()
            if program == "docker":
                self._lab.docker(*words)
            else:
                {"laptop": self._laptop, "hub": self._hub}[program].run(*words)

    def _connection(
        self, address: str, port: int, seconds: float, *options: str, program: str = "flow"
    ) -> Connection:
        made = Connection(
            self._laptop,
            self._server,
            address,
            *("--seconds", f"{seconds}", *options),
            port=port,
            program=program,
        )
        made.wait_until_established()
        return made


def told(proof: Proof) -> str:
    """Return the proof as text."""
    lines = [proof.roam.title, "        ms  who     what", *proof.timeline]
    if proof.error:
        return "\n".join([*lines, f"  broken: {proof.error}", ""])
    beyond = f", {proof.beyond:.0f} ms beyond the outage" if proof.roam.outage else ""
    silence = f"longest silence {proof.silence:.0f} ms{beyond}"
    download = f"{proof.download['received']:,} bytes in one connection, SHA-256 right"
    lines += [
        f"  download    {download}; {silence}, {proof.retransmissions} retransmissions",
        f"  keystrokes  longest wait for an echo {proof.wait:.0f} ms; telnet: shell {proof.shell}",
        "",
    ]
    return "\n".join(lines)


def sound(proof: Proof, shell: int) -> bool:
    """Tell whether nothing was lost and the telnet session is still the one it was."""
    return proof.error is None and proof.shell == shell
