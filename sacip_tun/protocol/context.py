"""What all peers of one tunnel share: identity, randomness, timers, and the two drains."""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from sacip_tun.protocol.address import Endpoint, Host
from sacip_tun.protocol.errors import Drop
from sacip_tun.protocol.events import Event
from sacip_tun.protocol.frames import Frame
from sacip_tun.protocol.hygiene import Hygiene
from sacip_tun.protocol.keys import StaticIdentity
from sacip_tun.protocol.session import Session
from sacip_tun.protocol.timers import TimerTable


@dataclass(frozen=True, slots=True)
class Datagram:
    """Bytes to send. `local` None leaves the source to the kernel.

    `segment_size` is the length of one of several datagrams, 0 where there is only one.
    One that is `unfragmented` goes whole or not at all: nobody on the way may cut it.
    """

    data: bytes
    local: Endpoint | None
    remote: Endpoint
    segment_size: int = 0
    unfragmented: bool = False


class Relaying(Protocol):
    """What one peer may want of the others."""

    def ask(self, key: bytes, seal: Callable[[], bytes], *, now: float) -> None:
        """Have every peer that may pass on what `seal` makes for the peer with `key`."""

    def pass_on(self, asking: bytes, frame: Frame, observed: Endpoint, *, now: float) -> None:
        """Take RELAY. Raises RemoteError where it is not permitted or not possible."""

    def hand_over(self, via: bytes, frame: Frame, *, now: float) -> None:
        """Take RELAYED: open what is in it, and ask where it says. Raises RemoteError."""


@dataclass(slots=True)
class Context:
    """Shared by all peers; owned by the Tunnel.

    `entropy(n)` returns n random bytes, `unix_ns()` the wall clock in nanoseconds; both are
    arguments of the Tunnel, so that tests replay them. `association` is random for each
    start of the tunnel.
    """

    identity: StaticIdentity
    entropy: Callable[[int], bytes]
    unix_ns: Callable[[], int]
    association: int
    hygiene: Hygiene
    relay: Relaying = field(init=False)
    timers: TimerTable[bytes] = field(default_factory=TimerTable)
    outbox: list[Datagram] = field(default_factory=list)
    events: deque[Event] = field(default_factory=deque)
    drops: Counter[Drop] = field(default_factory=Counter)
    # The addresses of this host at which any peer may find it, best first.
    candidates: tuple[Host, ...] = ()
    # Receiver index to the peer that it was given to: a handshake or a session.
    owners: dict[int, bytes] = field(default_factory=dict)
    # Receiver index to session, and to the cipher that opens its messages.
    sessions: dict[int, Session] = field(default_factory=dict)
    keyring: dict[int, ChaCha20Poly1305] = field(default_factory=dict)

    def claim_index(self, key: bytes, previous: int | None) -> int:
        """Return a random unused receiver index for a handshake; its previous one is released."""
        self.release_index(previous)
        while (index := int.from_bytes(self.entropy(4), "little")) in self.owners:
            pass
        self.owners[index] = key
        return index

    def release_index(self, index: int | None) -> None:
        """Give an index back, unless a session took it over."""
        if index is not None and index not in self.sessions:
            self.owners.pop(index, None)

    def adopt(self, session: Session) -> None:
        """Receive under a new session: its index was claimed by the handshake."""
        self.sessions[session.local_index] = session
        self.keyring[session.local_index] = session.opener

    def retire(self, session: Session) -> None:
        """Receive under this session no more, and erase its keys."""
        self.sessions.pop(session.local_index, None)
        self.keyring.pop(session.local_index, None)
        self.owners.pop(session.local_index, None)
        session.erase()

    def random_u64(self) -> int:
        """Return 64 random bits, never 0."""
        return int.from_bytes(self.entropy(8), "big") or 1

    def jitter(self, at_most: float) -> float:
        """Return a random time from 0 to `at_most` seconds."""
        return int.from_bytes(self.entropy(2), "big") / 65536 * at_most
