"""One peer: its handshake, its sessions, its path, and what waits for them.

WireGuard's rules (paper 5 and 6) live here as verbs that report facts: `data_sent`, `received`,
`session_ready`. The address exchange on top of them is exchange.py.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from operator import attrgetter
from typing import Protocol

from sacip_tun.protocol import limits
from sacip_tun.protocol.address import AddressPair, Endpoint, Host
from sacip_tun.protocol.context import Context, Datagram
from sacip_tun.protocol.cookie import CookieJar
from sacip_tun.protocol.delivery import Delivery
from sacip_tun.protocol.errors import Drop
from sacip_tun.protocol.events import Event, FrameSent, HandshakeCompleted
from sacip_tun.protocol.exchange import Exchange
from sacip_tun.protocol.facts import Source
from sacip_tun.protocol.frames import Code, Frame, code_name
from sacip_tun.protocol.grant import Grant
from sacip_tun.protocol.hold import UNTAGGED, Tag, Waiting
from sacip_tun.protocol.initiator import Initiator
from sacip_tun.protocol.liveness import Liveness
from sacip_tun.protocol.messages import DATA_HEADER, PADDING, TAG
from sacip_tun.protocol.path import INITIAL_RTT, Path
from sacip_tun.protocol.pmtu import OVERHEAD, PathMtuSearch
from sacip_tun.protocol.questions import Questions
from sacip_tun.protocol.received import Received
from sacip_tun.protocol.ring import Run
from sacip_tun.protocol.session import Keypairs, Session
from sacip_tun.protocol.settings import PeerSettings
from sacip_tun.protocol.timers import Timer
from sacip_tun.protocol.whereabouts import Whereabouts

# Who has nothing to say answers with a passive keepalive (WireGuard 6.5). That takes a round trip
# more, which is never counted as more than 1 s.
LONGEST_ANSWER = limits.KEEPALIVE_TIMEOUT + 1.0
# Bytes that sealing adds to a packet at most: header, tag and padding (WireGuard 5.4.6).
SEALING = DATA_HEADER + TAG + PADDING - 1
# The span in seconds over which `recent_bytes` counts, and how many arrivals at most.
RECENT, RECENT_MESSAGES = 2.0, 16


class Duty(Protocol):
    """What is done when a timer has expired."""

    def __call__(self, *, now: float) -> None:
        """Do it."""


# Who does what when a timer has expired.
DUTIES: Mapping[Timer, Callable[["Peer"], Duty]] = {
    Timer.RETRY_HANDSHAKE: attrgetter("initiator.retry"),
    Timer.NEW_HANDSHAKE: attrgetter("start_handshake"),
    Timer.PASSIVE_KEEPALIVE: attrgetter("_passive_keepalive"),
    Timer.PERSISTENT_KEEPALIVE: attrgetter("_persistent_keepalive"),
    Timer.LIVENESS: attrgetter("_ask_for_life"),
    Timer.STREAM_BREAK: attrgetter("liveness.stream_broke"),
    Timer.NAT_KEEPALIVE: attrgetter("_keep_nat_open"),
    Timer.PMTU: attrgetter("path_mtu.handle_timer"),
}


class Peer:
    """Everything that is known of one peer. Made and driven by the Tunnel."""

    __slots__ = (
        "_another_keepalive",
        "_context",
        "_delivery",
        "_heard_at",
        "_last_minute",
        "_newest",
        "_newest_from",
        "_questions",
        "_recent",
        "_unanswered_since",
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
        "rx_bytes",
        "settings",
        "speaks_sacip",
        "tx_bytes",
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
        self.where = Whereabouts(self.path, self.exchange, settings.endpoint)
        self.liveness = Liveness(self)
        self._delivery: Delivery | None = None
        self.path_mtu = PathMtuSearch(self)
        self.initiator = Initiator(self, context, marked=settings.sacip)
        self.speaks_sacip = False
        self.once_spoke_sacip = False
        self.rx_bytes = 0
        self.tx_bytes = 0
        self.last_handshake: float | None = None
        self.greatest_timestamp = bytes(12)
        self._newest: tuple[float, int] | None = None
        self._newest_from: Endpoint | None = None
        self._context = context
        # Not the timer's start: that begins anew when it has fired, and nothing was heard yet.
        self._unanswered_since: float | None = None
        self._heard_at = 0.0
        self._another_keepalive = False
        self._last_minute = False
        self._questions = Questions()
        self._recent: deque[tuple[float, int]] | None = None

    @property
    def key(self) -> bytes:
        """The peer's public key."""
        return self.settings.public_key

    @property
    def engaged(self) -> bool:
        """Whether there is a session, or a handshake under way."""
        return self.keypairs.current is not None or self.initiator.under_way

    def unanswered(self, *, now: float) -> bool:
        """Whether data that went out has gone unanswered for longer than any live peer takes."""
        since = self._unanswered_since
        return since is not None and now - since > LONGEST_ANSWER

    @property
    def strict(self) -> bool:
        """Whether the peer is only where it says that it is."""
        return self.settings.strict_nat

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
        which the peer was heard.
        """
        news = set(endpoints) - set(self.where.configured)
        self.where.configured = endpoints
        if self.path.remote.active is None or self.last_handshake is None:
            self.path.remote = self.path.remote.of(endpoints[0])
        if self.detached:
            self.exchange.local_move.reconsider(now=now)  # it may be of a family that we have
        # The same address again is no reason: an answer may be on its way to the initiation that is
        # under way, and a peer that is gone must be given up some time.
        if news and not self.can_seal(now=now):
            self.start_handshake(now=now, urgent=True)
        elif news:
            self.seek(now=now)

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
        self.data_sent(len(data), now=now)
        if self.speaks_sacip:
            self.delivery.sent(data, size, now=now)
        self._keep_fresh(session, now=now)

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
        move, path = self.exchange.local_move, self.path
        return (
            not path.matched
            or path.exhausted
            or self.liveness.silent
            or move.detached
            or move.hunting
            or not self.reachable
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
            self.delivery.resend_unheard(self._heard_at - self.round_trip, now=now)

    def send_again(self, run: Run, *, now: float) -> bool:
        """Send sealed datagrams over the path in use; False where it does not carry them."""
        remote, length = self.path.remote.active, len(run.data)
        if remote is None or not self.path.matched or not self.path.may_carry(length):
            return False
        again = Datagram(run.data, self.path.local.active, remote, run.size)
        self._context.outbox.append(again)
        self._authenticated_sent(length, now=now)
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

    # Everywhere the peer may be

    @property
    def destinations(self) -> tuple[Endpoint, ...]:
        """Every address at which the peer might be, the active one first."""
        return self.where.destinations

    def destinations_for(self, local: Endpoint | None) -> tuple[Endpoint, ...]:
        """Return the addresses at which the peer may be, of the family of `local`, best first."""
        return self.where.destinations_for(local)

    def pairs(self, turn: int) -> list[tuple[Endpoint | None, Endpoint]]:
        """Return pairs of addresses of one family: the one in use, and the others in turn."""
        return self.where.pairs_in_turn(turn)

    def groups_on(self, source: Source) -> tuple[Endpoint, ...]:
        """Return where everybody on the link of `source` hears us on the peer's port."""
        return self.where.groups_on(source)

    def ask_relays(self, notice: Frame, *, now: float) -> None:
        """Have other peers hand over a sealed notice, where both ends permit it."""
        session = self.keypairs.current
        if session is None or not session.may_send(now=now):
            return
        token = self._context.random_u64()
        self._questions.ask(token, now=now)
        bare = replace(
            notice, association=self._context.association, token=token, received=(), candidates=()
        )
        self._context.relay.ask(self.key, lambda: session.seal(bare.encode_short()), now=now)

    # What happened (WireGuard paper 6)

    def data_sent(self, length: int, *, now: float) -> None:
        """Inner packets of `length` bytes go out."""
        if not self.is_set(Timer.NEW_HANDSHAKE):
            patience = limits.NEW_HANDSHAKE_TIMEOUT + self._context.jitter(limits.REKEY_JITTER)
            self.arm(Timer.NEW_HANDSHAKE, now + patience)
        if self._unanswered_since is None:
            self._unanswered_since = now
            self.liveness.data_sent(now=now)
        self._authenticated_sent(length, now=now)

    def data_received(self, *, now: float) -> None:
        """Inner packets came in: if nothing goes back, say that we live."""
        self.liveness.data_received(now=now)
        if not self.is_set(Timer.PASSIVE_KEEPALIVE):
            self.arm(Timer.PASSIVE_KEEPALIVE, now + limits.KEEPALIVE_TIMEOUT)
        else:
            self._another_keepalive = True

    def authenticated_received(self, length: int, remote: Endpoint, *, now: float) -> None:
        """Anything authenticated came in from `remote`, `length` bytes of UDP payload."""
        self.rx_bytes += length
        self._heard_at = now
        # What comes during a trial counts three times there already; what comes from elsewhere is
        # no credit for a trial of it.
        if not self.path.limited and remote == self.path.remote.active:
            if self._recent is None:
                self._recent = deque(maxlen=RECENT_MESSAGES)
            self._recent.append((now, length))
        self._unanswered_since = None
        self.disarm(Timer.NEW_HANDSHAKE)
        self._rearm_persistent(now=now)

    def recent_bytes(self, *, now: float) -> int:
        """Return how many authenticated bytes the peer sent in the last two seconds.

        They are credit for one trial: no byte counts again for the next one.
        """
        recent, self._recent = self._recent or (), None
        return sum(length for when, length in recent if now - when <= RECENT)

    def _authenticated_sent(self, length: int, *, now: float) -> None:
        self.disarm(Timer.PASSIVE_KEEPALIVE)
        self.tx_bytes += length
        self._rearm_persistent(now=now)
        self.exchange.nat_keepalive.sent(now=now)

    def _rearm_persistent(self, *, now: float) -> None:
        if self.settings.keepalive:
            self.arm(Timer.PERSISTENT_KEEPALIVE, now + self.settings.keepalive)

    def _keep_fresh(self, session: Session, *, now: float) -> None:
        if session.wants_rekey_on_send(now=now):
            self.start_handshake(now=now)

    def _outlive_silence(self, *, now: float) -> None:
        """Renew a session that would end before the NAT needs the next challenge."""
        session, interval = self.keypairs.current, self.exchange.nat_keepalive.interval
        ends = session.created + limits.REKEY_AFTER_TIME_RECEIVING if session else now
        if session is not None and interval and now + interval > ends:
            self.start_handshake(now=now)

    def keep_fresh_on_receive(self, session: Session, *, now: float) -> None:
        """Rekey in time where only the peer sends (165 s, initiator, once a session)."""
        current = session is self.keypairs.current
        if current and not self._last_minute and session.wants_rekey_on_receive(now=now):
            self._last_minute = True
            self.start_handshake(now=now)

    # Where from and where to

    @property
    def must_speak_sacip(self) -> bool:
        """Whether a handshake without the SACIP mark would be a downgrade."""
        return self.settings.strict_nat and self.once_spoke_sacip

    def is_newest(self, session: Session, counter: int, remote: Endpoint) -> bool:
        """Tell whether nothing sent later came before from another source."""
        if self._newest is None or self._newest_from == remote:
            return True
        return (session.created, counter) > self._newest

    def newest_is(self, session: Session, counter: int, remote: Endpoint) -> None:
        """A frame came from the address in use: what was sent before it and comes late is late."""
        if self._newest is None or (session.created, counter) > self._newest:
            self._newest, self._newest_from = (session.created, counter), remote

    def heard(
        self, session: Session, counter: int, local: Endpoint, remote: Endpoint, *, now: float
    ) -> None:
        """Data or a keepalive came from `remote`: the newest packet tells where the peer is."""
        if self._newest is not None and (session.created, counter) <= self._newest:
            return
        new_session = self._newest is None or session.created > self._newest[0]
        self._newest = (session.created, counter)
        self._newest_from = remote
        if new_session or not (self.speaks_sacip or self.must_speak_sacip):
            self.contacted(local, remote, now=now)
            return
        self.exchange.local_move.contacted_at(local, now=now)
        if remote == self.path.remote.active:
            return
        if not self.may_be_at(remote):
            self._context.drops[Drop.STRANGE_ENDPOINT] += 1
        else:
            self.exchange.remote_move.stranger(local, remote, now=now)

    def may_be_at(self, remote: Endpoint) -> bool:
        """Whether to send to this address: the user said so, or nothing speaks against it."""
        if any(remote.host == place.host for place in self.where.configured):
            return True
        return self._context.hygiene.fault(remote) is None

    def contacted(self, local: Endpoint, remote: Endpoint, *, now: float) -> None:
        """Follow an authenticated contact without more ado: WireGuard's own roaming (paper 2.1)."""
        if not self.may_be_at(remote):
            self._context.drops[Drop.STRANGE_ENDPOINT] += 1
            return
        self.exchange.local_move.contacted_at(local, now=now)
        known = self.path.remote.active
        trusted = known is None or remote in {known, *self.where.configured}
        if self.must_speak_sacip and not trusted:
            self.exchange.remote_move.stranger(local, remote, now=now)
        else:
            self.exchange.remote_move.followed(remote)

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
        self._last_minute = False
        self.last_handshake = now
        if session.initiator and self.initiator.attempted is not None:
            self.path.sampled(now - self.initiator.attempted)
        remote = self.path.remote.active
        self.emit(HandshakeCompleted(self.key, session.initiator, remote))
        if session.initiator and not (self.held and self.can_send(now=now)):
            self.send_keepalive(now=now)  # confirms the session to the responder
        self.alive(now=now)
        self.carries((), before=now, now=now)
        if self.settings.sacip:
            self.exchange.session_ready(initiator=session.initiator, marked=marked, now=now)

    # Handshakes

    def start_handshake(self, *, now: float, urgent: bool = False) -> None:
        """Send an initiation unless one is under way or 5 s have not passed since the last."""
        self.initiator.start(now=now, urgent=urgent)

    def send_handshake(
        self, data: bytes, local: Endpoint | None, remote: Endpoint, *, now: float
    ) -> None:
        """Send an initiation or a response."""
        self._context.outbox.append(Datagram(data, local, remote))
        self._authenticated_sent(len(data), now=now)

    def give_up(self, *, now: float) -> int:
        """Drop what waits for a session; returns how many packets that were."""
        if not self.is_set(Timer.ERASE_KEYS):
            self.arm(Timer.ERASE_KEYS, now + limits.ERASE_KEYS_AFTER_TIME)
        return self.delivery.give_up()

    # Messages without inner packets

    def send_keepalive(self, *, now: float) -> None:
        """Send an empty message over the active path; begin a handshake where no session is."""
        session = self.keypairs.current
        if self.detached:
            return
        if session is None or not session.may_send(now=now):
            self.start_handshake(now=now)
        elif self.path.remote.active is not None:
            local = self.path.local.active if self.path.matched else None
            self._send_sealed(b"", session, local, self.path.remote.active, now)

    def probe(self, size: int, *, now: float) -> int:
        """Challenge by an unfragmented datagram of `size` bytes; return its token, 0 if unsent."""
        path = self.path
        if self.detached or not path.affords(size) or not path.may_carry(size):
            return 0
        frame = Frame(Code.PATH_CHALLENGE, mtu=size)
        return self.ask(frame, path.local.active, path.remote.active, now=now)

    def ask(
        self, frame: Frame, local: Endpoint | None, remote: Endpoint | None, *, now: float
    ) -> int:
        """Send a frame that wants an answer, under a new token; return it, 0 if unsent."""
        token = self._context.random_u64()
        self._questions.ask(token, now=now)
        return token if self._say(frame, token, local, remote, now=now) else 0

    def answer(self, frame: Frame, local: Endpoint | None, remote: Endpoint, *, now: float) -> None:
        """Send an answer over the path that the question took."""
        self._say(frame, frame.token, local, remote, now=now)

    def tell(self, frame: Frame, *, now: float) -> None:
        """Send a frame that wants no answer over the path in use."""
        self._say(frame, 0, self.path.local.active, self.path.remote.active, now=now)

    def answered(self, token: int, *, now: float) -> float | None:
        """Close an open question of ours, and return when it was asked; None if it is none."""
        asked = self._questions.answered(token, now=now)
        if asked is not None:
            self.path.sampled(now - asked)
            self.path_mtu.answered(token, now=now)
        return asked

    def _say(
        self,
        frame: Frame,
        token: int,
        local: Endpoint | None,
        remote: Endpoint | None,
        *,
        now: float,
    ) -> bool:
        session = self.keypairs.current
        if session is None or not session.may_send(now=now):
            return False
        if remote is None or not self.speaks_sacip:
            return False
        named = replace(frame, association=self._context.association, token=token)
        if frame.mtu:
            self._say_mtu(named, session, local, remote, now)
            return True
        self._send_sealed(named.encode(), session, local, remote, now)
        self.emit(FrameSent(self.key, code_name(frame.code), frame.number, local, remote))
        return True

    def _say_mtu(
        self, frame: Frame, session: Session, local: Endpoint | None, remote: Endpoint, now: float
    ) -> None:
        """Send a probe of the path's MTU in its full size, and the answer to one as any frame."""
        probe = frame.code == Code.PATH_CHALLENGE
        size = frame.mtu - OVERHEAD[remote.host.version] if probe else 0
        plaintext = frame.encode(size)
        self._send_sealed(plaintext, session, local, remote, now, unfragmented=probe)

    def _send_sealed(
        self,
        plaintext: bytes,
        session: Session,
        local: Endpoint | None,
        remote: Endpoint,
        now: float,
        *,
        unfragmented: bool = False,
    ) -> None:
        # The size of a probe is exact; everything else is padded to 16 bytes.
        data = session.seal(plaintext, len(plaintext) if unfragmented else 0)
        self._context.outbox.append(Datagram(data, local, remote, unfragmented=unfragmented))
        self._authenticated_sent(len(data), now=now)
        self._keep_fresh(session, now=now)

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

    def _persistent_keepalive(self, *, now: float) -> None:
        self._rearm_persistent(now=now)
        self.send_keepalive(now=now)

    def _keep_nat_open(self, *, now: float) -> None:
        if not self.detached:
            self.exchange.nat_keepalive.handle_timer(now=now)
            self._outlive_silence(now=now)

    def _ask_for_life(self, *, now: float) -> None:
        if not self.exchange.local_move.moving and not self.detached:
            self.liveness.ask(now=now)  # a move asks everywhere itself

    def _passive_keepalive(self, *, now: float) -> None:
        self.send_keepalive(now=now)
        if self._another_keepalive:
            self._another_keepalive = False
            self.arm(Timer.PASSIVE_KEEPALIVE, now + limits.KEEPALIVE_TIMEOUT)

    def adjusted(self, settings: PeerSettings, *, now: float) -> None:
        """Take other settings; a preshared key counts from the next handshake on."""
        self.settings = settings
        self.exchange.nat_keepalive.set_automatic(automatic=settings.keepalive is None)
        if not settings.keepalive:
            self.disarm(Timer.PERSISTENT_KEEPALIVE)
        elif self.is_set(Timer.PERSISTENT_KEEPALIVE):
            self._rearm_persistent(now=now)
        else:
            self.send_keepalive(now=now)

    def placed(self, endpoint: Endpoint, *, now: float) -> None:
        """The user says where the peer is, now: that overrides where it was heard, and from where.

        Whoever leads to it is chosen anew, and a peer that has nothing to say is not woken.
        """
        self.where.configured = (endpoint,)
        self.exchange.remote_move.followed(endpoint)
        self.exchange.local_move.choice.pinned = None
        if not self.speaks_sacip:
            self.path.local = AddressPair()
        if self._unanswered_since is not None or self.connecting:
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
        self._recent = None
        if self._delivery is not None:
            self._delivery.clear()
            self._delivery = None if self._delivery.idle else self._delivery
        self.liveness.heard()
        self._unanswered_since = None
        for session in self.keypairs.erase():
            self._context.retire(session)

    def emit(self, event: Event) -> None:
        """Queue an event."""
        self._context.events.append(event)

    def arm(self, timer: Timer, deadline: float) -> None:
        """Set a timer of this peer."""
        self._context.timers.set(self.key, timer, deadline)

    def disarm(self, timer: Timer) -> None:
        """Stop a timer of this peer."""
        self._context.timers.stop(self.key, timer)

    def is_set(self, timer: Timer) -> bool:
        """Tell whether a timer of this peer is armed."""
        return self._context.timers.is_set(self.key, timer)

    def count(self, reason: Drop, number: int) -> None:
        """Count what was dropped."""
        if number:
            self._context.drops[reason] += number
