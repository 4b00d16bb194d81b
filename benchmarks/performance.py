"""docs/performance.md, made of a ledger."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import chart
from contenders import CARRIERS
from figures import CROWD, ROUND_TRIPS, TCP, UDP, Figure, Round, spread
from hotspots import CALLS, CIPHER, NUMPY, PYTHON, Profile
from iperf import BUFFER
from ledger import Ledger
from markdown import table
from measurement import IDLE_ECHOES, PROBE
from targets import Verdict, number, verdicts

NOTHING = "-"
# Below that share in every column a function is not shown.
WORTH_A_ROW = 0.03

PAGE = """\
# What it carries, how long a packet takes, and what that costs

Made by `make performance` on {date}, not by hand:

    {command}

{processors} processors ({model}), Linux {kernel}, Python {python};
{versions}.

Rounds: {rounds}. Each has every row once, so that what else the machine does meets all alike. A
cell is the median of the rounds, with the lowest and the highest where they differ. Both ends are
network namespaces of one machine, and sender and receiver of what is measured share its processors
with them. *Up* is from the mover to the hub.

**What no cable does**: the veth between the hosts passes a batch of UDP_SEGMENT whole. That helps
all who send such batches: ours does, none of the others here. So there are two rows more. *Cut
before the wire*: each datagram passes by itself and comes in by itself (`ethtool -K eth0
tx-udp-segmentation off gro off`). *Cut and gathered by GRO*: it passes by itself, and the receiver
gathers what comes together, as Linux does behind a network card (`gro on`).

![what each carries, and what it costs](performance.svg)

## Targets

Ratios of medians of this one run ([targets.py](../benchmarks/targets.py)).

{targets}

## TCP

iperf3, {seconds:g} s each, with this machine's congestion control ({congestion}). CPU: user and
system time of both ends' daemons, for one flow up and one down, by what arrived. Largest daemon:
the highest resident set of either end, after everything.

{tcp}

## Round trips

Idle: {echoes} echo requests, 100 a second. Under load: 200 a second, while the four flows of the
table above run and carry what is said there. ping gives each round trip by the kernel's clock.
*The least in Python* ([least.py](../benchmarks/least.py)) is no tunnel: two callbacks with a cipher
call each, and nothing is checked. It says what of an idle round trip is Python's and the kernel's.

{trips}

## UDP

One stream of iperf3 up, by payload. Who offers more than a tunnel can carry takes the processors
away from it, so the rate is searched for: {probe:g} s at each rate, doubled or halved as long as
more is *received*, then by steps of 1.4. The best is shown, with what was lost at it. Sockets have
buffers of {buffer} KB, so that what iperf3 is too late to fetch does not count as lost.

{udp}

## A hub with many peers

sacip-tun alone: one peer carries a flow, the others are known and never call.

{crowd}

{remains}"""

REMAINS = """\
## What remains, and why

Where py-spy finds the daemons at work; waiting is left out. *In* are the functions of ours that
were innermost, with what they called in C. UDP is offered at the best rate of the table above.

{areas}

{functions}

- **The cipher** is OpenSSL's ChaCha20-Poly1305, one call of `cryptography` a packet. A call has a
  price before its first byte, for OpenSSL makes a context and frees it; what would save that is an
  interface that takes many packets at once, which `cryptography` does not have.
- **System calls** move up to 64 KB at a time for TCP. What is left there is the kernel's own work:
  a write to the TUN returns when the whole receiving stack is through with it.
- **numpy** and **Python** are for a super-packet once: some 45 packets of a TCP flow share them.
  What a program sends packet by packet comes with one read each, and shares the rest with what was
  read with it. So UDP is no multiple of what others carry, as TCP is.
- **An idle round trip** is four passes through Python: 10 us each while its code is in the
  processor's caches, and several times that when the machine did something else in between.
  [0061](decisions/0061-note-afterwards.md) says what was done about it, and what was not.
"""


def write(directory: Path, ledger: Ledger) -> None:
    """Write performance.md and performance.svg. Raises ImportError where matplotlib is missing."""
    page = PAGE.format(
        **ledger.machine,
        **_tables(ledger),
        command=ledger.command,
        rounds=ledger.count,
        seconds=ledger.seconds,
        echoes=IDLE_ECHOES,
        probe=PROBE,
        buffer=BUFFER // 1024,
        targets=targets(verdicts(ledger.rounds)),
        remains=_remains(ledger.profiles),
    )
    directory.joinpath("performance.md").write_text(page.rstrip() + "\n")
    chart.write(directory / "performance.svg", ledger)


def tables(ledger: Ledger) -> str:
    """Return the tables alone."""
    return "\n\n".join(part for part in _tables(ledger).values() if part)


def _tables(ledger: Ledger) -> dict[str, str]:
    carriers = [row for row in ledger.rows() if row in CARRIERS]
    crowds = [row for row in ledger.rows() if row not in CARRIERS]
    return {
        "tcp": figures(ledger.rounds, carriers, TCP),
        "trips": figures(ledger.rounds, carriers, ROUND_TRIPS),
        "udp": figures(ledger.rounds, carriers, UDP),
        "crowd": figures(ledger.rounds, crowds, CROWD),
    }


def figures(rounds: Sequence[Round], rows: Sequence[str], columns: Sequence[Figure]) -> str:
    """Render a table; a row without any of these figures is left out."""
    heads = ["", *(f"{column.title}, {column.unit}" for column in columns)]
    cells = [[row, *(cell(rounds, row, column) for column in columns)] for row in rows]
    return table(heads, [line for line in cells if set(line[1:]) != {NOTHING}])


def cell(rounds: Sequence[Round], row: str, column: Figure) -> str:
    """Render the median, and lowest and highest where they read differently."""
    found = spread(rounds, row, column.key)
    if found is None:
        return NOTHING
    middle, low, high = (column.words(value) for value in (found.median, found.low, found.high))
    return middle if low == high else f"{middle} ({low} to {high})"


def targets(judged: Sequence[Verdict]) -> str:
    """Render what has to hold, and whether it does."""
    rows = (
        [
            *(one.target.title, one.target.demand, number(one.ours)),
            *(number(one.other), number(one.limit), one.word),
        ]
        for one in judged
    )
    return table(["", "has to be", "is", "theirs", "so the limit is", ""], rows)


def _remains(profiles: Sequence[Profile]) -> str:
    if not profiles:
        return ""
    heads = ["", *(profile.title for profile in profiles)]
    areas = [
        [name, *_shares(profile.areas.get(name, 0) for profile in profiles)]
        for name in (CIPHER, CALLS, NUMPY, PYTHON)
    ]
    best = {
        name: max(profile.functions.get(name, 0) for profile in profiles)
        for profile in profiles
        for name in profile.functions
    }
    shown = sorted(
        (name for name in best if best[name] >= WORTH_A_ROW), key=lambda name: -best[name]
    )
    functions = [
        [f"`{name}`", *_shares(profile.functions.get(name, 0) for profile in profiles)]
        for name in shown
    ]
    return REMAINS.format(areas=table(heads, areas), functions=table(["in", *heads[1:]], functions))


def _shares(values: Iterable[float]) -> list[str]:
    return [f"{value:.0%}" for value in values]
