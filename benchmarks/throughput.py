"""What tunnels carry, how long a packet takes, and what that costs: ours beside the others.

    python benchmarks/throughput.py [--rounds 5] [--seconds 3] [--only NAME ...] [--peers 1 100 ...]
                                    [--profile] [--json FILE] [--from FILE] [--report docs]

Both ends run on this machine, in network namespaces of the run's own. The rounds are interleaved,
so that what else the machine does meets all alike; figures are medians, ratios are of one run.
Ends with 1 where a target (targets.py) is not held or a row could not be measured.
"""

import argparse
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import environment
import hotspots
import performance
from contenders import CARRIERS, OURS
from figures import Figures, Round, row_of_crowd, spread
from ledger import Ledger
from measurement import FIRST, Measurement
from targets import verdicts

from sacip_tun.linux.errors import SetupError

PEERS = (1, 100, 1_000, 10_000)
PROFILED = 4.0
# What a tunnel's start, iperf3 or ping can fail with; the others' starts are the tests' own and
# assert. One row less is no reason to lose the others.
FAILURES = (
    SetupError,
    subprocess.SubprocessError,
    AssertionError,
    RuntimeError,
    OSError,
    ValueError,
)


def run(ledger: Ledger, options: argparse.Namespace, keep: Callable[[], None]) -> None:
    """Make all rounds, and give each to the ledger as it ends."""
    measurement, start = Measurement(ledger.seconds), time.monotonic()
    work: dict[str, Callable[[], Figures]] = {}
    for name in options.only:
        work[name] = lambda name=name: measurement.of(CARRIERS[name])
    for peers in options.peers:
        work[row_of_crowd(peers)] = lambda peers=peers: measurement.of_crowd(peers)
    for number in range(1, options.rounds + 1):
        for row, measured in work.items():
            ledger.rounds.append(_made(row, number, measured))
            _tell(ledger.rounds[-1], time.monotonic() - start)
            keep()


def _made(row: str, number: int, measured: Callable[[], Figures]) -> Round:
    try:
        return Round(row, number, measured())
    except FAILURES as error:
        said = "; ".join([repr(error), *getattr(error, "__notes__", ())])
        return Round(row, number, error=said)


def _tell(made: Round, elapsed: float) -> None:
    figures = ", ".join(f"{key} {value:.4g}" for key, value in made.figures.items())
    said = f"FAILED: {made.error}" if made.error is not None else figures
    print(f"{elapsed:6.0f} s  round {made.number}, {made.row}: {said}", file=sys.stderr)


def profile(ledger: Ledger) -> None:
    """Look where the time goes; say why not where that fails."""
    best = spread(ledger.rounds, OURS, "udp 64")
    try:
        ledger.profiles = hotspots.profiles(PROFILED, best.median if best else FIRST)
    except FAILURES as error:
        print(f"no profile: {error!r}", file=sys.stderr)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each TCP flow")
    parser.add_argument(
        "--only", nargs="*", choices=CARRIERS, metavar="NAME", help=", ".join(CARRIERS)
    )
    parser.add_argument("--peers", nargs="*", type=int, metavar="N", help="of a hub of ours")
    parser.add_argument("--profile", action="store_true", help="look where the time goes, last")
    parser.add_argument("--json", type=Path, help="write all figures there")
    parser.add_argument("--from", type=Path, dest="earlier", help="measure no row, read this file")
    parser.add_argument("--report", type=Path, help="write performance.md and .svg into it")
    options = parser.parse_args()
    everything = options.only is None
    options.only = list(CARRIERS) if everything else options.only
    if options.peers is None:
        options.peers = list(PEERS) if everything else []
    return options


def _measured(options: argparse.Namespace) -> Ledger:
    command = shlex.join(["python", "benchmarks/throughput.py", *sys.argv[1:]])
    ledger = Ledger(environment.machine(), command, options.seconds)

    def keep() -> None:
        if options.json:
            ledger.write(options.json)

    run(ledger, options, keep)
    return ledger


def main() -> int:
    options = _options()
    ledger = Ledger.read(options.earlier) if options.earlier else _measured(options)
    if options.profile:
        profile(ledger)
        if options.json:
            ledger.write(options.json)
    if options.report:
        performance.write(options.report, ledger)
    else:
        print(performance.tables(ledger))
    judged, errors = verdicts(ledger.rounds), ledger.errors()
    print("\n".join([*map(str, judged), *errors]), file=sys.stderr)
    return 1 if errors or any(verdict.held is False for verdict in judged) else 0


if __name__ == "__main__":
    sys.exit(main())
