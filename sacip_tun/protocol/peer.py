"""One peer: what belongs together for it, from its handshake to what waits for its path.

WireGuard's sessions (paper 5) are here, its timers (paper 6) in traffic.py; the address exchange on
top of them is exchange.py.
"""

from collections.abc import Callable, Iterator, Mapping
from operator import attrgetter
from typing import Protocol

from sacip_tun.protocol import limits
from sacip_tun.protocol.address import AddressPair, Endpoint, Host
from sacip_tun.protocol.context import Context, Datagram
from sacip_tun.protocol.cookie import CookieJar
from sacip_tun.protocol.delivery import Delivery
from sacip_tun.protocol.errors import Drop
from sacip_tun.protocol.events import Event, HandshakeCompleted
from sacip_tun.protocol.exchange import Exchange
from sacip_tun.protocol.frames import Code, Frame
from sacip_tun.protocol.grant import Grant
from sacip_tun.protocol.hold import UNTAGGED, Tag, Waiting
from sacip_tun.protocol.initiator import Initiator
from sacip_tun.protocol.liveness import Liveness
from sacip_tun.protocol.messages import DATA_HEADER, PADDING, TAG
from sacip_tun.protocol.path import INITIAL_RTT, Path
from sacip_tun.protocol.pmtu import PathMtuSearch
from sacip_tun.protocol.received import Received
from sacip_tun.protocol.ring import Run
from sacip_tun.protocol.session import Keypairs, Session
from sacip_tun.protocol.settings import PeerSettings
from sacip_tun.protocol.sightings import Sightings
from sacip_tun.protocol.speech import Speech
from sacip_tun.protocol.timers import Timer
from sacip_tun.protocol.traffic import Traffic
from sacip_tun.protocol.whereabouts import Whereabouts

# Bytes that sealing adds to a packet at most: header, tag and padding (WireGuard 5.4.6).
SEALING = DATA_HEADER + TAG + PADDING - 1


class Duty(Protocol):
    """What is done when a timer has expired."""

    def __call__(self, *, now: float) -> None:
        """Do it."""


# Who does what when a timer has expired.
DUTIES: Mapping[Timer, Callable[["Peer"], Duty]] = {
    Timer.RETRY_HANDSHAKE: attrgetter("initiator.retry"),
    Timer.NEW_HANDSHAKE: attrgetter("start_handshake"),
    Timer.PASSIVE_KEEPALIVE: attrgetter("traffic.keep_passively"),
    Timer.PERSISTENT_KEEPALIVE: attrgetter("traffic.keep_persistently"),
    Timer.LIVENESS: attrgetter("_ask_for_life"),
    Timer.STREAM_BREAK: attrgetter("liveness.stream_broke"),
    Timer.NAT_KEEPALIVE: attrgetter("_keep_nat_open"),
    Timer.PMTU: attrgetter("path_mtu.handle_timer"),
}


class Peer:
    """Everything that is known of one peer. Made and driven by the Tunnel."""

    __slots__ = (
        "_context",
        "_delivery",
        "cookies",
        "exchange",
        "greatest_timestamp",
        "initiator",
        "keypairs",
        "last_handshake",
        "liveness",
        "once_spoke_sacip",
        "path",
        "path_mtu",
        "settings",
        "sightings",
        "speaks_sacip",
        "speech",
        "traffic",
        "where",
    )

    def __init__(self, settings: PeerSettings, context: Context) -> None:
        self.settings = settings
        self.path = Path(settings.endpoint)
        self.cookies = CookieJar(settings.public_key)
        self.keypairs = Keypairs()
        self.exchange = Exchange(
            self,
            strict=settings.strict_nat,
            automatic_keepalive=settings.keepalive is None,
        )
        choice = self.exchange.local_move.choice
        self.where = Whereabouts(
            self.path, self.exchange, choice, context.hygiene, settings.endpoint
        )
        self.sightings = Sightings(self, context)
        self.speech = Speech(self, context)
        self.traffic = Traffic(self, context)
        self.liveness = Liveness(self)
        self._delivery: Delivery | None = None
        self.path_mtu = PathMtuSearch(self)
        self.initiator = Initiator(self, context, marked=settings.sacip)
        self.speaks_sacip = False
        self.once_spoke_sacip = False
        self.last_handshake: float | None = None
        self.greatest_timestamp = bytes(12)
        self._context = context

    @property
    def key(self) -> bytes:
        """The peer's public key."""
        return self.settings.public_key

    @property
    def engaged(self) -> bool:
        """Whether there is a session, or a handshake under way."""
        return self.keypairs.current is not None or self.initiator.under_way

    @property
    def strict(self) -> bool:
        """Whether the peer is only where it says that it is."""
        return self.settings.strict_nat

    @property
    def must_speak_sacip(self) -> bool:
        """Whether a handshake without the SACIP mark would be a downgrade."""
        return self.settings.strict_nat and self.once_spoke_sacip

    @property
    def own_candidates(self) -> tuple[Host, ...]:
        """The addresses of this host at which any peer may find it, best first."""
        return self._context.candidates

    @property
    def connecting(self) -> bool:
        """Whether a handshake is under way."""
        return self.initiator.under_way

    @property
    def round_trip(self) -> float:
        """The round trip time of the path in use, in seconds."""
        return INITIAL_RTT if self.path.rtt is None else self.path.rtt

    @property
    def held(self) -> int:
        """How many inner packets wait; a super-packet counts as one."""
        return 0 if self._delivery is None else len(self._delivery.hold)

    @property
    def waits(self) -> bool:
        """Whether anything for the peer goes before a new inner packet."""
        return self._delivery is not None and self._delivery.waiting

    @property
    def delivery(self) -> Delivery:
        """What waits for the peer, and what may be sent it again; made when there is any."""
        if self._delivery is None:
            self._delivery = Delivery(self, self.settings.hold_bytes, self.settings.ring_bytes)
        return self._delivery

    @property
    def forlorn(self) -> bool:
        """Whether nobody can say when the peer will be there: who sends to it had better know.

        There is no session, and nowhere to ask for one, or nobody has answered for some tries.
        """
        if self.keypairs.current is not None or self.detached:
            return False
        return not self.reachable or self.initiator.forlorn

    @property
    def degraded(self) -> bool:
        """Whether the path in use seems dead: challenges or a handshake go unanswered."""
        knocking = self.initiator.unanswered and self.keypairs.current is not None
        return self.liveness.doubting or knocking

    @property
    def own_network(self) -> tuple[Host, Host | None] | None:
        """Our address in use and the gateway behind which it is, None where there is none."""
        return self.exchange.local_move.network

    @property
    def strayed(self) -> bool:
        """Whether the peer is addressed elsewhere than the user said."""
        places = self.where.configured
        return bool(places) and self.path.remote.active not in places

    @property
    def reachable(self) -> bool:
        """Whether there is, or may soon be, an endpoint: a name counts until it is resolved."""
        return self.path.remote.active is not None or self.settings.named

    def resolved(self, endpoints: tuple[Endpoint, ...], *, now: float) -> None:
        """Take the addresses that the configured name has now, best first.

        They are where to begin, and candidates while hunting; they never override an address at
        which the peer was heard, or was when its session was lost.
        """
        news = set(endpoints) - set(self.where.configured)
        begun = self.path.remote.active in {None, *self.where.configured}
        self.where.configured = endpoints
        if begun and self.last_handshake is None:
            self.path.remote = self.path.remote.of(endpoints[0])
        if self.detached:
            self.exchange.local_move.reconsider(now=now)  # it may be of a family that we have
        # The same address again is no reason: an answer may be on its way to the initiation that is
        # under way, and a peer that is gone must be given up some time.
        if news and not self.can_seal(now=now):
            self.start_handshake(now=now, urgent=True)
        elif news:
            self.seek(now=now)

    def remembered(self, remote: Endpoint, *, now: float) -> None:
        """Begin where the peer was in a session that is lost: call it, unless its name is awaited.

        When that is resolved, one and the same call goes to both.
        """
        if self.last_handshake is None and self.where.may_be_at(remote):
            self.path.remote = self.path.remote.of(remote)
            if not self.settings.named:
                self.start_handshake(now=now, urgent=True)

    # Sending inner packets

    def grant(self, count: int, length: int, *, now: float) -> Grant | None:
        """Reserve `count` counters for a super-packet of `length` bytes; None: it must wait."""
        session, remote = self.keypairs.current, self.path.remote.active
        if session is None or remote is None or not session.may_send(count, now=now):
            return None
        sealed = length + count * SEALING
        if self.must_wait or not self.path.may_carry(sealed):
            return None
        return Grant(session, session.reserve(count), self.path.local.active, remote)

    def stage(self, packet: bytes, tag: Tag = UNTAGGED, *, first: bool = False, now: float) -> None:
        """Keep an inner packet until it can be sent, and see to it that it can.

        `first` puts one back that had waited and was refused.
        """
        self.delivery.keep(packet, tag, first=first, why=self.held_for, now=now)
        if not self.can_seal(now=now) and self.reachable:
            self.start_handshake(now=now)
        if self.liveness.silent and not self.is_set(Timer.LIVENESS):
            self.liveness.ask(now=now)

    def take_held(self, *, now: float) -> Iterator[Waiting]:
        """Yield the held packets that may go now; none where the path does not carry."""
        return self.delivery.take(now=now) if self.can_send(now=now) else iter(())

    def sent(self, data: memoryview, size: int, session: Session, *, now: float) -> None:
        """Inner packets went out under `session`, in datagrams of `size` bytes but the last.

        All that is to be noted of them is noted here, when they are under way already.
        """
        self.traffic.data_sent(len(data), now=now)
        if self.speaks_sacip:
            self.delivery.sent(data, size, now=now)
        self.traffic.keep_fresh(session, now=now)

    def can_send(self, *, now: float) -> bool:
        """Tell whether inner packets need not wait."""
        return self.can_seal(now=now) and not self.must_wait

    @property
    def held_for(self) -> str | None:
        """What inner packets are held for, beside a session; None where they are not."""
        return next(self._obstacles(), None)

    @property
    def must_wait(self) -> bool:
        """Whether `held_for` says anything: asked for each load, and answered without words."""
        path = self.path
        return (
            not path.matched  # nor is it without an endpoint
            or path.exhausted
            or self.liveness.silent
            or self.exchange.local_move.lost
        )

    def _obstacles(self) -> Iterator[str]:
        if self.detached:
            yield "no address of this host leads to the peer"
        if not self.reachable:
            yield "the peer has no endpoint, and has not called yet"
        if self.liveness.silent:
            yield "the path does not answer"
        if self.exchange.local_move.hunting:
            yield "the peer has not acknowledged the new address"
        if not self.path.matched:
            yield "no address of the peer is proven in this family"
        if self.path.exhausted:
            yield "the peer's new address is not proven yet"

    @property
    def detached(self) -> bool:
        """Whether no local address leads to the peer."""
        return self.exchange.local_move.detached

    # After a move or a silence

    def carries(self, received: tuple[Received, ...], *, before: float, now: float) -> None:
        """A path carries: send what was lost before `before`, then what waits."""
        if self.can_send(now=now):
            resent = self.delivery.resend(received, before=before, now=now)
            self.delivery.carries(resent, now=now)

    def resend_unheard(self, *, now: float) -> None:
        """Send again what went out since the peer was last heard: it may be lost."""
        if self.path.matched:
            self.delivery.resend_unheard(self.traffic.last_heard - self.round_trip, now=now)

    def send_again(self, run: Run, *, now: float) -> bool:
        """Send sealed datagrams over the path in use; False where it does not carry them."""
        remote, length = self.path.remote.active, len(run.data)
        if remote is None or not self.path.matched or not self.path.may_carry(length):
            return False
        again = Datagram(run.data, self.path.local.active, remote, run.size)
        self._context.outbox.append(again)
        self.traffic.sent(length, now=now)
        return True

    def alive(self, *, now: float) -> None:
        """The peer was heard over a path that carries."""
        was_silent = self.liveness.silent
        self.liveness.heard()
        if was_silent:
            self.carries((), before=now, now=now)

    def heard_at(self, local: Endpoint, *, now: float) -> None:
        """Data or a keepalive came to `local`: that is no life on another path.

        A peer that uses another address of ours than the one in use may hear nothing over that.
        """
        if not self.speaks_sacip or local.host == self.path.own_host(local):
            self.alive(now=now)
        elif not self.exchange.local_move.moving:
            self.liveness.doubt(now=now)

    def take_path(self, local: Endpoint | None, remote: Endpoint, *, now: float) -> None:
        """Go over to a pair that answered while the one in use is silent."""
        active = self.path.local.active
        self.peer_found(remote)
        if local is not None and active is not None and local.host != active.host:
            self.exchange.local_move.path_died(local, now=now)

    def peer_found(self, remote: Endpoint) -> None:
        """Go over to an address of the peer that has just answered."""
        self.exchange.remote_move.found(remote)

    def rebound(self, *, now: float) -> None:
        """Tell the peer that a NAT moved us: our address is the same, its packets are lost."""
        self.exchange.local_move.rebound(now=now)

    def wanted(self, *, now: float) -> bool:
        """Tell whether anybody waits for the path to carry."""
        if self._delivery is not None:
            self._delivery.expire(now=now)
        return self.held > 0

    def seek(self, *, now: float) -> None:
        """Somebody knows where the peer may be: ask there, if it is not where it was."""
        if self.exchange.local_move.moving:
            self.exchange.local_move.found(now=now)
        elif self.liveness.doubting:
            self.liveness.ask(now=now)

    def relay(self, frame: Frame, source: Endpoint, *, now: float) -> None:
        """Take RELAY or RELAYED. Raises RemoteError where that is not permitted."""
        if frame.code == Code.RELAY:
            self._context.relay.pass_on(self.key, frame, source, now=now)
        else:
            self._context.relay.hand_over(self.key, frame, now=now)

    # Sessions

    def can_seal(self, *, now: float) -> bool:
        """Tell whether a session exists under which something can be sent."""
        session = self.keypairs.current
        return session is not None and session.may_send(now=now)

    @property
    def heard_in_session(self) -> bool:
        """Whether anything came in the current session."""
        session = self.keypairs.current
        return session is not None and session.window.highest >= 0

    def received(self) -> tuple[Received, ...]:
        """Return which messages arrived in the current session and the one before it."""
        pairs = (self.keypairs.current, self.keypairs.previous)
        return tuple(Received.of(s.local_index, s.window) for s in pairs if s is not None)

    def adopt(self, session: Session, *, now: float) -> None:
        """Rotate a newly agreed session in, and retire those that it pushes out."""
        self.arm(Timer.ERASE_KEYS, now + limits.ERASE_KEYS_AFTER_TIME)
        self._context.adopt(session)
        for old in self.keypairs.begin_session(session):
            self._context.retire(old)

    def confirm(self, session: Session) -> bool:
        """Take a session that the initiator used for the first time; True where that was news."""
        if session is not self.keypairs.next:
            return False
        for old in self.keypairs.received_with(session):
            self._context.retire(old)
        return True

    def session_ready(self, session: Session, *, marked: bool, now: float) -> None:
        """The current session can carry data: say so, and let what waited go."""
        self.initiator.end()
        self.traffic.session_began()
        self.last_handshake = now
        if session.initiator and self.initiator.attempted is not None:
            self.path.sampled(now - self.initiator.attempted)
        remote = self.path.remote.active
        self.emit(HandshakeCompleted(self.key, session.initiator, remote))
        if session.initiator and not (self.held and self.can_send(now=now)):
            self.speech.keepalive(now=now)  # confirms the session to the responder
        self.alive(now=now)
        self.carries((), before=now, now=now)
        if self.settings.sacip:
            self.exchange.session_ready(initiator=session.initiator, marked=marked, now=now)

    # Handshakes

    def start_handshake(self, *, now: float, urgent: bool = False) -> None:
        """Send an initiation unless one is under way or 5 s have not passed since the last."""
        self.initiator.start(now=now, urgent=urgent)

    def path_appeared(self, *, now: float) -> None:
        """The first address of ours that leads to the peer is there."""
        self.initiator.path_appeared(now=now)

    def send_handshake(
        self, data: bytes, local: Endpoint | None, remote: Endpoint, *, now: float
    ) -> None:
        """Send an initiation or a response."""
        self._context.outbox.append(Datagram(data, local, remote))
        self.traffic.sent(len(data), now=now)

    def give_up(self, *, now: float) -> int:
        """Drop what waits for a session; returns how many packets that were."""
        if not self.is_set(Timer.ERASE_KEYS):
            self.arm(Timer.ERASE_KEYS, now + limits.ERASE_KEYS_AFTER_TIME)
        return self.delivery.give_up()

    # Messages without inner packets

    def sealed(self, length: int, session: Session, *, now: float) -> None:
        """A message of `length` bytes goes out under `session`."""
        self.traffic.sent(length, now=now)
        self.traffic.keep_fresh(session, now=now)

    def recent_bytes(self, *, now: float) -> int:
        """Return how many authenticated bytes the peer sent in the last two seconds, once each."""
        return self.traffic.recent_bytes(now=now)

    def answered(self, token: int, *, now: float) -> float | None:
        """Close an open question of ours, and return when it was asked; None if it is none."""
        asked = self.speech.asked(token, now=now)
        if asked is not None:
            self.path.sampled(now - asked)
            self.path_mtu.answered(token, now=now)
        return asked

    # Timers and events

    def handle_timer(self, timer: Timer, *, now: float) -> None:
        """Do what an expired timer is for."""
        duty_of = DUTIES.get(timer)
        if duty_of is not None:
            duty: Duty = duty_of(self)
            duty(now=now)
        elif timer is Timer.ERASE_KEYS:
            self._erase_sessions()
        elif timer in {Timer.RELEASE, Timer.RING}:
            if self._delivery is not None:
                self._delivery.handle_timer(timer, now=now)
        else:
            self.exchange.handle_timer(timer, now=now)

    def _keep_nat_open(self, *, now: float) -> None:
        if not self.detached:
            self.exchange.nat_keepalive.handle_timer(now=now)
            self.traffic.outlive_silence(now=now)

    def _ask_for_life(self, *, now: float) -> None:
        if not self.exchange.local_move.moving and not self.detached:
            self.liveness.ask(now=now)  # a move asks everywhere itself

    def adjusted(self, settings: PeerSettings, *, now: float) -> None:
        """Take other settings; a preshared key counts from the next handshake on."""
        self.settings = settings
        self.exchange.nat_keepalive.set_automatic(automatic=settings.keepalive is None)
        self.traffic.keepalive_adjusted(now=now)

    def placed(self, endpoint: Endpoint, *, now: float) -> None:
        """The user says where the peer is, now: that overrides where it was heard, and from where.

        Whoever leads to it is chosen anew, and a peer that has nothing to say is not woken.
        """
        self.where.configured = (endpoint,)
        self.exchange.remote_move.followed(endpoint)
        self.exchange.local_move.choice.pinned = None
        if not self.speaks_sacip:
            self.path.local = AddressPair()
        if self.traffic.awaits_answer or self.connecting:
            self.start_handshake(now=now, urgent=True)

    def expire(self) -> None:
        """Send under the sessions that there are no more, and let a handshake begin at once.

        What comes under them is still opened: it was sent before the other end knew.
        """
        self.initiator.forget()
        self.keypairs.expire()

    def erase(self) -> None:
        """Forget every key and handshake of this peer."""
        self.initiator.abandon()
        self._erase_sessions()

    def _erase_sessions(self) -> None:
        """Forget every key; a handshake under way is young, though its host may have slept."""
        if not self.initiator.under_way:
            self.initiator.abandon()
        if self._delivery is not None:
            self._delivery.clear()
            self._delivery = None if self._delivery.idle else self._delivery
        self.liveness.heard()
        self.traffic.forget()
        for session in self.keypairs.erase():
            self._context.retire(session)

    def emit(self, event: Event) -> None:
        """Queue an event."""
        self._context.events.append(event)

    def arm(self, timer: Timer, deadline: float) -> None:
        """Set a timer of this peer."""
        self._context.timers.set(self.settings.public_key, timer, deadline)

    def disarm(self, timer: Timer) -> None:
        """Stop a timer of this peer."""
        self._context.timers.stop(self.settings.public_key, timer)

    def is_set(self, timer: Timer) -> bool:
        """Tell whether a timer of this peer is armed."""
        return self._context.timers.is_set(self.settings.public_key, timer)

    def count(self, reason: Drop, number: int) -> None:
        """Count what was dropped."""
        if number:
            self._context.drops[reason] += number
