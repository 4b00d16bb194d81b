"""What a move does to what runs in the tunnel: ours, wireguard-go, OpenVPN and no tunnel.

    python benchmarks/handover.py [--runs 3] [--only MOVE ...] [--contenders NAME ...] [--short]

Every trial is a lab of its own with real flows in it, each kind of traffic alone. What counts is
the longest silence beyond the time in which the network itself was unusable. Two labs are at work
at a time; those that only wait for a dead connection do not count.
"""

import argparse
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import environment
import report
import results as files
from contenders import CONTENDERS, OURS, Contender
from limits import not_held
from machine import Machine
from moves import BY_NAME, MOVES, Move
from traffic import LISTENING, PAIRS, Traffic
from trial import Result, Trial
from verdict import Observed, Outcome

# A short form fails at a stall that is longer than this, in seconds: what is really stalled, not
# what a shared machine delays.
STALLED = 2.0
# How long the short form waits for what is stalled, in seconds.
SHORT_PATIENCE = 10.0
LABS = 2
Pair = tuple[Traffic, ...]
Wave = tuple[Move, Contender, int, Pair]


def waves(
    moves: Sequence[Move],
    contenders: Sequence[Contender],
    runs: int,
    others: int,
    pairs: Sequence[Pair],
) -> Iterator[Wave]:
    """Return what is made at once, in order: what else the machine does meets all alike."""
    for run in range(max(runs, others)):
        for move in moves:
            for contender in contenders:
                if run < (runs if contender.name == OURS else others):
                    yield from ((move, contender, run, pair) for pair in pairs)


def made(planned: Sequence[Wave], plotted: str, keep: Callable[[list[Result]], None]) -> None:
    """Make all trials; tell of each on stderr, and give all there are to `keep`, as they end."""
    machine, start, lock = Machine(LABS), time.monotonic(), threading.Lock()
    found: list[Result] = []

    def ended(future: Future[Result]) -> None:
        with lock:
            found.append(_thinned(future.result(), plotted))
            _tell(future.result(), start)
            keep(found)

    with ThreadPoolExecutor(max_workers=64) as pool:
        for move, contender, run, pair in planned:
            machine.enter(len(pair))
            together = threading.Barrier(len(pair))
            for traffic in pair:
                trial = Trial(move, contender, traffic, run, machine, together)
                pool.submit(trial.make).add_done_callback(ended)


def _thinned(result: Result, plotted: str) -> Result:
    """Drop what only the picture needs, but for the move that is drawn."""
    if result.move == plotted and result.run == 0:
        return result
    flows = tuple(replace(observed, bins=()) for observed in result.flows)
    return replace(result, flows=flows, events=(), typed=())


def _tell(result: Result, start: float) -> None:
    head = f"{time.monotonic() - start:6.0f} s  {result.move} {result.run + 1}, {result.contender}"
    if result.error is not None:
        print(f"{head}, {result.traffic}: FAILED: {result.error}", file=sys.stderr)
    for observed in result.flows:
        print(f"{head}, {observed.name}: {_words(observed)}", file=sys.stderr)


def _words(observed: Observed) -> str:
    said = f"{observed.outcome}, {observed.beyond * 1000:.0f} ms beyond the outage"
    if observed.lost is not None:
        said += (
            f", {observed.lost} lost ({observed.lost_beyond} beyond), {observed.duplicated} twice"
        )
    if observed.retransmissions is not None:
        said += f", {observed.retransmissions} retransmissions"
    return said


def complaints(results: Sequence[Result]) -> list[str]:
    """Return what is really broken or stalled, a line each."""
    found = []
    for result in results:
        if result.error is not None:
            found.append(f"{result.move}: {result.error}")
        found += [
            f"{result.move}, {observed.name}: {_words(observed)}"
            for observed in result.flows
            if observed.outcome is not Outcome.HELD
            or observed.beyond > STALLED
            or observed.duplicated
        ]
    return found


def short_trial(move: Move) -> Result:
    """Make one move of the short form: ours alone, once, the traffic that is hardest."""
    machine = Machine(1)
    machine.enter()
    contender = replace(CONTENDERS[OURS], patience=SHORT_PATIENCE)
    return Trial(move, contender, LISTENING, 0, machine).make()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=3, help="of ours; 0 makes the report only")
    parser.add_argument("--others", type=int, default=1, help="runs of the others")
    parser.add_argument(
        "--only", nargs="+", choices=BY_NAME, metavar="MOVE", help=", ".join(BY_NAME)
    )
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--traffic", nargs="+", choices=[t.name for pair in PAIRS for t in pair])
    parser.add_argument("--short", action="store_true", help="ours alone, once, what is quick")
    parser.add_argument("--long", action="store_true", help="the outage of 10 minutes, too")
    parser.add_argument("--plot", choices=BY_NAME, default="test-1", help="the move to draw")
    parser.add_argument("--json", type=Path, help="write all results there")
    parser.add_argument("--with", type=Path, dest="earlier", help="add to the results of this file")
    parser.add_argument(
        "--report", type=Path, help="write handover.md and .svg into this directory"
    )
    return parser.parse_args()


def _planned(options: argparse.Namespace) -> Iterator[Wave]:
    contenders = [CONTENDERS[name] for name in options.contenders]
    runs, others = options.runs, min(options.runs, options.others)
    if options.short:
        contenders = [replace(CONTENDERS[OURS], patience=SHORT_PATIENCE)]
        runs, others = 1, 0
    return waves(_moves(options), contenders, runs, others, _pairs(options))


def _moves(options: argparse.Namespace) -> list[Move]:
    if options.only:
        return [BY_NAME[name] for name in options.only]
    wanted = (move for move in MOVES if options.long or not move.long)
    return [move for move in wanted if move.short or not options.short]


def _pairs(options: argparse.Namespace) -> list[Pair]:
    if options.short:
        return [(LISTENING,)]
    wanted = options.traffic
    pairs = (tuple(t for t in pair if wanted is None or t.name in wanted) for pair in PAIRS)
    return [pair for pair in pairs if pair]


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def main() -> int:
    options = _options()
    signal.signal(signal.SIGTERM, _interrupt)
    earlier = files.read(options.earlier) if options.earlier else []
    found = list(earlier)

    def keep(new: list[Result]) -> None:
        found[:] = files.merged(earlier, new)
        if options.json:
            files.write(options.json, found, environment.machine())

    made(list(_planned(options)), options.plot, keep)
    if options.report:
        report.write(options.report, found, environment.machine(), options.plot)
    else:
        print(report.tables(found))
    wrong = complaints(found) if options.short else not_held(found, MOVES)
    print("\n".join(wrong), file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
