"""The demo: two hosts and a router, a tunnel, a live connection in it, and a move.

    mover                 peer              router
    eth0 192.168.1.22     eth0 .101         eth0 .4
    ──────┴─────────────────┴─────────────────┴──────  one Ethernet segment, 192.168.1.0/24

Everything is in network namespaces of its own and gone at the end. The mover and the peer are the
command line's own tunnels, started as a user would start them.
"""

import os
import signal
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from subprocess import CalledProcessError, TimeoutExpired

from sacip_tun.lab import rootless
from sacip_tun.lab.connection import Connection, Document, survived, what_broke
from sacip_tun.lab.namespaces import NETNS, Network
from sacip_tun.lab.scenario import DEFAULT, SCENARIOS, Scenario
from sacip_tun.lab.timeline import Timeline
from sacip_tun.lab.tunnel import PROGRAM, LabTunnel, Remote
from sacip_tun.linux.errors import SetupError
from sacip_tun.outcome import Exit, Failure

PICTURE = """\
  ┌─────────────────────┐     ┌─────────────────────┐   ┌─────────────────────┐
  │ mover      {mover} ╞═════╡ {peer}       peer │   │ router              │
  └──────────┬──────────┘     └──────────┬──────────┘   └──────────┬──────────┘
     {old:^17}          192.168.1.101/24           192.168.1.4/24
  ───────────┴───────────────────────────┴─────────────────────────┴──── one Ethernet segment
"""
# The connection runs for so many seconds. The move starts after LEAD of them, and the person at
# the keyboard takes PAUSE between two commands.
SECONDS, LEAD, PAUSE = 5.0, 1.5, 1.0


@dataclass(frozen=True, slots=True)
class Lab:
    """The tunnel of the demo, up."""

    network: Network
    mover: LabTunnel
    peer: LabTunnel


@dataclass(frozen=True, slots=True)
class Report:
    """What there is to tell at the end; `up` is from the mover to the peer, `down` back."""

    scenario: Scenario
    timeline: Timeline
    origin: float
    mover: Document
    peer: Document
    mover_endpoint: str | None
    peer_endpoint: str | None

    @property
    def intact(self) -> bool:
        """Tell whether each end received all that was sent, and unchanged."""
        return survived(self.mover, self.peer)

    @property
    def moved(self) -> bool:
        """Tell whether both ends use the new address."""
        endpoints = (self.mover_endpoint, self.peer_endpoint)
        hosts = [(endpoint or "").rpartition(":")[0] for endpoint in endpoints]
        return hosts == [self.scenario.new_host] * 2


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments of `sacip-tun lab`."""
    described = "; ".join(f"{name}: {scenario.title}" for name, scenario in SCENARIOS.items())
    parser.add_argument(
        "scenario", nargs="?", default=DEFAULT, choices=SCENARIOS, help=f"{described}"
    )
    parser.add_argument("--verbose", action="store_true", help="show what led to the move, too")
    parser.add_argument("--keep", action="store_true", help="stay until Ctrl-C, to look around")


def run(arguments: Namespace) -> int:
    """Run a scenario and print what happened. Returns 0 only where nothing was lost.

    Raises Failure where it cannot be shown here.
    """
    try:
        if rootless.is_needed():
            rootless.run_again([*PROGRAM, "lab", *_words(arguments)])
        rootless.require_tun()
        return _run(SCENARIOS[arguments.scenario], verbose=arguments.verbose, keep=arguments.keep)
    except SetupError as error:
        code = Exit.NO_PRIVILEGE if error.missing else Exit.FAILED
        raise Failure(error.cause, error.fix, code) from None
    except (CalledProcessError, TimeoutExpired) as error:
        said = "; ".join(getattr(error, "__notes__", ()))
        raise Failure(f"a command of the lab failed: {error}", said) from None


def _words(arguments: Namespace) -> list[str]:
    options = [f"--{name}" for name in ("verbose", "keep") if getattr(arguments, name)]
    return [arguments.scenario, *options]


def _run(scenario: Scenario, *, verbose: bool, keep: bool) -> int:
    print(f"{scenario.title}\n", flush=True)
    with _built(scenario) as lab:
        print(_picture(lab, scenario), flush=True)
        report = _show(lab, scenario)
        _print(report, verbose=verbose)
        if keep:
            _wait_for_the_visitor(lab)
    return Exit.OK if report.intact and report.moved else Exit.FAILED


@contextmanager
def _built(scenario: Scenario) -> Iterator[Lab]:
    with Network() as network:
        segment = network.segment("lan")
        mover, peer, router = (network.host(name) for name in ("mover", "peer", "router"))
        router.write_sysctl("ipv4/ip_forward", 1)
        mover.plug(segment, "eth0", scenario.old)
        peer.plug(segment, "eth0", "192.168.1.101/24")
        router.plug(segment, "eth0", "192.168.1.4/24")
        if scenario.route is not None:
            mover.ip(f"route add {scenario.route}")
        lab = Lab(network, LabTunnel(mover, "10.9.0.2/24"), LabTunnel(peer, "10.9.0.1/24"))
        lab.peer.up(Remote(lab.mover.keys.public))
        lab.mover.up(Remote(lab.peer.keys.public, "192.168.1.101:51820"))
        yield lab


def _show(lab: Lab, scenario: Scenario) -> Report:
    """Make the move under a live connection and collect what was seen of it."""
    timeline = Timeline()
    connection = Connection(
        lab.mover.host, lab.peer.host, lab.peer.inner, "--seconds", f"{SECONDS}"
    )
    connection.wait_until_established()
    time.sleep(LEAD)
    origin = _move(lab, scenario, timeline)
    mover, peer = connection.finish()
    for tunnel in (lab.mover, lab.peer):
        timeline.add_events(tunnel.host.name, tunnel.events())
    report = Report(
        scenario,
        timeline,
        origin,
        mover,
        peer,
        lab.mover.active(lab.peer.keys.public, "local"),
        lab.peer.active(lab.mover.keys.public, "remote"),
    )
    _add_silences(report)
    return report


def _move(lab: Lab, scenario: Scenario, timeline: Timeline) -> float:
    """Type the scenario's commands; return when the first of them was typed."""
    origin = time.time()
    for number, step in enumerate(scenario.steps):
        time.sleep(PAUSE if number else 0)
        line = step.format(interface=lab.mover.name)
        timeline.add(time.time(), "mover", f"$ {line}")
        program, _, words = line.partition(" ")
        if program == "ip":
            lab.mover.host.ip(words)
        else:
            lab.mover.command(*words.split())
    return origin


def _add_silences(report: Report) -> None:
    for who, end in (("mover", report.mover), ("peer", report.peer)):
        if end.get("silent_from_unix") is not None:
            details = f"nothing arrives for {end['longest_silence_ms']:.1f} ms, its longest"
            report.timeline.add(end["silent_from_unix"], who, "inner connection", details)


def _picture(lab: Lab, scenario: Scenario) -> str:
    return PICTURE.format(mover=lab.mover.inner, peer=lab.peer.inner, old=scenario.old)


def _print(report: Report, *, verbose: bool) -> None:
    print("        ms  who     what")
    print("\n".join(report.timeline.lines(report.origin, all_of_it=verbose)))
    print(f"\nthe connection in the tunnel, {report.mover.get('local')} to ", end="")
    print(f"{report.mover.get('remote')}")
    print(_direction("up", report.mover, report.peer))
    print(_direction("down", report.peer, report.mover))
    print("\nthe tunnel's outer address of the mover, as each end has it")
    print(f"  mover  {report.mover_endpoint}\n  peer   {report.peer_endpoint}\n")
    print(_verdict(report), flush=True)


def _direction(name: str, sender: Document, receiver: Document) -> str:
    if error := what_broke(sender, receiver):
        return f"  {name:<5}  broken: {error}"
    state = "intact" if receiver["intact"] else "NOT intact"
    return (
        f"  {name:<5}  {receiver['received']:,} bytes {state}, "
        f"longest silence {receiver['longest_silence_ms']:.1f} ms, "
        f"{sender['retransmissions']} retransmissions"
    )


def _verdict(report: Report) -> str:
    if not report.intact:
        return "the connection lost bytes, or did not survive"
    return "nothing was lost" if report.moved else "an end still uses the old address"


def _wait_for_the_visitor(lab: Lab) -> None:
    with suppress(KeyboardInterrupt):
        print("\nkept until Ctrl-C; a shell on a host:")
        for tunnel in (lab.mover, lab.peer):
            print(
                f"  {tunnel.host.name:<6}  {_way_in(tunnel)}   (tunnel {tunnel.name})", flush=True
            )
        signal.pause()


def _way_in(tunnel: LabTunnel) -> str:
    net = f"nsenter --net={NETNS / tunnel.host.namespace}"
    if rootless.is_inside():
        return f"nsenter -t {os.getpid()} -U -m --preserve-credentials {net}"
    return net
