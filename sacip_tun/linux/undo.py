"""The undo log: what `up` changed outside its own interface, written down before it is done.

What hangs on the TUN and the sockets goes with the process, however it ends. Rules, the firewall,
sysctls and resolv.conf do not: a process that was killed leaves them, and this file, by which the
next start or `sacip-tun cleanup` puts everything back exactly.

1. One JSON object a line, the first says in which network namespace. A step is undone by its kind.
2. Steps are undone from the last to the first. One that fails stays in the file, and the others
   are undone nevertheless.
3. A step is there once, however often it is done: what was before is what was there first.
4. Only one process at a time changes logs: all hold one lock while they do.
5. Two tunnels may have changed the same thing one after the other. Whichever ends first hands what
   was there before to the one that came after it, unless it is the last one itself.
"""

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from sacip_tun.linux import firewall, policy, resolv_conf, resolvconf, sysctl
from sacip_tun.linux.routes import Rule

Step = dict[str, Any]

SUFFIX, LOCK = ".undo", ".lock"
# What tells nothing about which step it is.
CIRCUMSTANCES = frozenset({"at", "before"})
_held = set[Path]()


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Let no other process change logs or choose a table meanwhile; may be nested. Raises OSError.

    For one thread: nothing may be awaited inside.
    """
    if directory in _held:
        yield
        return
    descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        _held.add(directory)
        yield
    finally:
        _held.discard(directory)
        os.close(descriptor)


class UndoLog:
    """The log of one interface, in the directory of the control sockets."""

    def __init__(self, directory: Path, interface: str) -> None:
        self.interface = interface
        self._path = directory / f"{interface}{SUFFIX}"
        self._asked = set[str]()

    def remember(self, kind: str, **details: object) -> None:
        """Write a step down, unless it is there. Raises OSError."""
        step = {"kind": kind, "at": time.time_ns(), **details}
        identity = _identity(step)
        self._asked.add(identity)
        with locked(self._path.parent):
            if any(_identity(known) == identity for known in self.steps()):
                return
            lines: list[Step] = [] if self._path.exists() else [{"namespace": namespace()}]
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            descriptor = os.open(self._path, flags, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write("".join(json.dumps(line) + "\n" for line in [*lines, step]))

    def confirm(self, kind: str) -> None:
        """Take the steps of a kind that are there for steps of now."""
        self._asked |= set(map(_identity, self.of(kind)))

    def rule(self, rule: Rule) -> None:
        """Write down that a rule is about to be added."""
        self.remember("rule", rule=_facts(rule))

    def drop(self, kind: str) -> None:
        """Forget the steps of a kind: they are not ours to undo any more."""
        self._only(lambda step: step["kind"] != kind)

    def forget(self, kind: str, **details: object) -> None:
        """Forget a step: somebody else may do the same now, and it is theirs."""
        gone = _identity({"kind": kind, **details})
        self._only(lambda step: _identity(step) != gone)

    def forget_rule(self, rule: Rule) -> None:
        """Forget that a rule was added."""
        self.forget("rule", rule=_facts(rule))

    def _only(self, kept: Callable[[Step], bool]) -> None:
        if self._path.exists():
            with locked(self._path.parent):
                self.write([step for step in self.steps() if kept(step)])

    def steps(self) -> list[Step]:
        """Return the steps in their order. What was being written when power failed is no step.

        Raises OSError where they cannot be read.
        """
        return [line for line in self._lines() if "kind" in line]

    def of(self, kind: str) -> list[Step]:
        """Return the steps of a kind. Raises OSError, as `steps`."""
        return [step for step in self.steps() if step["kind"] == kind]

    @property
    def kinds(self) -> set[str]:
        """The kinds of the steps that there are. Raises OSError, as `steps`."""
        return {step["kind"] for step in self.steps()}

    @property
    def is_here(self) -> bool:
        """Whether it is about this network namespace."""
        here = namespace()
        return any(line.get("namespace") == here for line in self._lines())

    def undo(self, *, keep: frozenset[str] = frozenset()) -> list[str]:
        """Undo all but kinds to `keep`; returns what could not be undone, and why."""
        return self._undo(lambda step: step["kind"] not in keep)

    def undo_only(self, kinds: frozenset[str]) -> list[str]:
        """Undo steps of these kinds; returns as `undo`."""
        return self._undo(lambda step: step["kind"] in kinds)

    def undo_stale(self) -> list[str]:
        """Undo what only an earlier process asked for; returns as `undo`."""
        return self._undo(lambda step: _identity(step) not in self._asked)

    def _undo(self, meant: Callable[[Step], bool]) -> list[str]:
        if not self._path.exists():
            return []
        problems, left = list[str](), list[Step]()
        with locked(self._path.parent):
            for step in reversed(self.steps()):
                try:
                    if not meant(step):
                        left.append(step)
                    elif not self._handed_over(step):
                        UNDO[step["kind"]](step)
                except Exception as error:  # noqa: BLE001 - another version may have written it
                    problems.append(f"{step['kind']} of {self.interface}: {error}")
                    left.append(step)
            try:
                self.write(left[::-1])
            except OSError as error:
                problems.append(f"the undo log of {self.interface} cannot be written: {error}")
        return problems

    def _handed_over(self, step: Step) -> bool:
        """Let the next tunnel that changed the same thing put back what was before us both."""
        resource = step.get("resource")
        if resource is None:
            return False
        here = self.is_here
        later = [
            (other["at"], log, other)
            for log in logs(self._path.parent)
            if log.interface != self.interface and log.is_here == here
            for other in log.steps()
            if other.get("resource") == resource and other["at"] > step["at"]
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
        except FileNotFoundError:
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


def _identity(step: Mapping[str, object]) -> str:
    """Return what is the same for a step that is done again."""
    facts = {name: value for name, value in step.items() if name not in CIRCUMSTANCES}
    return json.dumps(facts, sort_keys=True)


def _facts(rule: Rule) -> Step:
    return {**asdict(rule), "destination": rule.destination and str(rule.destination)}


def _nothing(_step: Step) -> None:
    """Undo what only had to be known."""


def _undo_rule(step: Step) -> None:
    facts = dict(step["rule"])
    if facts["destination"] is not None:
        facts["destination"] = ip_network(facts["destination"])
    policy.delete_rule(Rule(**facts))


UNDO: Mapping[str, Callable[[Step], None]] = {
    "table": _nothing,
    "commands": _nothing,
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
