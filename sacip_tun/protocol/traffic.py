"""Traffic: what goes to one peer and comes from it, and the timers that hang on it.

WireGuard's rules (paper 6): who hears nothing back begins a handshake, who has nothing to say says
that it lives, and a session is renewed before it ends.
"""

from collections import deque
from typing import Protocol

from sacip_tun.protocol import limits
from sacip_tun.protocol.address import Endpoint
from sacip_tun.protocol.context import Context
from sacip_tun.protocol.exchange import Exchange
from sacip_tun.protocol.liveness import Liveness
from sacip_tun.protocol.path import Path
from sacip_tun.protocol.session import Keypairs, Session
from sacip_tun.protocol.settings import PeerSettings
from sacip_tun.protocol.speech import Speech
from sacip_tun.protocol.timers import Timer

# Who has nothing to say answers with a passive keepalive (WireGuard 6.5). That takes a round trip
# more, which is never counted as more than 1 s.
LONGEST_ANSWER = limits.KEEPALIVE_TIMEOUT + 1.0
# The span in seconds over which `recent_bytes` counts, and how many arrivals at most.
RECENT, RECENT_MESSAGES = 2.0, 16


class Correspondent(Protocol):
    """What traffic needs of the peer that it goes to."""

    settings: PeerSettings
    keypairs: Keypairs
    path: Path
    exchange: Exchange
    liveness: Liveness
    speech: Speech

    def start_handshake(self, *, now: float, urgent: bool = False) -> None:
        """Begin a handshake."""

    def arm(self, timer: Timer, deadline: float) -> None:
        """Set a timer of this peer."""

    def disarm(self, timer: Timer) -> None:
        """Stop a timer of this peer."""

    def is_set(self, timer: Timer) -> bool:
        """Tell whether a timer of this peer is armed."""


class Traffic:
    """What went and came: `tx_bytes` and `rx_bytes` of authenticated UDP payload; `last_heard`."""

    __slots__ = (
        "_another_keepalive",
        "_context",
        "_last_minute",
        "_patience",
        "_peer",
        "_recent",
        "_unanswered_since",
        "last_heard",
        "rx_bytes",
        "tx_bytes",
    )

    def __init__(self, peer: Correspondent, context: Context) -> None:
        self._peer = peer
        self._context = context
        self.rx_bytes = 0
        self.tx_bytes = 0
        self.last_heard = 0.0
        # Not the timer's start: that begins anew when it has fired, and nothing was heard yet.
        self._unanswered_since: float | None = None
        # Until a new handshake, in seconds. Drawn for each session: to ask for randomness each time
        # that something goes out and was answered would be a system call for each.
        self._patience: float = limits.NEW_HANDSHAKE_TIMEOUT
        self._another_keepalive = False
        self._last_minute = False
        self._recent: deque[tuple[float, int]] | None = None

    @property
    def awaits_answer(self) -> bool:
        """Whether nothing came since data went out."""
        return self._unanswered_since is not None

    def unanswered(self, *, now: float) -> bool:
        """Whether data that went out has gone unanswered for longer than any live peer takes."""
        since = self._unanswered_since
        return since is not None and now - since > LONGEST_ANSWER

    def recent_bytes(self, *, now: float) -> int:
        """Return how many authenticated bytes the peer sent in the last two seconds.

        They are credit for one trial: no byte counts again for the next one.
        """
        recent, self._recent = self._recent or (), None
        return sum(length for when, length in recent if now - when <= RECENT)

    # What happened

    def data_sent(self, length: int, *, now: float) -> None:
        """Inner packets go out, in datagrams of `length` bytes together."""
        if not self._peer.is_set(Timer.NEW_HANDSHAKE):
            self._peer.arm(Timer.NEW_HANDSHAKE, now + self._patience)
        if self._unanswered_since is None:
            self._unanswered_since = now
            self._peer.liveness.data_sent(now=now)
        self.sent(length, now=now)

    def data_received(self, *, now: float) -> None:
        """Inner packets came in: if nothing goes back, say that we live."""
        self._peer.liveness.data_received(now=now)
        if not self._peer.is_set(Timer.PASSIVE_KEEPALIVE):
            self._peer.arm(Timer.PASSIVE_KEEPALIVE, now + limits.KEEPALIVE_TIMEOUT)
        else:
            self._another_keepalive = True

    def sent(self, length: int, *, now: float) -> None:
        """Anything authenticated goes out, `length` bytes of UDP payload."""
        self._peer.disarm(Timer.PASSIVE_KEEPALIVE)
        self.tx_bytes += length
        self.rearm_persistent(now=now)
        self._peer.exchange.nat_keepalive.sent(now=now)

    def received(self, length: int, remote: Endpoint, *, now: float) -> None:
        """Anything authenticated came in from `remote`, `length` bytes of UDP payload."""
        self.rx_bytes += length
        self.last_heard = now
        path = self._peer.path
        # What comes during a trial counts three times there already; what comes from elsewhere is
        # no credit for a trial of it.
        if not path.limited and remote == path.remote.active:
            if self._recent is None:
                self._recent = deque(maxlen=RECENT_MESSAGES)
            self._recent.append((now, length))
        self._unanswered_since = None
        self._peer.disarm(Timer.NEW_HANDSHAKE)
        self.rearm_persistent(now=now)

    def session_began(self) -> None:
        """A new session carries: it may be renewed in its last minute again."""
        self._last_minute = False
        self._patience = limits.NEW_HANDSHAKE_TIMEOUT + self._context.jitter(limits.REKEY_JITTER)

    def forget(self) -> None:
        """The sessions are erased: nothing is awaited under them, nothing counts as credit."""
        self._unanswered_since = self._recent = None

    # Keepalives (WireGuard 6.5)

    def rearm_persistent(self, *, now: float) -> None:
        """Begin the interval of the persistent keepalive anew, where there is one."""
        if self._peer.settings.keepalive:
            self._peer.arm(Timer.PERSISTENT_KEEPALIVE, now + self._peer.settings.keepalive)

    def keepalive_adjusted(self, *, now: float) -> None:
        """The interval was set: it counts from now, and one that is new begins with a message."""
        if not self._peer.settings.keepalive:
            self._peer.disarm(Timer.PERSISTENT_KEEPALIVE)
        elif self._peer.is_set(Timer.PERSISTENT_KEEPALIVE):
            self.rearm_persistent(now=now)
        else:
            self._peer.speech.keepalive(now=now)

    def keep_persistently(self, *, now: float) -> None:
        """The persistent interval is over: send, whatever else was sent."""
        self.rearm_persistent(now=now)
        self._peer.speech.keepalive(now=now)

    def keep_passively(self, *, now: float) -> None:
        """Nothing went back for some time: say that we live, and again where more came in."""
        self._peer.speech.keepalive(now=now)
        if self._another_keepalive:
            self._another_keepalive = False
            self._peer.arm(Timer.PASSIVE_KEEPALIVE, now + limits.KEEPALIVE_TIMEOUT)

    # Renewal (WireGuard 6.2)

    def keep_fresh(self, session: Session, *, now: float) -> None:
        """Rekey in time where we send."""
        if session.wants_rekey_on_send(now=now):
            self._peer.start_handshake(now=now)

    def keep_fresh_on_receive(self, session: Session, *, now: float) -> None:
        """Rekey in time where only the peer sends (165 s, initiator, once a session)."""
        current = session is self._peer.keypairs.current
        if current and not self._last_minute and session.wants_rekey_on_receive(now=now):
            self._last_minute = True
            self._peer.start_handshake(now=now)

    def outlive_silence(self, *, now: float) -> None:
        """Renew a session that would end before the NAT needs the next challenge."""
        session, interval = self._peer.keypairs.current, self._peer.exchange.nat_keepalive.interval
        ends = session.created + limits.REKEY_AFTER_TIME_RECEIVING if session else now
        if session is not None and interval and now + interval > ends:
            self._peer.start_handshake(now=now)
