"""One peer: its handshake, its sessions, its path, and what waits for them.

WireGuard's rules (paper 5 and 6) live here as verbs that report facts: `data_sent`, `received`,
`session_ready`. The address exchange on top of them is exchange.py.
"""

from collections import deque
from dataclasses import dataclass, field, replace

from sacip_tun.protocol import limits
from sacip_tun.protocol.address import Endpoint
from sacip_tun.protocol.context import Context, Datagram
from sacip_tun.protocol.cookie import CookieJar
from sacip_tun.protocol.errors import Drop, LocalError
from sacip_tun.protocol.events import (
    Event,
    FrameSent,
    HandshakeCompleted,
    HandshakeGaveUp,
    HandshakeUnanswered,
    SessionReady,
)
from sacip_tun.protocol.exchange import Exchange
from sacip_tun.protocol.frames import Code, Frame, code_name
from sacip_tun.protocol.handshake import Handshake
from sacip_tun.protocol.keys import NO_PRESHARED_KEY
from sacip_tun.protocol.messages import Initiation
from sacip_tun.protocol.path import Path
from sacip_tun.protocol.pmtu import OVERHEAD, PathMtuSearch
from sacip_tun.protocol.session import Keypairs, Session
from sacip_tun.protocol.staged import Staged
from sacip_tun.protocol.tai64n import timestamp
from sacip_tun.protocol.timers import Timer

# Open questions remembered, and for how long, in seconds; then an answer tells nothing any more.
MAX_QUESTIONS = 64
MAX_QUESTION_AGE = 10.0
# The span in seconds over which `recent_bytes` counts.
RECENT = 2.0


@dataclass(frozen=True, slots=True)
class PeerSettings:
    """What the user says about a peer. Keys are 32 bytes; `keepalive` is in seconds, 0 is off.

    `named` says that the endpoint is a name, which somebody resolves and tells to `resolved`.
    """

    public_key: bytes
    preshared_key: bytes = field(default=NO_PRESHARED_KEY, repr=False)
    endpoint: Endpoint | None = None
    named: bool = False
    keepalive: int = 0
    sacip: bool = True
    strict_nat: bool = False


@dataclass(frozen=True, slots=True)
class Grant:
    """Leave to send: seal under `session` from `first_counter` on, send `local` to `remote`."""

    session: Session
    first_counter: int
    local: Endpoint | None
    remote: Endpoint


class Peer:
    """Everything that is known of one peer. Made and driven by the Tunnel."""

    def __init__(self, settings: PeerSettings, context: Context) -> None:
        self.settings = settings
        self.path = Path(settings.endpoint)
        self.configured = settings.endpoint
        self.handshake = Handshake()
        self.cookies = CookieJar(settings.public_key)
        self.keypairs = Keypairs()
        self.staged = Staged()
        self.exchange = Exchange(self, strict=settings.strict_nat)
        self.path_mtu = PathMtuSearch(self)
        self.speaks_sacip = False
        self.once_spoke_sacip = False
        self.rx_bytes = 0
        self.tx_bytes = 0
        self.last_handshake: float | None = None
        self.greatest_timestamp = bytes(12)
        self._newest: tuple[float, int] | None = None
        self._newest_from: Endpoint | None = None
        self._context = context
        self._timestamp: bytes | None = None
        self._attempts = 0
        self._rotation = 0
        self._attempted: float | None = None
        self._unanswered_since = 0.0
        self._another_keepalive = False
        self._last_minute = False
        self._questions: dict[int, float] = {}
        self._recent: deque[tuple[float, int]] = deque(maxlen=16)

    @property
    def key(self) -> bytes:
        """The peer's public key."""
        return self.settings.public_key

    @property
    def engaged(self) -> bool:
        """Whether there is a session, or a handshake under way."""
        return self.keypairs.current is not None or self._is_set(Timer.RETRY_HANDSHAKE)

    def unanswered(self, *, now: float) -> bool:
        """Whether data that went out has gone unanswered past the passive keepalive's time."""
        waited = now - self._unanswered_since
        return self._is_set(Timer.NEW_HANDSHAKE) and waited > limits.KEEPALIVE_TIMEOUT

    @property
    def connecting(self) -> bool:
        """Whether a handshake is under way."""
        return self._is_set(Timer.RETRY_HANDSHAKE)

    @property
    def destinations(self) -> tuple[Endpoint, ...]:
        """Every address at which the peer might be, the active one first."""
        remote = self.path.remote
        known = (remote.active, remote.idle, self.configured, *self.exchange.candidates)
        return tuple(dict.fromkeys(endpoint for endpoint in known if endpoint is not None))

    @property
    def reachable(self) -> bool:
        """Whether there is, or may soon be, an endpoint: a name counts until it is resolved."""
        return self.path.remote.active is not None or self.settings.named

    def resolved(self, endpoint: Endpoint, *, now: float) -> None:
        """Take the address that the configured name has now.

        It is where to begin, and a candidate while hunting; it never overrides an address at which
        the peer was heard.
        """
        news = endpoint != self.configured
        self.configured = endpoint
        if self.path.remote.active is None or self.last_handshake is None:
            self.path.remote = self.path.remote.of(endpoint)
        # The same address again is no reason: an answer may be on its way to the initiation that is
        # under way, and a peer that is gone must be given up some time.
        if news and not self.can_seal(now=now):
            self.start_handshake(now=now, urgent=True)

    # Sending inner packets

    def grant(self, count: int, length: int, *, now: float) -> Grant | None:
        """Reserve `count` counters for a super-packet of `length` bytes; None: it must wait."""
        session = self.keypairs.current
        remote = self.path.remote.active
        if session is None or remote is None or not session.may_send(count, now=now):
            return None
        if self.detached or not self.path.may_carry(length):
            return None
        first = session.reserve(count)
        self.data_sent(length, now=now)
        self._keep_fresh(session, now=now)
        return Grant(session, first, self.path.local.active, remote)

    def stage(self, packet: bytes, *, now: float) -> None:
        """Keep an inner packet until it can be sent, and see to it that it can."""
        self._context.drops[Drop.STAGED_OVERFLOW] += self.staged.add(packet)
        if not self.can_seal(now=now):
            self.start_handshake(now=now)

    def can_send(self, *, now: float) -> bool:
        """Tell whether inner packets need not wait."""
        remote = self.path.remote.active
        return self.can_seal(now=now) and remote is not None and not self.detached

    @property
    def detached(self) -> bool:
        """Whether no local address leads to the peer."""
        return self.exchange.local_move.detached

    # What happened (WireGuard paper 6)

    def data_sent(self, length: int, *, now: float) -> None:
        """Inner packets of `length` bytes go out."""
        if not self._is_set(Timer.NEW_HANDSHAKE):
            patience = limits.NEW_HANDSHAKE_TIMEOUT + self._jitter()
            self.arm(Timer.NEW_HANDSHAKE, now + patience)
            self._unanswered_since = now
        self.disarm(Timer.PASSIVE_KEEPALIVE)
        self._authenticated_sent(length, now=now)

    def data_received(self, *, now: float) -> None:
        """Inner packets came in: if nothing goes back, say that we live."""
        if not self._is_set(Timer.PASSIVE_KEEPALIVE):
            self.arm(Timer.PASSIVE_KEEPALIVE, now + limits.KEEPALIVE_TIMEOUT)
        else:
            self._another_keepalive = True

    def authenticated_received(self, length: int, *, now: float) -> None:
        """Anything authenticated came in, `length` bytes of UDP payload."""
        self.rx_bytes += length
        self._recent.append((now, length))
        self.disarm(Timer.NEW_HANDSHAKE)
        self._rearm_persistent(now=now)

    def recent_bytes(self, *, now: float) -> int:
        """Return how many authenticated bytes the peer sent in the last two seconds."""
        return sum(length for when, length in self._recent if now - when <= RECENT)

    def _authenticated_sent(self, length: int, *, now: float) -> None:
        self.tx_bytes += length
        self._rearm_persistent(now=now)

    def _rearm_persistent(self, *, now: float) -> None:
        if self.settings.keepalive:
            self.arm(Timer.PERSISTENT_KEEPALIVE, now + self.settings.keepalive)

    def _keep_fresh(self, session: Session, *, now: float) -> None:
        if session.wants_rekey_on_send(now=now):
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
        self.exchange.local_move.contacted_at(local)
        if remote != self.path.remote.active:
            self.exchange.remote_move.stranger(local, remote, now=now)

    def contacted(self, local: Endpoint, remote: Endpoint, *, now: float) -> None:
        """Follow an authenticated contact without more ado: WireGuard's own roaming (paper 2.1)."""
        self.exchange.local_move.contacted_at(local)
        known = self.path.remote.active
        trusted = known is None or remote in {known, self.configured}
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
        self._end_handshake()
        self._last_minute = False
        self.last_handshake = now
        remote = self.path.remote.active
        self.emit(HandshakeCompleted(self.key, session.initiator, remote))
        if session.initiator and not self.staged:
            self.send_keepalive(now=now)  # confirms the session to the responder
        self.emit(SessionReady(self.key))
        if self.settings.sacip:
            self.exchange.session_ready(initiator=session.initiator, marked=marked, now=now)

    def _end_handshake(self) -> None:
        self.disarm(Timer.RETRY_HANDSHAKE)
        self._attempts = 0

    # Handshakes

    def start_handshake(self, *, now: float, urgent: bool = False) -> None:
        """Send an initiation unless one is under way or 5 s have not passed since the last."""
        recent = self._attempted is not None and now - self._attempted < limits.REKEY_TIMEOUT
        if not urgent and (recent or self._is_set(Timer.RETRY_HANDSHAKE)):
            return
        self._attempts = self._rotation = 0
        self._initiate(now=now)

    def _initiate(self, *, now: float) -> None:
        self._attempted = now
        self.arm(Timer.RETRY_HANDSHAKE, now + limits.REKEY_TIMEOUT + self._jitter())
        if not self.destinations or self.detached:
            return  # tried again by the timer: the name may resolve, an address may appear
        # Each try goes to another place where the peer might be. That is safe: only an
        # authenticated answer moves the path.
        remote = self.destinations[self._rotation % len(self.destinations)]
        self._rotation += 1
        local = self.path.local.active if remote == self.path.remote.active else None
        try:
            initiation = self._initiation()
        except LocalError:
            self._context.drops[Drop.UNUSABLE_KEY] += 1  # a point of low order: nobody has it
            return
        data = self.cookies.seal(initiation.encode(), now=now)
        self.send_handshake(data, local, remote, now=now)

    def _initiation(self) -> Initiation:
        context = self._context
        index = context.claim_index(self.key, self.handshake.local_index)
        marked = self.settings.sacip
        self._timestamp = timestamp(context.unix_ns(), self._timestamp, sacip=marked)
        return self.handshake.initiate(
            context.identity,
            self.key,
            index=index,
            timestamp=self._timestamp,
            ephemeral=context.entropy(32),
        )

    def send_handshake(
        self, data: bytes, local: Endpoint | None, remote: Endpoint, *, now: float
    ) -> None:
        """Send an initiation or a response."""
        self._context.outbox.append(Datagram(data, local, remote))
        self._authenticated_sent(len(data), now=now)

    def _retry_handshake(self, *, now: float) -> None:
        if self.detached:
            self.arm(Timer.RETRY_HANDSHAKE, now + limits.REKEY_TIMEOUT)
            return
        self._attempts += 1
        if self._attempts > limits.MAX_HANDSHAKE_RETRIES:
            self._end_handshake()
            dropped = len(self.staged.take())
            self._context.drops[Drop.GAVE_UP] += dropped
            self.emit(HandshakeGaveUp(self.key, dropped))
            if not self._is_set(Timer.ERASE_KEYS):
                self.arm(Timer.ERASE_KEYS, now + limits.ERASE_KEYS_AFTER_TIME)
        else:
            self.emit(HandshakeUnanswered(self.key, self._attempts))
            self._initiate(now=now)

    # Messages without inner packets

    def send_keepalive(self, *, now: float) -> None:
        """Send an empty message over the active path; begin a handshake where no session is."""
        session = self.keypairs.current
        if self.detached:
            return
        if session is None or not session.may_send(now=now):
            self.start_handshake(now=now)
        elif self.path.remote.active is not None:
            self._send_sealed(b"", session, self.path.local.active, self.path.remote.active, now)
            self.disarm(Timer.PASSIVE_KEEPALIVE)

    def probe(self, size: int, *, now: float) -> int:
        """Challenge by an unfragmented datagram of `size` bytes; return its token, 0 if unsent."""
        path = self.path
        if self.detached or not path.may_carry(size):
            return 0
        frame = Frame(Code.PATH_CHALLENGE, mtu=size)
        return self.ask(frame, path.local.active, path.remote.active, now=now)

    def ask(
        self, frame: Frame, local: Endpoint | None, remote: Endpoint | None, *, now: float
    ) -> int:
        """Send a frame that wants an answer, under a new token; return it, 0 if unsent."""
        token = self._context.random_u64()
        while len(self._questions) >= MAX_QUESTIONS:
            del self._questions[next(iter(self._questions))]
        self._questions[token] = now
        return token if self._say(frame, token, local, remote, now=now) else 0

    def answer(self, frame: Frame, local: Endpoint, remote: Endpoint, *, now: float) -> None:
        """Send an answer over the path that the question took."""
        self._say(frame, frame.token, local, remote, now=now)

    def answered(self, token: int, *, now: float) -> bool:
        """Tell whether `token` is of an open question of ours, and close that question."""
        asked = self._questions.pop(token, None)
        if asked is None or now - asked > MAX_QUESTION_AGE:
            return False
        self.path.sampled(now - asked)
        self.path_mtu.answered(token, now=now)
        return True

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
        self._context.outbox.append(Datagram(data, local, remote, unfragmented))
        self._authenticated_sent(len(data), now=now)
        self._keep_fresh(session, now=now)

    # Timers and events

    def handle_timer(self, timer: Timer, *, now: float) -> None:
        """Do what an expired timer is for."""
        if timer is Timer.RETRY_HANDSHAKE:
            self._retry_handshake(now=now)
        elif timer is Timer.NEW_HANDSHAKE:
            self.start_handshake(now=now)
        elif timer is Timer.PASSIVE_KEEPALIVE:
            self._passive_keepalive(now=now)
        elif timer is Timer.PERSISTENT_KEEPALIVE:
            self.arm(timer, now + self.settings.keepalive)
            self.send_keepalive(now=now)
        elif timer is Timer.ERASE_KEYS:
            self.erase()
        elif timer is Timer.HELLO:
            self.exchange.greet(now=now)
        elif timer is Timer.CHALLENGE:
            self.exchange.remote_move.ask_again(now=now)
        elif timer is Timer.VERDICT:
            self.exchange.remote_move.verdict()
        elif timer is Timer.PMTU:
            self.path_mtu.handle_timer(now=now)
        else:
            self.exchange.local_move.handle_timer(timer, now=now)

    def _passive_keepalive(self, *, now: float) -> None:
        self.send_keepalive(now=now)
        if self._another_keepalive:
            self._another_keepalive = False
            self.arm(Timer.PASSIVE_KEEPALIVE, now + limits.KEEPALIVE_TIMEOUT)

    def erase(self) -> None:
        """Forget every key and handshake of this peer."""
        self._context.release_index(self.handshake.local_index)
        self.handshake.abandon()
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

    def _is_set(self, timer: Timer) -> bool:
        return self._context.timers.is_set(self.key, timer)

    def _jitter(self) -> float:
        return self._context.jitter(limits.REKEY_JITTER)
