"""The undo log: what `up` changed outside its own interface, written down before it is done.

What hangs on the TUN and the sockets goes with the process, however it ends. Rules, the firewall,
sysctls and resolv.conf do not: a process that was killed leaves them, and this file, by which the
next start or `sacip-tun cleanup` puts everything back exactly.

1. One JSON object a line, the first says in which network namespace. A step is undone by its kind.
2. Steps are undone from the last to the first. One that fails stays in the file, and the others
   are undone nevertheless.
3. Two tunnels may have changed the same thing one after the other. Whichever ends first hands what
   was there before to the one that came after it, unless it is the last one itself.
"""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from sacip_tun.linux import firewall, policy, resolv_conf, resolvconf, sysctl
from sacip_tun.linux.errors import InterfaceError
from sacip_tun.linux.routes import Rule

Step = dict[str, Any]

SUFFIX = ".undo"


class UndoLog:
    """The log of one interface, in the directory of the control sockets."""

    def __init__(self, directory: Path, interface: str) -> None:
        self.interface = interface
        self._path = directory / f"{interface}{SUFFIX}"

    def remember(self, kind: str, **details: object) -> None:
        """Write a step down. Raises OSError."""
        lines: list[Step] = [] if self._path.exists() else [{"namespace": namespace()}]
        lines.append({"kind": kind, "at": time.time_ns(), **details})
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(self._path, flags, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write("".join(json.dumps(line) + "\n" for line in lines))

    def rule(self, rule: Rule) -> None:
        """Write down that a rule is about to be added."""
        destination = rule.destination and str(rule.destination)
        self.remember("rule", rule={**asdict(rule), "destination": destination})

    def drop(self, kind: str) -> None:
        """Forget the steps of a kind: they are not ours to undo any more."""
        self.write([step for step in self.steps() if step["kind"] != kind])

    def steps(self) -> list[Step]:
        """Return the steps in their order. What was being written when power failed is no step."""
        return [line for line in self._lines() if "kind" in line]

    @property
    def is_here(self) -> bool:
        """Whether it is about this network namespace."""
        return any(line.get("namespace") == namespace() for line in self._lines())

    def undo(self, *, keep: frozenset[str] = frozenset()) -> list[str]:
        """Undo all but kinds to `keep`; returns what could not be undone, and why."""
        problems, left = list[str](), list[Step]()
        for step in reversed(self.steps()):
            try:
                if step["kind"] in keep:
                    left.append(step)
                elif not self._handed_over(step):
                    UNDO[step["kind"]](step)
            except (OSError, InterfaceError, KeyError, ValueError) as error:
                problems.append(f"{step['kind']} of {self.interface}: {error}")
                left.append(step)
        self.write(left[::-1])
        return problems

    def _handed_over(self, step: Step) -> bool:
        """Let the next tunnel that changed the same thing put back what was before us both."""
        resource = step.get("resource")
        later = [
            (other["at"], log, other)
            for log in logs(self._path.parent)
            if log.interface != self.interface and log.is_here == self.is_here
            for other in log.steps()
            if resource is not None
            and other.get("resource") == resource
            and other["at"] > step["at"]
        ]
        if not later:
            return False
        _, log, heir = min(later, key=lambda found: found[0])
        changed = [{**s, "before": step["before"]} if s == heir else s for s in log.steps()]
        log.write(changed)
        return True

    def _lines(self) -> Iterator[Step]:
        try:
            text = self._path.read_text()
        except OSError:
            return
        for line in text.splitlines():
            try:
                found = json.loads(line)
            except ValueError:
                continue
            if isinstance(found, dict):
                yield found

    def write(self, steps: list[Step]) -> None:
        """Keep these steps alone; without any there is no file."""
        if not steps:
            self._path.unlink(missing_ok=True)
            return
        head = [line for line in self._lines() if "namespace" in line]
        text = "".join(json.dumps(line) + "\n" for line in [*head, *steps])
        temporary = self._path.with_suffix(".new")
        temporary.touch(mode=0o600)
        temporary.write_text(text)
        temporary.replace(self._path)


def logs(directory: Path) -> list[UndoLog]:
    """Return the logs that there are."""
    return [UndoLog(directory, path.stem) for path in sorted(directory.glob(f"*{SUFFIX}"))]


def namespace() -> str:
    """Return what tells this network namespace from others."""
    status = Path("/proc/self/ns/net").stat()
    return f"{status.st_dev}:{status.st_ino}"


def _undo_rule(step: Step) -> None:
    facts = dict(step["rule"])
    if facts["destination"] is not None:
        facts["destination"] = ip_network(facts["destination"])
    policy.delete_rule(Rule(**facts))


UNDO: Mapping[str, Callable[[Step], None]] = {
    "rule": _undo_rule,
    "dead-end": lambda step: policy.delete_dead_end(ip_network(step["network"]), step["table"]),
    "firewall": lambda step: firewall.remove(step["interface"]),
    "kill-switch": lambda step: firewall.remove(step["interface"]),
    "sysctl": lambda step: sysctl.write(step["resource"], step["before"]),
    "resolv.conf": lambda step: resolv_conf.restore(
        Path(step["resource"]), step["before"], step["marker"]
    ),
    "resolvconf": lambda step: resolvconf.remove(step["name"]),
}
