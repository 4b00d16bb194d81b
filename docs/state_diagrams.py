"""Draw the two state machines of the exchange from their tables, as Mermaid text.

`python docs/state_diagrams.py` rewrites the blocks between the `state-diagram` markers of
docs/protocol.md; a test holds them equal to the tables.
"""

import re
from collections import defaultdict
from collections.abc import Mapping
from enum import Enum
from pathlib import Path

from sacip_tun.protocol.sacip import LOCAL_TRANSITIONS, REMOTE_TRANSITIONS

DOCUMENT = Path(__file__).with_name("protocol.md")


def mermaid(table: Mapping[tuple[Enum, Enum], Enum]) -> str:
    """Return a state diagram; triggers that lead the same way share an arrow."""
    arrows = defaultdict[tuple[str, str], list[str]](list)
    for (state, trigger), following in table.items():
        arrows[state.name, following.name].append(trigger.name)
    lines = [f"    {start} --> {end}: {', '.join(names)}" for (start, end), names in arrows.items()]
    return "\n".join(["```mermaid", "stateDiagram-v2", "    [*] --> SETTLED", *lines, "```"])


def redrawn(text: str) -> str:
    """Return the document with both diagrams as the tables have them."""
    for name, table in (("local", LOCAL_TRANSITIONS), ("remote", REMOTE_TRANSITIONS)):
        block = f"<!-- state-diagram {name} -->\n{mermaid(table)}\n<!-- end -->"
        pattern = rf"<!-- state-diagram {name} -->.*?<!-- end -->"
        text = re.sub(pattern, lambda _, block=block: block, text, flags=re.DOTALL)
    return text


if __name__ == "__main__":
    DOCUMENT.write_text(redrawn(DOCUMENT.read_text()))
