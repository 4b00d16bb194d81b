"""One trial: a lab of its own, a tunnel in it, traffic in the tunnel, and one move."""

import os
import shlex
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from signal import SIGCONT, SIGSTOP

from contenders import OURS, Contender, Event, Tunnel
from machine import Machine
from moves import FREEZE, THAW, Move, Step
from places import Place
from traffic import Running, Traffic
from verdict import Observed, Span

from sacip_tun.lab.arrivals import now_unix
from sacip_tun.lab.namespaces import Host, Network
from sacip_tun.lab.tunnel import PROGRAM
from sacip_tun.linux.errors import SetupError

# The flows run so long before the move begins, and after its last step, in seconds.
LEAD, TAIL = 1.0, 1.5
# What does not end within so much more, in seconds, is waited for without the machine.
GRACE = 1.0
# A wait that is longer than that, in seconds, leaves the machine to other labs; so much before its
# end the lab queues for its place again, behind no more than one trial.
LONG, BACK = 10.0, 6.0


# What a tunnel's or the lab's start can fail with; the others' are the tests' own and assert.
FAILURES = (SetupError, subprocess.SubprocessError, AssertionError, RuntimeError, OSError)


Typed = tuple[float, str]
"""When, in seconds since 1970, and the first line of a step."""


@dataclass(frozen=True)
class Made:
    """When the move began, and when the network was unusable."""

    move: float
    outages: tuple[Span, ...]
    typed: tuple[Typed, ...]


@dataclass(frozen=True)
class Result:
    """What came of a trial."""

    move: str
    contender: str
    traffic: str
    run: int
    flows: tuple[Observed, ...] = ()
    began: float | None = None
    outages: tuple[Span, ...] = ()
    typed: tuple[Typed, ...] = field(default=(), repr=False)
    moved: int | None = None
    """How many completed moves both our ends reported; None where they are not ours."""
    events: tuple[Event, ...] = field(default=(), repr=False)
    error: str | None = None
    """Why the trial could not be made."""


@dataclass
class Trial:
    """What is tried, and with whom it waits for the machine."""

    move: Move
    contender: Contender
    traffic: Traffic
    run: int
    machine: Machine
    together: threading.Barrier = field(default_factory=lambda: threading.Barrier(1))
    """The labs of a pair move at the same time: none is set up while another one is measured."""

    def make(self) -> Result:
        """Make it; the caller entered the machine for it, and it leaves the machine."""
        result = Result(self.move.name, self.contender.name, self.traffic.name, self.run)
        with self._at_work() as work:
            try:
                return self._made(result, work)
            except FAILURES as error:
                said = "; ".join([repr(error), *getattr(error, "__notes__", ())])
                return replace(result, error=said)
            finally:
                # The other lab does not wait for one that is over.
                self.together.abort()

    @contextmanager
    def _at_work(self) -> Iterator["_Work"]:
        work = _Work(self.machine)
        try:
            yield work
        finally:
            work.rest()

    def _made(self, result: Result, work: "_Work") -> Result:
        with Network() as network:
            place = self.move.place(network)
            tunnel = self.contender.up(place)
            flows = self._flows(place, tunnel)
            self._wait_for_the_other()
            time.sleep(LEAD)
            made = _Mover(self, place, tunnel).make()
            observed = self._observe(flows, made, work)
            events = tuple(event for event in tunnel.events() if event["time_unix"] >= made.move)
            return replace(
                result,
                flows=tuple(observed),
                began=made.move,
                outages=made.outages,
                typed=made.typed,
                moved=_moved(events) if tunnel.ends else None,
                events=events,
            )

    def _flows(self, place: Place, tunnel: Tunnel) -> tuple[Running, ...]:
        # What TCP was to send during an outage it sends afterwards: the rate goes on.
        steps = self.move.steps
        seconds = LEAD + self.move.seconds - _unusable(steps) + TAIL
        flows = self.traffic.start(place.mover, place.hub, tunnel.inner, seconds)
        for flow in flows:
            flow.connection.wait_until_established()
        return flows

    def _wait_for_the_other(self) -> None:
        try:
            self.together.wait()
        except threading.BrokenBarrierError:
            # The other lab could not be set up: this one goes alone.
            return

    def _observe(self, flows: Sequence[Running], made: Made, work: "_Work") -> list[Observed]:
        time.sleep(self.move.lasts + TAIL)
        if not all(flow.ends_within(GRACE) for flow in flows):
            work.rest()
        until = time.monotonic() + self.contender.patience
        return [
            observed
            for flow in flows
            for observed in flow.finish(until - time.monotonic(), made.outages, made.move)
        ]


class _Work:
    """This lab's place at the machine, given back once."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._resting = False

    def rest(self) -> None:
        if not self._resting:
            self._resting = True
            self._machine.leave()


class _Mover:
    """Makes the steps at their times."""

    def __init__(self, trial: Trial, place: Place, tunnel: Tunnel) -> None:
        self._trial = trial
        self._place = place
        self._tunnel = tunnel

    def make(self) -> Made:
        steps = sorted(self._trial.move.steps, key=lambda step: step.at)
        start = time.monotonic()
        with ThreadPoolExecutor() as pool:
            made: list[tuple[Step, Future[Span]]] = []
            for step in steps:
                self._wait_until(start + step.at)
                _settle(made, step)
                made.append((step, pool.submit(self._type, step)))
            spans = [(step, future.result()) for step, future in made]
        typed = tuple((since, self._lines(step)[0]) for step, (since, _) in spans)
        return Made(typed[0][0], outages(spans), typed)

    def _wait_until(self, moment: float) -> None:
        if moment - time.monotonic() > LONG:
            with self._trial.machine.left():
                time.sleep(moment - time.monotonic() - BACK)
        time.sleep(max(0.0, moment - time.monotonic()))

    def _type(self, step: Step) -> Span:
        lines, host = self._lines(step), self._place.host(step.host)
        since = now_unix()
        if lines in {(FREEZE,), (THAW,)}:
            self._signal(lines[0])
        elif lines[0].startswith("sacip-tun "):
            words = lines[0].format(interface=self._tunnel.mover_interface).split()
            host.run([*PROGRAM, *words[1:]])
        else:
            type_lines(host, lines)
        return since, now_unix()

    def _lines(self, step: Step) -> tuple[str, ...]:
        ours = self._trial.contender.name == OURS
        return step.lines if ours or not step.without_ours else step.without_ours

    def _signal(self, line: str) -> None:
        if self._tunnel.mover_process is not None:
            os.kill(self._tunnel.mover_process, SIGSTOP if line == FREEZE else SIGCONT)


def _settle(made: Sequence[tuple[Step, "Future[Span]"]], step: Step) -> None:
    """Wait for the earlier steps on the same host: a shell does one line after the other."""
    for earlier, future in made:
        if earlier.host == step.host:
            future.result()


def _moved(events: Sequence[Event]) -> int:
    return sum(event.get("event") == "moved" for event in events)


def type_lines(host: Host, lines: Sequence[str]) -> None:
    """Type the lines one right after the other."""
    if all(line.startswith("ip ") for line in lines):
        # One process for all: a replaced address is back within a fraction of a millisecond.
        batch = "\n".join(line.removeprefix("ip ") for line in lines)
        host.run(["sh", "-c", f"printf '%s\\n' {shlex.quote(batch)} | ip -batch -"])
    else:
        host.run(["sh", "-ec", "\n".join(lines)])


def outages(spans: Sequence[tuple[Step, Span]]) -> tuple[Span, ...]:
    """Return when the network was unusable: from where a step breaks it to where one mends it."""
    found: list[Span] = []
    broken: float | None = None
    for step, (since, until) in spans:
        if step.breaks and broken is None:
            broken = since
        if step.mends and broken is not None:
            found.append((broken, until))
            broken = None
    return tuple(_joined(found))


def _joined(spans: list[Span]) -> list[Span]:
    """Merge the spans that overlap."""
    merged: list[Span] = []
    for since, until in sorted(spans):
        if merged and since <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], until))
        else:
            merged.append((since, until))
    return merged


def _unusable(steps: Sequence[Step]) -> float:
    planned = [(step, (step.at, step.at)) for step in steps]
    return sum(until - since for since, until in outages(planned))
