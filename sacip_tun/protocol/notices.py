"""The notices of our moves: what PREPARE and CHANGE say, how often, and to everywhere it may help.

Copies of CHANGE go at 0, 30 and 90 ms to every place where the peer may be. Hunting then tries
every pair of addresses, the own link by multicast, and peers that know both ends.
"""

from collections.abc import Iterable

from sacip_tun.protocol.address import Endpoint
from sacip_tun.protocol.choice import Choice
from sacip_tun.protocol.events import Hunting
from sacip_tun.protocol.frames import Code, Frame, Reason
from sacip_tun.protocol.sacip import Mover
from sacip_tun.protocol.timers import Timer, doubled

# Delays in seconds after the first CHANGE (protocol.md 4: copies at 0, 30, 90 ms).
EARLY_COPIES = (0.030, 0.060)
# Then a retransmission timeout of max(30 ms, 2 RTT), doubled, at most 1 s.
MIN_RTO = 0.030
MAX_RTO = 1.0
# Hunting starts at 0.2 s between rounds, doubled up to 15 s, and never ends.
FIRST_HUNT = 0.2
SLOWEST_HUNT = 15.0
# From this round of hunting on, the link is asked by multicast, and other peers to relay.
WIDE_HUNT = 2
# Open questions of one move that are remembered.
MAX_TOKENS = 64


class Notices:
    """What is told of the move with `number`: where we were (`old`) and the `reason`.

    `copies` counts what went out in the present state of the move.
    """

    __slots__ = ("_choice", "_link", "_tokens", "copies", "number", "old", "reason")

    def __init__(self, link: Mover, choice: Choice) -> None:
        self._link = link
        self._choice = choice
        self._tokens: tuple[int, ...] = ()
        self.number = 0
        self.old: Endpoint | None = None
        self.reason: Reason | None = None
        self.copies = 0

    @property
    def candidates(self) -> tuple[Endpoint, ...]:
        """Where else the peer may find us: usable addresses, but the one in use."""
        active = self._link.path.local.active
        if active is None:
            return ()
        hosts = [source.endpoint.host for source in self._choice.sources]
        others = dict.fromkeys((*self._link.own_candidates, *hosts))
        return tuple(Endpoint(host, active.port) for host in others if host != active.host)

    def begin(self, reason: Reason | None) -> None:
        """Number the next move."""
        self.number += 1
        self.reason = reason

    def answers(self, token: int) -> bool:
        """Tell whether a token is that of a notice which is still open."""
        return token in self._tokens

    def close(self) -> None:
        """Take no answer any more to what was asked."""
        self._tokens = ()

    def prepare(self, standby: Endpoint | None, *, now: float) -> None:
        """Send a copy of PREPARE over the path in use."""
        self.copies += 1
        path = self._link.path
        self._ask(Code.PREPARE, path.local.active, path.remote.active, new=standby, now=now)
        self._link.arm(Timer.NOTICE, now + self.pause)

    def change(self, *, neighbour: bool, now: float) -> None:
        """Send a copy of CHANGE to every place where the peer may be.

        One that was a `neighbour` may have moved as well: the link is asked with the second copy.
        """
        active = self._link.path.local.active
        places = self._link.where.destinations_for(active)
        self._change(((active, place) for place in places), now=now)
        if self.copies > 1 and neighbour:
            self._ask_the_link(now=now)
        self._link.arm(Timer.NOTICE, now + self.pause)

    def hunt(self, *, now: float) -> None:
        """Try every own address with every address of the peer, and a handshake."""
        self._change(self._link.where.pairs_in_turn(self.copies), now=now)
        if self.copies >= WIDE_HUNT:
            self._ask_around(now=now)
        self._link.start_handshake(now=now)
        self._link.emit(Hunting(self._link.key, self.number, self.copies))
        self._link.arm(Timer.NOTICE, now + doubled(FIRST_HUNT, self.copies - 1, SLOWEST_HUNT))

    @property
    def pause(self) -> float:
        """Seconds until the next copy: two early ones, then the doubling timeout."""
        if self.copies <= len(EARLY_COPIES):
            return EARLY_COPIES[self.copies - 1]
        rto = self._link.path.round_trips(2, MIN_RTO)
        return doubled(rto, self.copies - len(EARLY_COPIES) - 1, MAX_RTO)

    def _change(self, pairs: Iterable[tuple[Endpoint | None, Endpoint]], *, now: float) -> None:
        self.copies += 1
        for local, remote in pairs:
            self._ask(Code.CHANGE, local, remote, new=local, now=now)

    def _ask_around(self, *, now: float) -> None:
        """Neither end knows where the other is: ask the own link, and peers that know both."""
        self._ask_the_link(now=now)
        active = self._link.path.local.active
        self._link.speech.ask_relays(self._notice(Code.CHANGE, active), now=now)

    def _ask_the_link(self, *, now: float) -> None:
        for source in self._choice.sources:
            for group in self._link.where.groups_on(source):
                steered = Endpoint(source.endpoint.host, source.endpoint.port, source.interface)
                self._ask(Code.CHANGE, steered, group, new=source.endpoint, now=now)

    def _ask(
        self,
        code: Code,
        local: Endpoint | None,
        remote: Endpoint | None,
        *,
        new: Endpoint | None,
        now: float,
    ) -> None:
        token = self._link.speech.ask(self._notice(code, new), local, remote, now=now)
        self._tokens = (*self._tokens, token)[-MAX_TOKENS:]

    def _notice(self, code: Code, new: Endpoint | None) -> Frame:
        told = self._link.received() if code is Code.CHANGE else ()
        return Frame(
            code,
            number=self.number,
            old=self.old,
            new=new,
            reason=self.reason,
            received=told,
            candidates=self.candidates if code is Code.CHANGE else (),
        )
