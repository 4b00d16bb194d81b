"""Healing: own paths that died without a word are asked until they are well for a while.

Asked quickly at first and while they answer, ever more rarely the longer they are dead; not at all
while none of them leads to the peer anyway.
"""

from sacip_tun.protocol.address import Host
from sacip_tun.protocol.choice import Choice
from sacip_tun.protocol.facts import Source
from sacip_tun.protocol.frames import Code, Frame
from sacip_tun.protocol.sacip import Mover
from sacip_tun.protocol.timers import Timer, doubled

# A path that died is asked whether it is well after so many seconds; then in doubling pauses up to
# the second number, for as long as it has been dead no longer than the first.
FIRST_HEAL = 0.5
SLOWEST_HEAL = ((60.0, 5.0), (600.0, 15.0), (float("inf"), 60.0))


class Healing:
    """The questions to the paths of all suspects of one peer."""

    __slots__ = (
        "_asked",
        "_choice",
        "_died",
        "_link",
        "_resting",
        "_tries",
    )

    def __init__(self, link: Mover, choice: Choice) -> None:
        self._link = link
        self._choice = choice
        self._asked: dict[int, Host] = {}
        self._tries = 0
        self._died = 0.0
        self._resting = True

    def died(self, host: Host | None, *, now: float) -> None:
        """The path from an address was left because it was silent."""
        if host is not None:
            self._choice.suspects.blame(host, now=now)
        self._died = now
        self._begin(now=now)

    def look(self, *, now: float) -> None:
        """The sources are others: a suspect may be among them again."""
        if self._resting and self._suspected():
            self._begin(now=now)

    def ask(self, *, now: float) -> None:
        """Ask every path that died whether it is well (Timer.HEAL)."""
        suspects, suspected = self._choice.suspects, self._suspected()
        for host in self._asked.values():
            suspects.unanswered(host)
        self._asked.clear()
        self._resting = not suspected
        if self._resting:
            return
        for source in suspected:
            question = Frame(Code.PATH_CHALLENGE)  # without a number: it announces nothing
            for remote in self._link.where.destinations_for(source.endpoint)[:1]:
                token = self._link.speech.ask(question, source.endpoint, remote, now=now)
                self._asked[token] = source.endpoint.host
        well = any(suspects.is_well(source.endpoint.host) for source in suspected)
        self._tries = 0 if well else self._tries + 1
        slowest = next(pause for age, pause in SLOWEST_HEAL if now - self._died < age)
        pause = doubled(FIRST_HEAL, self._tries, slowest)
        self._link.arm(Timer.HEAL, now + pause)

    def answered(self, token: int, *, now: float) -> bool:
        """Take PATH_RESPONSE; True where an address is cleared by it."""
        host = self._asked.pop(token, None)
        if host is None:
            return False
        was_well = self._choice.suspects.is_well(host)
        cleared = self._choice.suspects.answered(host, now=now)
        if not was_well and not cleared:
            # Asked as slowly as while it was dead, it could be away between any two answers.
            self._begin(now=now)
        return cleared

    def _begin(self, *, now: float) -> None:
        self._tries = 0
        self._resting = False
        self._link.arm(Timer.HEAL, now + FIRST_HEAL)

    def _suspected(self) -> list[Source]:
        suspects = self._choice.suspects
        return [source for source in self._choice.sources if source.endpoint.host in suspects]
