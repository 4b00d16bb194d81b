"""Our own address moves: announce the new one, switch, and see that the peer knows.

1. Make before break: a second usable address appears while the first works. PREPARE goes over the
   old path, the peer writes its idle slot; a challenge over the new path proves that it carries.
2. When the active address goes, the pair is switched at once and CHANGE goes out from the new one.
3. Break before make is the same without PREPARE.
4. CHANGE is repeated until it is acknowledged; after three copies every pair of addresses is tried,
   the link and the relays too (hunting), for as long as it takes: notices.py.
5. An address that stays, but behind another gateway, after suspend or after its carrier was away,
   is told again as if it were new: there may be another NAT before it.
6. A path that died without a word is left (liveness.py), and gone back to when it has healed.
7. A plain WireGuard peer gets keepalives from the new address at 0, 50 and 200 ms, so that a late
   packet from the old path cannot have the last word.
"""

from collections.abc import Mapping
from typing import NamedTuple

from sacip_tun.protocol.address import Endpoint, Host
from sacip_tun.protocol.choice import Choice
from sacip_tun.protocol.events import Detached, Kind, Moved, Moving, Prepared, Side
from sacip_tun.protocol.facts import Source
from sacip_tun.protocol.frames import Code, Frame, Reason
from sacip_tun.protocol.healing import Healing
from sacip_tun.protocol.notices import Notices
from sacip_tun.protocol.sacip import (
    LOCAL_TRANSITIONS,
    LocalState,
    LocalTrigger,
    Mover,
    following,
)
from sacip_tun.protocol.timers import Timer

# PREPARE is given up after so many copies: the old path itself is dead then.
PREPARE_COPIES = 6
# CHANGE leads to hunting after so many.
CHANGE_COPIES = 3
# A standby that the peer did not acknowledge is announced again after so many seconds.
RETRY_STANDBY = 15.0
# Challenges over the standby path before it counts as not carrying.
PROBES = 5
# Keepalives to a plain peer after a move, in seconds from the move.
LAST_WORDS = (0.050, 0.200)
ACTIVE_STATES = frozenset({LocalState.CHANGING, LocalState.HUNTING})
STANDBY_STATES = frozenset({LocalState.PREPARING, LocalState.PREPARED})
# Why the old path carries nothing any more, announced successor or not. That it was silent has been
# found by an answer on the new one, which tells what is lacking.
BROKEN = frozenset({Reason.ADDRESS_REMOVED, Reason.CARRIER_LOST})


class Way(NamedTuple):
    """By which gateway packets go to a place; None on its own link."""

    to: Host
    gateway: Host | None

    def goes_elsewhere(self, other: "Way") -> bool:
        """Tell whether this is another way to the same place."""
        return self.to == other.to and self.gateway != other.gateway


class LocalMove:
    """The state of our address towards one peer, and what each change of it makes us send."""

    __slots__ = (
        "_healing",
        "_kind",
        "_link",
        "_probe_tokens",
        "_sources",
        "_started",
        "_stranded",
        "_wanted",
        "_way",
        "_words",
        "choice",
        "milliseconds",
        "notices",
        "state",
    )

    def __init__(self, link: Mover) -> None:
        self._link = link
        self.state = LocalState.SETTLED
        self.choice = Choice()
        self._sources: tuple[Source, ...] = ()
        # The next hop behind the active address when it was last told, and whether there is a way.
        # How the address in use was known to lead to the peer; None where it is not known yet.
        self._way: Way | None = None
        self._stranded = False
        self._healing = Healing(link, self.choice)
        self.notices = Notices(link, self.choice)
        self._kind = Kind.BREAK_BEFORE_MAKE
        self._started = 0.0
        self._probe_tokens: tuple[int, ...] = ()
        self._wanted: Reason | None = None
        self._words = 0
        self.milliseconds: float | None = None

    @property
    def detached(self) -> bool:
        """Whether no local address leads to the peer."""
        return self.state is LocalState.DETACHED

    @property
    def moving(self) -> bool:
        """Whether a CHANGE of ours waits for its acknowledgement."""
        return self.state in ACTIVE_STATES

    @property
    def hunting(self) -> bool:
        """Whether no copy of CHANGE was acknowledged, and everything is tried."""
        return self.state is LocalState.HUNTING

    @property
    def lost(self) -> bool:
        """Whether there is no address of ours that the peer is known to hear."""
        return self.state is LocalState.DETACHED or self.state is LocalState.HUNTING

    @property
    def candidates(self) -> tuple[Endpoint, ...]:
        """Where else the peer may find us: usable addresses, but the one in use."""
        return self.notices.candidates

    @property
    def network(self) -> tuple[Host, Host | None] | None:
        """The address in use and the gateway behind which it is, None where there is none."""
        active = self._link.path.local.active
        source = self.choice.of(active)
        return None if active is None else (active.host, source.gateway if source else None)

    def rebound(self, *, now: float) -> None:
        """Tell the peer that a NAT moved us: our address is the same, its packets are lost."""
        active = self._link.path.local.active
        if active is not None and self.state not in {*ACTIVE_STATES, LocalState.DETACHED}:
            self._switch(active, Reason.NAT_REBOUND, now=now)

    def reconsider(self, *, now: float) -> None:
        """Announce the standby that was there before the peer, or its addresses, were known."""
        self.choice.sources = sources = self._leading_to_the_peer()
        if self.detached and sources:
            self._switch(self._successor(), self.notices.reason or Reason.ROUTE_CHANGED, now=now)
        elif self.state is LocalState.SETTLED:
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
        self.choice.sources = sources = self._leading_to_the_peer()
        self.choice.suspects.forget(present)
        self._healing.look(now=now)
        active = self._link.path.local.active
        reason = reasons.get(active.host, Reason.ADDRESS_REMOVED) if active else None
        if self.detached and sources:
            self._switch(self._successor(), self.notices.reason or Reason.ADDRESS_REMOVED, now=now)
        elif self.choice.of(active) is not None:
            self._stay(now=now)
        elif active is None:
            self._start_at(sources, now=now)
        elif sources:
            self._switch(self._successor(), reason or Reason.ADDRESS_REMOVED, now=now)
        elif active.host not in present or reason is Reason.CARRIER_LOST:
            self._detach(reason or Reason.ADDRESS_REMOVED)
        else:
            self._stranded = True  # no way out, but packets may still arrive at this address

    def resumed(self, *, now: float) -> None:
        """Tell the address again after suspend: whatever stood between may have forgotten us."""
        if self._link.engaged and self.state is not LocalState.CHANGING:
            self._tell_again(Reason.RESUMED, now=now)

    def path_died(self, new: Endpoint, *, now: float) -> None:
        """Go over to `new`, which answered while the path in use was silent."""
        active = self._link.path.local.active
        self._healing.died(active.host if active is not None else None, now=now)
        if self.state is not LocalState.DETACHED:
            self._switch(new, Reason.PATH_SILENT, now=now)

    def found(self, *, now: float) -> None:
        """The peer is somewhere that was not thought of: say CHANGE there at once."""
        if self.state is LocalState.HUNTING:
            self._hunt(now=now)
        elif self.state is LocalState.CHANGING:
            self._tell(now=now)

    def contacted_at(self, local: Endpoint, *, moved: bool = False, now: float) -> None:
        """Answer from the address that the peer used, unless we are the one who left it.

        `moved` tells that the peer moved to another of our addresses: there it must be answered
        where that has another family, whatever we are doing ourselves.
        """
        pair = self._link.path.local
        if self.state is LocalState.DETACHED:
            self._attach(local, now=now)
            return
        same = pair.active is not None and pair.active.host == local.host
        if same or local.host.is_multicast or local.host.is_unspecified:
            return
        known = any(slot is not None and slot.host == local.host for slot in pair.slots)
        settled = self.state is LocalState.SETTLED and (self.notices.number == 0 or not known)
        if settled or (moved and not self._link.path.matched):
            source = self.choice.of(local)
            self._way = self._way_by(source)
            self._link.path.local = pair.moved_to(source.endpoint if source else local)
            self.choice.pinned = local.host

    def _attach(self, local: Endpoint, *, now: float) -> None:
        """The peer reached us in a family in which we did not know any address of it."""
        for source in self._sources:
            if source.endpoint.host == local.host:
                self._switch(source.endpoint, self.notices.reason or Reason.ROUTE_CHANGED, now=now)
                return

    def request(self, new: Endpoint, *, now: float) -> bool:
        """Begin a planned move to `new`, announced while the old address still works.

        Returns False where another move is under way.
        """
        if (self.state, LocalTrigger.STANDBY) not in LOCAL_TRANSITIONS:
            return False
        self.choice.pinned = new.host
        self._prepare(new, Reason.REQUESTED, now=now)
        return True

    def cancel(self) -> None:
        """Take a planned move back: the peer keeps the address in its idle slot, unused."""
        self.choice.pinned = None
        self._drop_standby()

    def acknowledged(self, frame: Frame, local: Endpoint, source: Endpoint, *, now: float) -> bool:
        """Take PREPARE_ACK or CHANGE_ACK of the current move; True where that settles it."""
        if not self.notices.answers(frame.token):
            return False
        if frame.code == Code.PREPARE_ACK and self.state is LocalState.PREPARING:
            self._prepared(now=now)
        elif frame.code == Code.CHANGE_ACK and self.state in ACTIVE_STATES:
            self._settled(frame, local, source, now=now)
            return True
        return False

    def proven(self, frame: Frame, *, now: float) -> None:
        """Take PATH_RESPONSE: the standby path carries, or one that had died does again."""
        if self._healing.answered(frame.token, now=now) and not self.detached:
            self._consider_standby(now=now)
        if frame.token not in self._probe_tokens:
            return
        self._probe_tokens = ()
        self._link.disarm(Timer.PROBE)
        standby = self._link.path.local.idle
        if self._wanted is not None and self.state is LocalState.PREPARED and standby is not None:
            self._switch(standby, self._wanted, now=now)

    def session_ready(self, *, now: float) -> None:
        """Say under the new session what the old one could not carry any more."""
        if self.state in ACTIVE_STATES:
            self._notify_switched(now=now)

    def handle_timer(self, timer: Timer, *, now: float) -> None:
        """React to NOTICE, PROBE, HEAL and LAST_WORD."""
        if timer is Timer.HEAL:
            self._healing.ask(now=now)
        elif timer is Timer.PROBE:
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

    def _leading_to_the_peer(self) -> tuple[Source, ...]:
        """Leave out a family in which no address of the peer is known."""
        reach = self._link.where.destinations_for
        return tuple(source for source in self._sources if reach(source.endpoint))

    def _start_at(self, sources: tuple[Source, ...], *, now: float) -> None:
        """Take the first address: the peer has not heard of any, so this is no move."""
        if sources:
            self._link.path.local = self._link.path.local.of(sources[0].endpoint)
            self._way = self._way_by(sources[0])
            self._link.path_appeared(now=now)

    def _stay(self, *, now: float) -> None:
        """The active address is usable still: see what is new about it, and what beside it."""
        pair = self._link.path.local
        source = self.choice.of(pair.active)
        if source is None or pair.active is None:
            return
        if source.endpoint != pair.active:  # another outgoing interface; that is no move
            self._link.path.local = pair.replaced(source.endpoint)
        if source.endpoint.port != pair.active.port and self._link.engaged:
            self._tell_again(Reason.NAT_REBOUND, now=now)  # as if a NAT had done it
        way = self._way_by(source)
        # Another gateway to the same place; to where the peer has moved it may well be another one.
        other_way = self._way is not None and way is not None and way.goes_elsewhere(self._way)
        if (other_way or self._stranded) and self._link.engaged:
            self._tell_again(Reason.ROUTE_CHANGED, now=now)
        self._way, self._stranded = way, False
        self._consider_standby(now=now)

    def _way_by(self, source: Source | None) -> "Way | None":
        remote = self._link.path.remote.active
        return Way(remote.host, source.gateway) if source is not None and remote else None

    def _consider_standby(self, *, now: float) -> None:
        """Keep the best other address announced, and go there where it is better."""
        mine = self.choice.of(self._link.path.local.active)
        best = self.choice.best_beside(mine) if mine is not None else None
        if mine is None or best is None:
            self._drop_standby()
        else:
            self._prepare(best.endpoint, self.choice.preference(mine, best), now=now)

    def _successor(self) -> Endpoint:
        """The announced standby where it is still usable, else the best there is."""
        standby = self._link.path.local.idle
        announced = self.choice.of(standby) if self.state in STANDBY_STATES else None
        return (announced or self.choice.best()).endpoint

    def _drop_standby(self) -> None:
        if self.state in STANDBY_STATES:
            self._enter(LocalTrigger.STANDBY_LOST)
            self._quiet()
            self._link.path.local = self._link.path.local.forgotten()

    # Make before break

    def _prepare(self, standby: Endpoint, wanted: Reason | None, *, now: float) -> None:
        """Announce `standby`; `wanted` is the reason to switch to it once it is proven."""
        path = self._link.path
        if same_host(standby, path.local.active):
            return
        if not self._link.speaks_sacip or not self._link.can_seal(now=now):
            if wanted is not None:
                self._switch(standby, wanted, now=now)
            return
        if self.state in STANDBY_STATES and same_host(path.local.idle, standby):
            path.local = path.local.added(standby)  # by another interface, perhaps
            self._want(wanted, now=now)
            return
        if (self.state, LocalTrigger.STANDBY) not in LOCAL_TRANSITIONS:
            return  # a move is under way; the facts are looked at again when it has settled
        if wanted is None and same_host(path.local.idle, standby):
            return  # the slot that a move left behind: the peer has it already
        self._enter(LocalTrigger.STANDBY)
        self._quiet()
        self._begin(wanted, Kind.MAKE_BEFORE_BREAK, now=now)
        self._wanted = wanted
        path.local = path.local.added(standby)
        self.notices.old = path.local.active
        self._announce(now=now)

    def _want(self, wanted: Reason | None, *, now: float) -> None:
        """Switch to the announced standby after all, once it has answered a new challenge."""
        self._wanted = self._wanted or wanted
        if wanted is not None and self.state is LocalState.PREPARED:
            self.notices.copies = 0
            self._probe(now=now)

    def _announce(self, *, now: float) -> None:
        if self.notices.copies == PREPARE_COPIES:
            self._give_up_announcing(now=now)
        else:
            self.notices.prepare(self._link.path.local.idle, now=now)

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
            announced = (
                Side.LOCAL,
                self.notices.number,
                pair.active,
                pair.idle,
                self._wanted,
                elapsed,
            )
            self._link.emit(Prepared(self._link.key, *announced))
        self.notices.copies = 0
        self._probe(now=now)

    def _probe(self, *, now: float) -> None:
        """Challenge over the standby path; PREPARED is a state in which it may stay unproven."""
        path = self._link.path
        if self.state is not LocalState.PREPARED or self.notices.copies == PROBES:
            return
        self.notices.copies += 1
        standby = path.local.idle
        question = Frame(Code.PATH_CHALLENGE, number=self.notices.number, new=standby)
        for remote in self._link.where.destinations_for(standby)[:1]:
            token = self._link.speech.ask(question, standby, remote, now=now)
            self._probe_tokens = (*self._probe_tokens, token)[-PROBES:]
        self._link.arm(Timer.PROBE, now + self.notices.pause)

    # The switch

    def _switch(self, new: Endpoint, reason: Reason, *, now: float) -> None:
        path = self._link.path
        if path.local.active is not None:
            self.notices.old = path.local.active
        announced = self.state in STANDBY_STATES and same_host(path.local.idle, new)
        if announced:
            self.notices.reason, self._started = reason, now
        self._enter(LocalTrigger.SWITCH)
        self._quiet()
        if not announced:
            self._begin(reason, Kind.BREAK_BEFORE_MAKE, now=now)
        path.local = path.local.moved_to(new)
        self._way, self._stranded = self._way_by(self.choice.of(new)), False
        moving = Moving(
            self._link.key, self.notices.number, self.notices.old, new, reason, self._kind
        )
        self._link.emit(moving)
        self._notify_switched(now=now)

    def _notify_switched(self, *, now: float) -> None:
        sealable = self._link.can_seal(now=now)
        if not sealable and self._link.engaged:
            self._link.start_handshake(now=now, urgent=True)
        if not self._link.speaks_sacip:
            self._leave_plain_peer(sealable=sealable, now=now)
        elif sealable:
            self.notices.copies = 0
            self._tell(now=now)
            if self._breaks:
                self._link.resend_unheard(now=now)

    @property
    def _breaks(self) -> bool:
        """Whether nobody knows yet what the old path has lost."""
        reason = self.notices.reason
        unannounced = self._kind is Kind.BREAK_BEFORE_MAKE and reason is not Reason.PATH_SILENT
        return unannounced or reason in BROKEN

    def _tell_again(self, reason: Reason, *, now: float) -> None:
        """Announce the active address as if it were new."""
        active = self._link.path.local.active
        if active is not None and (self.state, LocalTrigger.SWITCH) in LOCAL_TRANSITIONS:
            self._switch(active, reason, now=now)

    def _tell(self, *, now: float) -> None:
        """Send a copy of CHANGE to every place where the peer may be."""
        if self.notices.copies == CHANGE_COPIES and self.state is LocalState.CHANGING:
            self._enter(LocalTrigger.NO_ANSWER)
            self.notices.copies = 0
            self._hunt(now=now)
            return
        neighbour = self._way is not None and self._way.gateway is None
        self.notices.change(neighbour=neighbour, now=now)

    def _hunt(self, *, now: float) -> None:
        if self._link.speaks_sacip:
            self.notices.hunt(now=now)
        else:
            self._leave_plain_peer(sealable=self._link.can_seal(now=now), now=now)

    def _settled(self, frame: Frame, local: Endpoint, source: Endpoint, *, now: float) -> None:
        path = self._link.path
        path.observed = frame.observed
        other_family = path.remote.active is None or (
            path.remote.active.host.version != source.host.version
        )
        if path.local.active is None or path.local.active.host != local.host:
            path.local = path.local.moved_to(local)  # hunting found another pair that works
        # CHANGE went to every place where the peer may be: the one that answered is right.
        known = source in self._link.where.destinations_for(local)
        lost = self.state is LocalState.HUNTING or other_family
        if known or (lost and not self._link.strict):
            self._link.peer_found(source)
        self._enter(LocalTrigger.CHANGE_ACK)
        self._finish(now=now)

    def _leave_plain_peer(self, *, sealable: bool, now: float) -> None:
        if sealable:
            self._link.speech.keepalive(now=now)
            self._words = 0
            self._link.arm(Timer.LAST_WORD, now + LAST_WORDS[0])
            if self._link.strayed:
                self._link.start_handshake(now=now, urgent=True)  # it answers nothing else
        self._enter(LocalTrigger.PLAIN_PEER)
        self._finish(now=now)
        if sealable:
            self._link.carries((), before=now, now=now)  # nobody will say so

    def _last_word(self, *, now: float) -> None:
        self._link.speech.keepalive(now=now)
        self._words += 1
        if self._words < len(LAST_WORDS):
            self._link.arm(Timer.LAST_WORD, now + LAST_WORDS[1] - LAST_WORDS[0])

    def _finish(self, *, now: float) -> None:
        self._link.disarm(Timer.NOTICE)
        self.notices.close()
        self.milliseconds = (now - self._started) * 1000
        path = self._link.path
        if path.local.active is not None:
            self._link.emit(
                Moved(
                    self._link.key,
                    Side.LOCAL,
                    self.notices.number,
                    self.notices.old,
                    path.local.active,
                    path.observed,
                    self.notices.reason,
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
        self.notices.old = path.local.active or self.notices.old
        self.notices.reason = reason
        self._enter(LocalTrigger.NO_ADDRESS)
        self._quiet()
        self._link.emit(Detached(self._link.key, self.notices.old, reason))

    # Bookkeeping

    def _enter(self, trigger: LocalTrigger) -> None:
        self.state = following(LOCAL_TRANSITIONS, self.state, trigger)

    def _begin(self, reason: Reason | None, kind: Kind, *, now: float) -> None:
        self.notices.begin(reason)
        self._kind = kind
        self._started = now

    def _quiet(self) -> None:
        for timer in (Timer.NOTICE, Timer.PROBE, Timer.LAST_WORD):
            self._link.disarm(timer)
        self.notices.close()
        self._probe_tokens = ()
        self._wanted = None
        self.notices.copies = 0


def same_host(one: Endpoint | None, other: Endpoint | None) -> bool:
    """Tell whether two endpoints are one address, by whichever interface."""
    return one is not None and other is not None and one.host == other.host
