"""The results of the handover benchmark in a file, so that a part of them can be made anew."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from trial import Result
from verdict import Observed, Outcome


def write(path: Path, results: Sequence[Result], machine: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {"machine": machine, "results": [asdict(result) for result in results]}
    path.write_text(json.dumps(document) + "\n")


def read(path: Path) -> list[Result]:
    """Raises OSError, ValueError, KeyError or TypeError where it is no such file."""
    return [_result(document) for document in json.loads(path.read_text())["results"]]


def _result(document: dict[str, Any]) -> Result:
    flows = tuple(
        Observed(**{**flow, "outcome": Outcome(flow["outcome"]), "bins": tuple(flow["bins"])})
        for flow in document["flows"]
    )
    spans = tuple((since, until) for since, until in document["outages"])
    made = {"flows": flows, "outages": spans, "events": tuple(document["events"])}
    typed = tuple((moment, line) for moment, line in document.get("typed", ()))
    return Result(**{**document, **made, "typed": typed})


def merged(earlier: Sequence[Result], later: Sequence[Result]) -> list[Result]:
    """Return the later results, and of the earlier ones those that were not made anew."""
    anew = {(result.move, result.contender) for result in later}
    kept = [result for result in earlier if (result.move, result.contender) not in anew]
    return [*kept, *later]
