"""Medians, targets and the page of the benchmark of throughput."""

from pathlib import Path

import pytest
from contenders import CARRIERS, OPENVPN, OURS, WIREGUARD
from figures import CROWD, TCP, UDP, Figure, Round, Spread, row_of_crowd, spread
from hotspots import CIPHER, Profile
from ledger import Ledger
from performance import cell, figures, targets, write
from targets import TARGETS, Bound, Target, verdicts

UP = Figure("up", "one flow up", "Mbit/s")


def rounds(row: str, key: str, *values: float) -> list[Round]:
    return [Round(row, number, {key: value}) for number, value in enumerate(values, 1)]


def test_a_spread_is_of_the_rounds_that_have_the_figure() -> None:
    made = [*rounds(OURS, "up", 5, 1, 3), Round(OURS, 4, error="no"), *rounds("openvpn", "up", 9)]
    assert spread(made, OURS, "up") == Spread(3, 1, 5)
    assert spread(made, OURS, "down") is None


def test_at_least_is_held_against_the_better_one() -> None:
    target = Target("up", "up", Bound.LEAST, 2.5, (WIREGUARD, OPENVPN))
    others = [*rounds(WIREGUARD, "up", 400, 400), *rounds(OPENVPN, "up", 500, 600, 700)]
    good = target.judge([*others, *rounds(OURS, "up", 1500)])
    assert (good.ours, good.other, good.limit, good.held) == (1500, 600, 1500, True)
    words = "at least 2.5 times that of the better of wireguard-go and openvpn (600): 1,500"
    assert str(good) == f"held: up: 1,500, {words}"
    assert target.judge([*others, *rounds(OURS, "up", 1499)]).held is False


def test_at_most_is_held_against_the_smaller_one() -> None:
    target = Target("trip", "p50", Bound.MOST, 0.5, (WIREGUARD, OPENVPN))
    others = [*rounds(WIREGUARD, "p50", 4), *rounds(OPENVPN, "p50", 2)]
    assert target.judge([*others, *rounds(OURS, "p50", 1)]).held is True
    assert target.judge([*others, *rounds(OURS, "p50", 1.1)]).held is False


def test_a_bound_of_its_own_needs_no_other() -> None:
    target = Target("MB", "peak", Bound.MOST, 80)
    assert target.judge(rounds(OURS, "peak", 79, 81, 80)).held is True
    assert target.judge(rounds(OURS, "peak", 81)).held is False


def test_without_a_row_nothing_is_said() -> None:
    target = Target("up", "up", Bound.LEAST, 2.5, (WIREGUARD, OPENVPN))
    for made in ([], rounds(OURS, "up", 9), rounds(WIREGUARD, "up", 9)):
        assert target.judge([*made, *rounds(OPENVPN, "up", 1)]).held is None
    assert {verdict.held for verdict in verdicts([])} == {None}


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.title)
def test_every_target_is_about_rows_and_figures_that_are_measured(target) -> None:
    known = {*CARRIERS, row_of_crowd(1), row_of_crowd(10_000)}
    assert {target.row, *target.others} <= known
    one = Round(target.row, 1, {target.key: 1.0})
    assert target.judge([one, *(Round(name, 1, {target.key: 1.0}) for name in target.others)]).limit


def test_a_cell_shows_the_range_only_where_it_reads_differently() -> None:
    assert cell(rounds(OURS, "up", 1234.4), OURS, UP) == "1,234"
    assert cell(rounds(OURS, "up", 10.1, 10.2), OURS, UP) == "10"
    assert cell(rounds(OURS, "up", 900, 1500, 1100), OURS, UP) == "1,100 (900 to 1,500)"
    assert cell([], OURS, UP) == "-"


def test_packets_are_shown_as_megabits_too() -> None:
    made = [Round(OURS, 1, {"udp 1300": 50_000, "udp 1300 lost": 0.125})]
    row = figures(made, [OURS, "openvpn"], UDP).splitlines()[2:]
    assert row == ["| sacip-tun | 50,000 | 520 | 12.5 | - | - | - |"]


def test_names_of_crowds() -> None:
    assert [row_of_crowd(count) for count in (1, 10_000)] == ["1 peer", "10,000 peers"]


def ledger() -> Ledger:
    measured = {figure.key: 1.0 for figure in (*TCP, *UDP, *CROWD)}
    made = [Round(row, 1, dict(measured)) for row in (OURS, "openvpn", row_of_crowd(1))]
    machine = dict.fromkeys(
        ("date", "processors", "model", "kernel", "congestion", "python", "versions"), "something"
    )
    seen = Profile("one TCP flow, sender", {CIPHER: 0.5}, {"f (a.py)": 0.5, "g (a.py)": 0.01})
    return Ledger(machine, "python x", 3.0, [*made, Round("boringtun", 1, error="gone")], (seen,))


def test_a_ledger_survives_its_file(tmp_path) -> None:
    made = ledger()
    made.write(tmp_path / "deep" / "run.json")
    assert Ledger.read(tmp_path / "deep" / "run.json") == made
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["run.json"]
    assert made.rows() == [OURS, "openvpn", "1 peer", "boringtun"]
    assert made.errors() == ["round 1, boringtun: gone"]
    assert made.count == 1


def test_the_page_has_every_table_and_the_picture_every_panel(tmp_path) -> None:
    write(tmp_path, ledger())
    page = Path(tmp_path / "performance.md").read_text()
    assert "| sacip-tun | 1 | 1 | 1 | 1 | 1.00 | 1 |" in page
    assert "| 1 peer | 1 | 1 | 1 |" in page
    assert "| the cipher | 50% |" in page
    assert "| `f (a.py)` | 50% |" in page
    assert "g (a.py)" not in page
    assert "boringtun" not in page
    assert targets(verdicts(ledger().rounds)) in page
    assert "{" not in page
    picture = (tmp_path / "performance.svg").read_text()
    assert "CPU, seconds a GB" in picture
    assert "openvpn" in picture


def test_without_a_profile_nothing_is_said_about_what_remains(tmp_path) -> None:
    made = ledger()
    made.profiles = ()
    write(tmp_path, made)
    assert "What remains" not in (tmp_path / "performance.md").read_text()
