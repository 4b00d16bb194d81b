"""The last section of docs/handover.md: what the roams in containers cost."""

import platform
import time
from collections.abc import Sequence
from pathlib import Path

from proof import Proof

HEADING = "## In containers"
COLUMNS = (
    "what happens",
    "outage",
    "longest silence of the download",
    "beyond the outage",
    "longest wait for an echo",
    "retransmissions",
)
SECTION = """\
{heading}

Made by `containers/prove.py --report docs` on {date}, Linux {kernel}, with docker-compose.yml:
one run. The laptop downloads 20 Mbit/s from the server at home, types 20 keys a second to it, and
has one telnet session through all of this. Each row is one TCP connection of each kind; all that
was sent arrived, by SHA-256. The outage is the time between the two commands: it was no shorter.

A hub that was killed is found again by the handshake that WireGuard repeats every 5 s; what is
sent meanwhile waits.

{rows}
"""


def write(path: Path, proofs: Sequence[Proof]) -> None:
    """Put the section in place of the one that is there."""
    above = path.read_text().partition(f"\n{HEADING}\n")[0]
    section = SECTION.format(
        heading=HEADING,
        date=time.strftime("%Y-%m-%d"),
        kernel=platform.release(),
        rows="\n".join([_cells(COLUMNS), "|---" * len(COLUMNS) + "|", *map(_row, proofs)]),
    )
    path.write_text(f"{above.rstrip()}\n\n{section}")


def _row(proof: Proof) -> str:
    if proof.error:
        return _cells((proof.roam.title, "", f"broken: {proof.error}", "", "", ""))
    outage = f"{proof.outage / 1000:.1f} s" if proof.roam.outage else "none"
    return _cells(
        (
            proof.roam.title,
            outage,
            f"{proof.silence:,.0f} ms",
            f"{proof.beyond:,.0f} ms",
            f"{proof.wait:,.0f} ms",
            f"{proof.retransmissions}",
        )
    )


def _cells(texts: Sequence[str]) -> str:
    return f"| {' | '.join(texts)} |"
