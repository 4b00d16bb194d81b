"""The normative text shows the tables that the code runs on."""

import runpy
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_the_diagrams_in_protocol_md_are_drawn_from_the_tables() -> None:
    redrawn = runpy.run_path(str(DOCS / "state_diagrams.py"))["redrawn"]
    text = (DOCS / "protocol.md").read_text()
    assert text.count("stateDiagram-v2") == 2
    assert redrawn(text) == text
