"""A run of the benchmark of throughput in a file, so that the report can be made again."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

from figures import Round
from hotspots import Profile


@dataclass
class Ledger:
    """All there is of a run."""

    machine: dict[str, str]
    command: str
    seconds: float
    rounds: list[Round] = field(default_factory=list)
    profiles: Sequence[Profile] = ()

    def write(self, path: Path) -> None:
        """Write it; what was there is replaced at once."""
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.partial")
        partial.write_text(json.dumps(asdict(self), indent=1) + "\n")
        partial.replace(path)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Raises OSError, ValueError, KeyError or TypeError where it is no such file."""
        document = json.loads(path.read_text())
        rounds = [Round(**one) for one in document.pop("rounds")]
        profiles = tuple(Profile(**one) for one in document.pop("profiles"))
        return cls(**document, rounds=rounds, profiles=profiles)

    @property
    def count(self) -> int:
        """How many rounds there are."""
        return max((one.number for one in self.rounds), default=0)

    def rows(self) -> list[str]:
        """Return the rows there are, in the order in which they were measured."""
        return list(dict.fromkeys(one.row for one in self.rounds))

    def errors(self) -> list[str]:
        """Return what could not be measured, a line each."""
        return [
            f"round {one.number}, {one.row}: {one.error}"
            for one in self.rounds
            if one.error is not None
        ]
