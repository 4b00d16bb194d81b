"""README's figures are those of the tables that they come from."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# README's words for a move, and how its row begins in docs/handover.md.
MOVES = {
    "a second address first, then the old one goes": "the test 1 of 2007",
    "the address is replaced, the old one gone already": "the address is replaced",
    "no address for 20 s, then a new one": "no address for 20 s",
    "the way dies without a sign, another interface is up": "the cable's router forwards nothing",
    "from one NAT to another": "from behind one NAT to behind another",
    "both ends move at once, on one LAN": "both addresses are replaced at once",
}
# The same for docs/performance.md, with the columns there.
COSTS = {
    "one TCP flow up, down, Mbit/s": ("one flow up, Mbit/s", "one flow down, Mbit/s"),
    "processor time a GB, both ends": ("CPU, s/GB",),
    "round trip while four flows run up": ("four flows up, p50, ms",),
    "idle round trip": ("idle, p50, ms",),
    "UDP of 1300 bytes, packets a second": ("1300 bytes, packets/s",),
    "largest end, MB": ("largest daemon, MB",),
}


def tables(name: str) -> list[list[list[str]]]:
    """Return the tables of a page as rows of cells; the first row of each is its head."""
    text = (ROOT / name).read_text()
    blocks = re.findall(r"^(?:\|.*\|\n)+", text, re.MULTILINE)
    return [
        [[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines()]
        for block in blocks
    ]


def rows_of(readme: str) -> dict[str, list[str]]:
    (found,) = [rows for rows in tables("README.md") if rows[0][0] == readme]
    return {row[0]: row[1:] for row in found[2:]}


def number(text: str) -> float:
    return float(text.replace(",", ""))


def test_a_move_is_said_to_take_what_it_was_measured_to_take() -> None:
    measured = next(rows for rows in tables("docs/handover.md") if rows[0][2:3] == ["to hold"])
    said = rows_of("a move under 20 Mbit/s each way")
    assert said.keys() == MOVES.keys()
    for words, cells in said.items():
        (row,) = [row for row in measured if row[0].startswith(MOVES[words])]
        for cell, found in zip(cells, row[3:6], strict=True):
            if cell == "until it heals":  # the outage itself, and little more
                assert re.match(r"[5-9]\.\d, ", found), words
            else:
                assert found.split(",")[0].split()[0] == cell.split()[0], words
                assert found.endswith(cell.split()[-1]), words


@pytest.mark.parametrize("words", COSTS)
def test_what_it_costs_is_what_was_measured(words) -> None:
    said = rows_of("`make performance`")
    assert said.keys() == COSTS.keys()
    pages = tables("docs/performance.md")
    for contender, cell in zip(("sacip-tun", "wireguard-go", "openvpn"), said[words], strict=True):
        figures = []
        for column in COSTS[words]:
            (rows,) = [rows for rows in pages if column in rows[0] and rows[2][0] == "sacip-tun"]
            (row,) = [row for row in rows if row[0] == contender]
            figures.append(number(row[rows[0].index(column)].split()[0]))
        told = [number(text) for text in re.findall(r"[\d,]*\d(?:\.\d+)?", cell)]
        assert told == pytest.approx(figures, rel=0.03), contender
