"""The two writers of docs/handover.md leave each other's part alone."""

from pathlib import Path

import page
import report
from proof import Proof
from roams import ROAMS


def proof(number: int, **download: object) -> Proof:
    ends = {"longest_silence_ms": 5100.0, **download}
    return Proof(ROAMS[number], [], ends, {"retransmissions": 3}, {}, 5000.0, 1, None)


def test_the_section_is_the_last_one_and_replaces_itself(tmp_path) -> None:
    path = tmp_path / "handover.md"
    path.write_text("# What a move does\n\n## One handover over time\n\ntext\n")
    page.write(path, [proof(0), proof(1)])
    first = path.read_text()
    page.write(path, [proof(0)])
    second = path.read_text()
    assert first.startswith("# What a move does\n\n## One handover over time\n\ntext\n\n## In cont")
    assert second.count(page.HEADING) == 1
    assert len(first.splitlines()) == len(second.splitlines()) + 1
    assert f"| {ROAMS[0].title} | none | 5,100 ms |" in second


def test_an_outage_is_taken_off(tmp_path) -> None:
    path = tmp_path / "handover.md"
    path.write_text("")
    outage = next(number for number, roam in enumerate(ROAMS) if roam.outage)
    page.write(path, [proof(outage)])
    assert "| 5.0 s | 5,100 ms | 100 ms |" in path.read_text()


def test_the_other_writer_keeps_it(tmp_path) -> None:
    path = tmp_path / "handover.md"
    path.write_text("# old\n")
    page.write(path, [proof(0)])
    assert report._kept(path).startswith(f"\n{page.HEADING}\n")
    assert report._kept(path).endswith("| 3 |\n")
    assert report._kept(tmp_path / "other.md") == ""


def test_every_roam_has_its_figures() -> None:
    text = (Path(__file__).parents[2] / "docs/handover.md").read_text()
    assert [roam.title for roam in ROAMS if f"| {roam.title} |" not in text] == []
