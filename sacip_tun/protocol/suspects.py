"""Suspects: own addresses whose path died without a word, until they have proven to be well.

An address that failed is not gone back to at its first answer: a path at the edge of its cell
answers now and then, and every change costs. It must answer for a while without a gap, and for
longer each time it fails again.
"""

from dataclasses import dataclass

from sacip_tun.protocol.address import Host

# Seconds without a gap that a path must answer: the first number, doubled for each relapse within
# the memory, at most the second (reliability.md N11: damping of the choice, never of validity).
FIRST_PENALTY = 2.0
MAX_PENALTY = 64.0
MEMORY = 600.0


@dataclass(slots=True)
class Suspicion:
    """Against one address. `well_since` is None while it does not answer."""

    blamed: float
    penalty: float
    well_since: float | None = None
    cleared: bool = False


class Suspects:
    """The addresses that are not gone back to yet."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[Host, Suspicion] = {}

    def __contains__(self, host: object) -> bool:
        return any(host == known and not s.cleared for known, s in self._known.items())

    def __bool__(self) -> bool:
        return any(not suspicion.cleared for suspicion in self._known.values())

    def blame(self, host: Host, *, now: float) -> None:
        """Suspect an address; for longer where it has been suspected lately."""
        before = self._known.get(host)
        penalty = FIRST_PENALTY
        if before is not None and now - before.blamed < MEMORY:
            penalty = min(2 * before.penalty, MAX_PENALTY)
        self._known[host] = Suspicion(now, penalty)

    def answered(self, host: Host, *, now: float) -> bool:
        """Take an answer over this address's path; True where it is cleared by that."""
        suspicion = self._known.get(host)
        if suspicion is None or suspicion.cleared:
            return False
        if suspicion.well_since is None:
            suspicion.well_since = now
        suspicion.cleared = now - suspicion.well_since >= suspicion.penalty
        return suspicion.cleared

    def unanswered(self, host: Host) -> None:
        """Start anew: a challenge over this address's path was lost."""
        if host in self._known:
            self._known[host].well_since = None

    def is_well(self, host: Host) -> bool:
        """Tell whether an address answers for now."""
        suspicion = self._known.get(host)
        return suspicion is not None and suspicion.well_since is not None

    def forget(self, present: frozenset[Host]) -> None:
        """Forget addresses that this host does not have any more."""
        for host in [host for host in self._known if host not in present]:
            del self._known[host]
