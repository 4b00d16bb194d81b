"""The initiator: handshakes that we start, repeat, and give up (WireGuard 6.4)."""

from typing import Protocol

from sacip_tun.protocol import limits
from sacip_tun.protocol.address import Endpoint
from sacip_tun.protocol.context import Context
from sacip_tun.protocol.cookie import CookieJar
from sacip_tun.protocol.errors import Drop, LocalError
from sacip_tun.protocol.events import Event, HandshakeGaveUp, HandshakeUnanswered
from sacip_tun.protocol.handshake import Handshake
from sacip_tun.protocol.messages import Initiation
from sacip_tun.protocol.path import Path
from sacip_tun.protocol.tai64n import timestamp
from sacip_tun.protocol.timers import Timer
from sacip_tun.protocol.whereabouts import Whereabouts

# From one call to the next in seconds, however urgent: who is called twice in one moment answers
# the first alone (limits.INITIATIONS_PER_SECOND), and we could not read that answer any more.
MOMENT = 2 / limits.INITIATIONS_PER_SECOND
# Initiations 5 s apart: as many may well be lost.
FORLORN_AFTER = 2


class Applicant(Protocol):
    """What the initiator needs of the peer that it knocks at."""

    path: Path
    cookies: CookieJar
    where: Whereabouts

    @property
    def key(self) -> bytes:
        """The peer's public key."""

    @property
    def detached(self) -> bool:
        """Whether no local address leads to the peer."""

    def send_handshake(
        self, data: bytes, local: Endpoint | None, remote: Endpoint, *, now: float
    ) -> None:
        """Send an initiation or a response."""

    def give_up(self, *, now: float) -> int:
        """Drop what waits for a session; returns how many packets that were."""

    def emit(self, event: Event) -> None:
        """Tell the program that runs us."""

    def arm(self, timer: Timer, deadline: float) -> None:
        """Set a timer of this peer."""

    def disarm(self, timer: Timer) -> None:
        """Stop a timer of this peer."""

    def is_set(self, timer: Timer) -> bool:
        """Tell whether a timer of this peer is armed."""


class Initiator:
    """The handshakes of one peer that are ours; `marked` ones say that we speak SACIP.

    `attempted` is when the last initiation went out.
    """

    __slots__ = (
        "_attempts",
        "_context",
        "_early",
        "_marked",
        "_peer",
        "_rotation",
        "_timestamp",
        "_urgent",
        "attempted",
        "handshake",
    )

    def __init__(self, peer: Applicant, context: Context, *, marked: bool) -> None:
        self.handshake = Handshake()
        self._peer = peer
        self._context = context
        self._marked = marked
        self._timestamp: bytes | None = None
        self._attempts = 0
        self._rotation = 0
        self._urgent = self._early = False
        self.attempted: float | None = None

    @property
    def under_way(self) -> bool:
        """Whether an answer is waited for."""
        return self._peer.is_set(Timer.RETRY_HANDSHAKE)

    @property
    def unanswered(self) -> bool:
        """Whether an initiation has gone unanswered."""
        return self.under_way and self._attempts > 0

    @property
    def forlorn(self) -> bool:
        """Whether initiations have gone unanswered for so long that it was not only bad luck."""
        return self.under_way and self._attempts >= FORLORN_AFTER

    def start(self, *, now: float, urgent: bool = False) -> None:
        """Send an initiation unless one is under way or 5 s have not passed since the last."""
        since = float("inf") if self.attempted is None else now - self.attempted
        if not urgent and (since < limits.REKEY_TIMEOUT or self.under_way):
            return
        self._attempts = self._rotation = 0
        self._urgent = urgent
        if since < MOMENT and self.under_way:
            self._early = True
            self._peer.arm(Timer.RETRY_HANDSHAKE, now - since + MOMENT)
        else:
            self._initiate(now=now)

    def path_appeared(self, *, now: float) -> None:
        """What went out before had no way: do not wait for an answer to that."""
        if self.under_way and self.attempted is not None and now - self.attempted >= MOMENT:
            self._attempts = self._rotation = 0
            self._initiate(now=now)

    def end(self) -> None:
        """A session stands: wait for nothing any more."""
        self._peer.disarm(Timer.RETRY_HANDSHAKE)
        self._attempts = 0

    def retry(self, *, now: float) -> None:
        """No answer in time (Timer.RETRY_HANDSHAKE): try again, or give up."""
        if self._peer.detached:
            self._peer.arm(Timer.RETRY_HANDSHAKE, now + limits.REKEY_TIMEOUT)
            return
        if self._early:
            self._initiate(now=now)
            return
        self._attempts += 1
        if self._attempts > limits.MAX_HANDSHAKE_RETRIES:
            self.end()
            self._peer.emit(HandshakeGaveUp(self._peer.key, self._peer.give_up(now=now)))
        else:
            self._peer.emit(HandshakeUnanswered(self._peer.key, self._attempts))
            self._initiate(now=now)

    def abandon(self) -> None:
        """Forget a handshake under way, and give its index back."""
        self._context.release_index(self.handshake.local_index)
        self.handshake.abandon()

    def forget(self) -> None:
        """Know nothing of what was tried: the next handshake need not wait for anything."""
        self.end()
        self.abandon()
        self.attempted = None

    def _initiate(self, *, now: float) -> None:
        peer = self._peer
        self.attempted, self._early = now, False
        patience = limits.REKEY_TIMEOUT + self._context.jitter(limits.REKEY_JITTER)
        peer.arm(Timer.RETRY_HANDSHAKE, now + patience)
        if not peer.where.destinations or peer.detached:
            return  # tried again by the timer: the name may resolve, an address may appear
        # Each try goes to where the peer was last, and to another place where it might be. That is
        # safe: only an authenticated answer moves the path.
        remote = peer.where.destinations[self._rotation % len(peer.where.destinations)]
        self._rotation += 1
        try:
            initiation = self._initiation()
        except LocalError:
            self._context.drops[Drop.UNUSABLE_KEY] += 1  # a point of low order: nobody has it
            return
        data = peer.cookies.seal(initiation.encode(), now=now)
        # After a move the same one goes to where the user said too, which may be the only place
        # from which the peer can be seen now: whichever is answered first is right.
        told = peer.where.configured if self._urgent else ()
        places = (remote, peer.path.remote.active, *told)
        for place in dict.fromkeys(place for place in places if place is not None):
            used = place == peer.path.remote.active and peer.path.matched
            peer.send_handshake(data, peer.path.local.active if used else None, place, now=now)

    def _initiation(self) -> Initiation:
        context = self._context
        index = context.claim_index(self._peer.key, self.handshake.local_index)
        self._timestamp = timestamp(context.unix_ns(), self._timestamp, sacip=self._marked)
        return self.handshake.initiate(
            context.identity,
            self._peer.key,
            index=index,
            timestamp=self._timestamp,
            ephemeral=context.entropy(32),
        )
