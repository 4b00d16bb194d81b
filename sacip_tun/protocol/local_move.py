"""Our own address moves: announce the new one, switch, and see that the peer knows.

1. Make before break: a second usable address appears while the first works. PREPARE goes over the
   old path, the peer writes its idle slot; a challenge over the new path proves that it carries.
2. When the active address goes, the pair is switched at once and CHANGE goes out from the new one.
3. Break before make is the same without PREPARE.
4. CHANGE is repeated until it is acknowledged; after three copies every pair of addresses is tried.
5. A plain WireGuard peer gets keepalives from the new address at 0, 50 and 200 ms, so that a late
   packet from the old path cannot have the last word.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from itertools import product

from sacip_tun.protocol.address import Endpoint, Host
from sacip_tun.protocol.events import Detached, Hunting, Kind, Moved, Moving, Prepared, Side
from sacip_tun.protocol.facts import Source
from sacip_tun.protocol.frames import Code, Frame, Reason
from sacip_tun.protocol.sacip import (
    LOCAL_TRANSITIONS,
    Link,
    LocalState,
    LocalTrigger,
    following,
)
from sacip_tun.protocol.timers import Timer

# Delays in seconds after the first CHANGE (protocol.md 4: copies at 0, 30, 90 ms).
EARLY_COPIES = (0.030, 0.060)
# Then a retransmission timeout of max(30 ms, 2 RTT), doubled, at most 1 s.
MIN_RTO = 0.030
MAX_RTO = 1.0
# PREPARE is given up after so many copies: the old path itself is dead then.
PREPARE_COPIES = 6
# CHANGE leads to hunting after so many.
CHANGE_COPIES = 3
# Hunting starts at 0.2 s between rounds, doubled up to 15 s, and never ends.
FIRST_HUNT = 0.2
SLOWEST_HUNT = 15.0
# A standby that the peer did not acknowledge is announced again after so many seconds.
RETRY_STANDBY = 15.0
# Addresses of the peer to which a CHANGE goes before it leads to hunting: both slots, and the one
# that is configured.
PLACES = 3
# Open questions of one move that are remembered.
MAX_TOKENS = 64
# Pairs of addresses tried in one round of hunting.
PAIRS_A_ROUND = 8
# Challenges over the standby path before it counts as not carrying.
PROBES = 5
# Keepalives to a plain peer after a move, in seconds from the move.
LAST_WORDS = (0.050, 0.200)
ACTIVE_STATES = frozenset({LocalState.CHANGING, LocalState.HUNTING})
STANDBY_STATES = frozenset({LocalState.PREPARING, LocalState.PREPARED})


class LocalMove:
    """The state of our address towards one peer, and what each change of it makes us send."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self.state = LocalState.SETTLED
        self.number = 0
        self._sources: tuple[Source, ...] = ()
        self._old: Endpoint | None = None
        self._reason: Reason | None = None
        self._kind = Kind.BREAK_BEFORE_MAKE
        self._started = 0.0
        self._tries = 0
        self._tokens: deque[int] = deque(maxlen=MAX_TOKENS)
        self._probe_tokens: deque[int] = deque(maxlen=PROBES)
        self._wanted: Reason | None = None
        self._words = 0
        self.milliseconds: float | None = None
        # An address that the user or the peer chose is not left for one that routing prefers.
        self._pinned: Host | None = None

    @property
    def detached(self) -> bool:
        """Whether no local address leads to the peer."""
        return self.state is LocalState.DETACHED

    @property
    def candidates(self) -> tuple[Endpoint, ...]:
        """Our usable addresses but the one in use: where else the peer may find us."""
        active = self._link.path.local.active
        others = (source.endpoint for source in self._sources)
        return tuple(other for other in others if active is None or other.host != active.host)

    @property
    def network(self) -> tuple[Host, Host | None] | None:
        """The address in use and the gateway behind which it is, None where there is none."""
        active = self._link.path.local.active
        source = self._source_of(active)
        return None if active is None else (active.host, source.gateway if source else None)

    def rebound(self, *, now: float) -> None:
        """Tell the peer that a NAT moved us: our address is the same, its packets are lost."""
        active = self._link.path.local.active
        if active is not None and self.state not in {*ACTIVE_STATES, LocalState.DETACHED}:
            self._switch(active, Reason.NAT_REBOUND, now=now)

    def reconsider(self, *, now: float) -> None:
        """Announce the standby that was there before the peer was known to speak SACIP."""
        if self.state is LocalState.SETTLED:
            self._consider_standby(now=now)

    def addresses_changed(
        self,
        sources: tuple[Source, ...],
        present: frozenset[Host],
        reasons: Mapping[Host, Reason],
        *,
        now: float,
    ) -> None:
        """Take the addresses that lead to the peer, best first, and move where that is needed."""
        self._sources = sources
        path = self._link.path
        active = path.local.active
        usable = self._source_of(active) is not None
        reason = reasons.get(active.host, Reason.ADDRESS_REMOVED) if active else None
        if self.detached and sources:
            self._switch(self._successor(), self._reason or Reason.ADDRESS_REMOVED, now=now)
        elif usable:
            self._refresh_active()
            self._consider_standby(now=now)
        elif active is None:
            self._start_at(sources)
        elif not sources:
            # Where routing knows no way but the address is there, packets may still arrive at it.
            if active.host not in present:
                self._detach(reason or Reason.ADDRESS_REMOVED)
        else:
            self._switch(self._successor(), reason or Reason.ADDRESS_REMOVED, now=now)

    def contacted_at(self, local: Endpoint) -> None:
        """Answer from the address that the peer used, unless we are the one who left it."""
        pair = self._link.path.local
        same = pair.active is not None and pair.active.host == local.host
        if same or local.host.is_multicast or local.host.is_unspecified:
            return
        known = any(slot is not None and slot.host == local.host for slot in pair.slots)
        if self.state is LocalState.SETTLED and (self.number == 0 or not known):
            self._link.path.local = pair.moved_to(local)
            self._pinned = local.host

    def request(self, new: Endpoint, *, now: float) -> bool:
        """Begin a planned move to `new`, announced while the old address still works.

        Returns False where another move is under way.
        """
        if (self.state, LocalTrigger.STANDBY) not in LOCAL_TRANSITIONS:
            return False
        self._pinned = new.host
        self._prepare(new, Reason.REQUESTED, now=now)
        return True

    def cancel(self) -> None:
        """Take a planned move back: the peer keeps the address in its idle slot, unused."""
        self._pinned = None
        self._drop_standby()

    def acknowledged(self, frame: Frame, local: Endpoint, *, now: float) -> bool:
        """Take PREPARE_ACK or CHANGE_ACK of the current move; True where that ends a move.

        Anything else is too late.
        """
        if frame.token not in self._tokens:
            return False
        if frame.code == Code.PREPARE_ACK and self.state is LocalState.PREPARING:
            self._prepared(now=now)
        elif frame.code == Code.CHANGE_ACK and self.state in ACTIVE_STATES:
            self._settled(frame, local, now=now)
            return True
        return False

    def proven(self, frame: Frame, *, now: float) -> None:
        """Take PATH_RESPONSE: the standby path carries."""
        if frame.token not in self._probe_tokens:
            return
        self._probe_tokens.clear()
        self._link.disarm(Timer.PROBE)
        standby = self._link.path.local.idle
        if self._wanted is not None and self.state is LocalState.PREPARED and standby is not None:
            self._switch(standby, self._wanted, now=now)

    def session_ready(self, *, now: float) -> None:
        """Say under the new session what the old one could not carry any more."""
        if self.state in ACTIVE_STATES:
            self._notify_switched(now=now)

    def handle_timer(self, timer: Timer, *, now: float) -> None:
        """React to NOTICE, PROBE and LAST_WORD."""
        if timer is Timer.PROBE:
            self._probe(now=now)
        elif timer is Timer.LAST_WORD:
            self._last_word(now=now)
        elif self.state is LocalState.PREPARING:
            self._announce(now=now)
        elif self.state is LocalState.CHANGING:
            self._tell(now=now)
        elif self.state is LocalState.HUNTING:
            self._hunt(now=now)
        else:
            self.reconsider(now=now)

    # Choosing

    def _source_of(self, endpoint: Endpoint | None) -> Source | None:
        for source in self._sources:
            if endpoint is not None and source.endpoint.host == endpoint.host:
                return source
        return None

    def _start_at(self, sources: tuple[Source, ...]) -> None:
        """Take the first address: the peer has not heard of any, so this is no move."""
        if sources:
            self._link.path.local = self._link.path.local.of(sources[0].endpoint)

    def _refresh_active(self) -> None:
        """Take over a new outgoing interface of the address in use; that is no move."""
        pair = self._link.path.local
        source = self._source_of(pair.active)
        if source is not None and source.endpoint != pair.active:
            self._link.path.local = pair.replaced(source.endpoint)

    def _consider_standby(self, *, now: float) -> None:
        """Keep the best other address announced, and go there where it is better."""
        mine = self._source_of(self._link.path.local.active)
        others = [source for source in self._sources if source is not mine]
        if mine is None or not others:
            self._drop_standby()
            return
        best = min(others, key=lambda source: (source.deprecated, not source.preferred))
        self._prepare(best.endpoint, self._preference(mine, best), now=now)

    def _preference(self, mine: Source, other: Source) -> Reason | None:
        """Why `other` is better than the address in use; None where it is not."""
        if mine.deprecated != other.deprecated:
            return Reason.ADDRESS_DEPRECATED if mine.deprecated else None
        other_way = other.interface != mine.interface
        better = other.preferred and not mine.preferred
        if better and other_way and self._pinned != mine.endpoint.host:
            return Reason.ROUTE_CHANGED
        return None

    def _successor(self) -> Endpoint:
        """The announced standby where it is still usable, else the best there is."""
        standby = self._link.path.local.idle
        announced = self._source_of(standby) if self.state in STANDBY_STATES else None
        return (announced or self._sources[0]).endpoint

    def _drop_standby(self) -> None:
        if self.state in STANDBY_STATES:
            self._enter(LocalTrigger.STANDBY_LOST)
            self._quiet()
            self._link.path.local = self._link.path.local.forgotten()

    # Make before break

    def _prepare(self, standby: Endpoint, wanted: Reason | None, *, now: float) -> None:
        """Announce `standby`; `wanted` is the reason to switch to it once it is proven."""
        path = self._link.path
        if standby == path.local.active:
            return
        if not self._link.speaks_sacip or not self._link.can_seal(now=now):
            if wanted is not None:
                self._switch(standby, wanted, now=now)
            return
        if self.state in STANDBY_STATES and path.local.idle == standby:
            self._want(wanted, now=now)
            return
        if (self.state, LocalTrigger.STANDBY) not in LOCAL_TRANSITIONS:
            return  # a move is under way; the facts are looked at again when it has settled
        if wanted is None and path.local.idle == standby:
            return  # the slot that a move left behind: the peer has it already
        self._enter(LocalTrigger.STANDBY)
        self._quiet()
        self._begin(wanted, Kind.MAKE_BEFORE_BREAK, now=now)
        self._wanted = wanted
        path.local = path.local.added(standby)
        self._old = path.local.active
        self._announce(now=now)

    def _want(self, wanted: Reason | None, *, now: float) -> None:
        """Switch to the announced standby after all, once it has answered a new challenge."""
        self._wanted = self._wanted or wanted
        if wanted is not None and self.state is LocalState.PREPARED:
            self._tries = 0
            self._probe(now=now)

    def _announce(self, *, now: float) -> None:
        if self._tries == PREPARE_COPIES:
            self._give_up_announcing(now=now)
            return
        self._tries += 1
        path = self._link.path
        self._ask(Code.PREPARE, path.local.active, path.remote.active, new=path.local.idle, now=now)
        self._link.arm(Timer.NOTICE, now + self._pause())

    def _give_up_announcing(self, *, now: float) -> None:
        """The old path is silent: where the other is better anyway, that decides it."""
        path, wanted = self._link.path, self._wanted
        standby = path.local.idle
        self._enter(LocalTrigger.NO_ANSWER)
        self._quiet()
        if standby is not None and wanted not in {None, Reason.REQUESTED}:
            self._switch(standby, wanted or Reason.ROUTE_CHANGED, now=now)
            return
        path.local = path.local.forgotten()
        self._link.arm(Timer.NOTICE, now + RETRY_STANDBY)

    def _prepared(self, *, now: float) -> None:
        pair = self._link.path.local
        self._enter(LocalTrigger.PREPARE_ACK)
        self._link.disarm(Timer.NOTICE)
        if pair.idle is not None:
            elapsed = (now - self._started) * 1000
            announced = (Side.LOCAL, self.number, pair.active, pair.idle, self._wanted, elapsed)
            self._link.emit(Prepared(self._link.key, *announced))
        self._tries = 0
        self._probe(now=now)

    def _probe(self, *, now: float) -> None:
        """Challenge over the standby path; PREPARED is a state in which it may stay unproven."""
        path = self._link.path
        if self.state is not LocalState.PREPARED or self._tries == PROBES:
            return
        self._tries += 1
        question = Frame(Code.PATH_CHALLENGE, number=self.number, new=path.local.idle)
        token = self._link.ask(question, path.local.idle, path.remote.active, now=now)
        self._probe_tokens.append(token)
        self._link.arm(Timer.PROBE, now + self._pause())

    # The switch

    def _switch(self, new: Endpoint, reason: Reason, *, now: float) -> None:
        path = self._link.path
        if path.local.active is not None:
            self._old = path.local.active
        announced = self.state in STANDBY_STATES and path.local.idle == new
        if announced:
            self._reason, self._started = reason, now
        self._enter(LocalTrigger.SWITCH)
        self._quiet()
        if not announced:
            self._begin(reason, Kind.BREAK_BEFORE_MAKE, now=now)
        path.local = path.local.moved_to(new)
        moving = Moving(self._link.key, self.number, self._old, new, reason, self._kind)
        self._link.emit(moving)
        self._notify_switched(now=now)

    def _notify_switched(self, *, now: float) -> None:
        sealable = self._link.can_seal(now=now)
        if not sealable and self._link.engaged:
            self._link.start_handshake(now=now, urgent=True)
        if not self._link.speaks_sacip:
            self._leave_plain_peer(sealable=sealable, now=now)
        elif sealable:
            self._tries = 0
            self._tell(now=now)

    def _tell(self, *, now: float) -> None:
        """Send a copy of CHANGE to every place where the peer may be."""
        if self._tries == CHANGE_COPIES and self.state is LocalState.CHANGING:
            self._enter(LocalTrigger.NO_ANSWER)
            self._tries = 0
            self._hunt(now=now)
            return
        # The active and the idle address, and where the user said: an address that was learnt on
        # the peer's own network leads nowhere from here.
        places = self._link.destinations[:PLACES]
        self._change((self._link.path.local.active,), places, now=now)
        self._link.arm(Timer.NOTICE, now + self._pause())

    def _change(
        self,
        locals_: Iterable[Endpoint | None],
        remotes: Iterable[Endpoint],
        *,
        now: float,
    ) -> None:
        self._tries += 1
        for local, remote in list(product(locals_, remotes))[:PAIRS_A_ROUND]:
            if local is None or local.host.version == remote.host.version:
                self._ask(Code.CHANGE, local, remote, new=local, now=now)

    def _hunt(self, *, now: float) -> None:
        """Try every own address with every address of the peer, and a handshake."""
        if not self._link.speaks_sacip:
            self._leave_plain_peer(sealable=self._link.can_seal(now=now), now=now)
            return
        self._change((s.endpoint for s in self._sources), self._link.destinations, now=now)
        self._link.start_handshake(now=now)
        self._link.emit(Hunting(self._link.key, self.number, self._tries))
        self._link.arm(Timer.NOTICE, now + doubled(FIRST_HUNT, self._tries - 1, SLOWEST_HUNT))

    def _settled(self, frame: Frame, local: Endpoint, *, now: float) -> None:
        path = self._link.path
        path.observed = frame.observed
        if path.local.active is None or path.local.active.host != local.host:
            path.local = path.local.moved_to(local)  # hunting found another pair that works
        self._enter(LocalTrigger.CHANGE_ACK)
        self._finish(now=now)

    def _leave_plain_peer(self, *, sealable: bool, now: float) -> None:
        if sealable:
            self._link.send_keepalive(now=now)
            self._words = 0
            self._link.arm(Timer.LAST_WORD, now + LAST_WORDS[0])
            if self._link.strayed:
                self._link.start_handshake(now=now, urgent=True)  # it answers nothing else
        self._enter(LocalTrigger.PLAIN_PEER)
        self._finish(now=now)

    def _last_word(self, *, now: float) -> None:
        self._link.send_keepalive(now=now)
        self._words += 1
        if self._words < len(LAST_WORDS):
            self._link.arm(Timer.LAST_WORD, now + LAST_WORDS[1] - LAST_WORDS[0])

    def _finish(self, *, now: float) -> None:
        self._link.disarm(Timer.NOTICE)
        self._tokens.clear()
        self.milliseconds = (now - self._started) * 1000
        path = self._link.path
        if path.local.active is not None:
            self._link.emit(
                Moved(
                    self._link.key,
                    Side.LOCAL,
                    self.number,
                    self._old,
                    path.local.active,
                    path.observed,
                    self._reason,
                    self._kind,
                    self.milliseconds,
                )
            )
        self._consider_standby(now=now)

    def _detach(self, reason: Reason) -> None:
        """No address at all: keys stay, inner packets wait."""
        if self.state is LocalState.DETACHED:
            return
        path = self._link.path
        self._old = path.local.active or self._old
        self._reason = reason
        self._enter(LocalTrigger.NO_ADDRESS)
        self._quiet()
        self._link.emit(Detached(self._link.key, self._old, reason))

    # Bookkeeping

    def _enter(self, trigger: LocalTrigger) -> None:
        self.state = following(LOCAL_TRANSITIONS, self.state, trigger)

    def _begin(self, reason: Reason | None, kind: Kind, *, now: float) -> None:
        self.number += 1
        self._reason, self._kind = reason, kind
        self._started = now

    def _quiet(self) -> None:
        for timer in (Timer.NOTICE, Timer.PROBE, Timer.LAST_WORD):
            self._link.disarm(timer)
        self._tokens.clear()
        self._probe_tokens.clear()
        self._wanted = None
        self._tries = 0

    def _ask(
        self,
        code: Code,
        local: Endpoint | None,
        remote: Endpoint | None,
        *,
        new: Endpoint | None,
        now: float,
    ) -> None:
        notice = Frame(code, number=self.number, old=self._old, new=new, reason=self._reason)
        self._tokens.append(self._link.ask(notice, local, remote, now=now))

    def _pause(self) -> float:
        """Time until the next copy: two early ones, then the doubling timeout."""
        if self._tries <= len(EARLY_COPIES):
            return EARLY_COPIES[self._tries - 1]
        rto = self._link.path.round_trips(2, MIN_RTO)
        return doubled(rto, self._tries - len(EARLY_COPIES) - 1, MAX_RTO)


def doubled(first: float, times: int, at_most: float) -> float:
    """Return a pause in seconds that was doubled so many times; any number of times is fine."""
    return min(first * 2.0 ** min(times, 32), at_most)
