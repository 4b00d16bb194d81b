"""Sessions: one generation of keys each, and the three that a peer may have at a time.

The session owns the counters under its key: whoever sends takes them from `reserve`, so that no
nonce is ever used twice. Its limits are those of WireGuard 6.1 and 6.2.
"""

from collections.abc import Iterator
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from sacip_tun.protocol.errors import LocalError
from sacip_tun.protocol.handshake import TransportKeys
from sacip_tun.protocol.limits import (
    REJECT_AFTER_MESSAGES,
    REJECT_AFTER_TIME,
    REKEY_AFTER_MESSAGES,
    REKEY_AFTER_TIME,
    REKEY_AFTER_TIME_RECEIVING,
)
from sacip_tun.protocol.messages import DATA, DATA_FORMAT, padded_length
from sacip_tun.protocol.replay import ReplayWindow

# The first four bytes of a 96-bit nonce; the counter follows, little endian (WireGuard 5.4.6).
_NONCE_PREFIX: Final = bytes(4)


class Session:
    """One pair of transport keys. `sender` and `opener` are its ciphers, for batches.

    `confirmed` is False for a responder until `Keypairs.received_with` says that the initiator has
    the keys as well. `created` is the time in seconds of the caller's clock.
    """

    __slots__ = (
        "confirmed",
        "created",
        "initiator",
        "local_index",
        "next_counter",
        "opener",
        "remote_index",
        "sender",
        "window",
    )

    def __init__(self, keys: TransportKeys, *, now: float) -> None:
        self.local_index: Final = keys.local_index
        self.remote_index: Final = keys.remote_index
        self.initiator: Final = keys.initiator
        self.created = now
        self.confirmed = keys.initiator
        self.sender = ChaCha20Poly1305(keys.send)
        self.opener = ChaCha20Poly1305(keys.receive)
        self.window = ReplayWindow()
        self.next_counter = 0

    def reserve(self, count: int) -> int:
        """Take `count` counters for sending; returns the first.

        Raises LocalError where they would reach REJECT_AFTER_MESSAGES, and takes none.
        """
        first = self.next_counter
        if first + count > REJECT_AFTER_MESSAGES:
            raise LocalError("this session has sent all the messages it may")
        self.next_counter = first + count
        return first

    def seal(self, plaintext: bytes, mtu: int = 0) -> bytes:
        """Return one whole data message, padded to 16 bytes but not beyond `mtu` (0: no bound).

        For control messages and keepalives (empty). Raises LocalError as `reserve` does.
        """
        counter = self.reserve(1)
        header = DATA_FORMAT.pack(DATA, self.remote_index, counter)
        padded = plaintext.ljust(padded_length(len(plaintext), mtu), b"\0")
        return header + self.sender.encrypt(_NONCE_PREFIX + header[8:], padded, None)

    def may_send(self, count: int = 1, *, now: float) -> bool:
        """Tell whether `count` messages may go out under these keys."""
        return (
            self.confirmed
            and now - self.created < REJECT_AFTER_TIME
            and self.next_counter + count <= REJECT_AFTER_MESSAGES
        )

    def may_receive(self, *, now: float) -> bool:
        """Tell whether a message under these keys may be opened."""
        return now - self.created < REJECT_AFTER_TIME

    def wants_rekey_on_send(self, *, now: float) -> bool:
        """Tell whether a message that went out is a reason for a new handshake (WireGuard 6.2).

        Age concerns the initiator alone, so that both ends do not start at once.
        """
        return self.next_counter > REKEY_AFTER_MESSAGES or (
            self.initiator and now - self.created >= REKEY_AFTER_TIME
        )

    def wants_rekey_on_receive(self, *, now: float) -> bool:
        """Tell whether a message that came in is a reason for a new handshake (WireGuard 6.2)."""
        return self.initiator and now - self.created >= REKEY_AFTER_TIME_RECEIVING

    def expire(self) -> None:
        """Send nothing more; what comes is still opened."""
        self.next_counter = REJECT_AFTER_MESSAGES

    def erase(self) -> None:
        """Drop the keys and refuse to be used from here on; harmless when repeated."""
        self.created = float("-inf")
        self.next_counter = REJECT_AFTER_MESSAGES
        if hasattr(self, "sender"):
            del self.sender, self.opener

    def __repr__(self) -> str:
        role = "initiator" if self.initiator else "responder"
        return f"Session({role}, local={self.local_index:08x}, remote={self.remote_index:08x})"


class Keypairs:
    """The sessions of one peer (kernel: noise_keypairs).

    `current` is for sending; `previous` still opens late packets; `next` is what this end, as a
    responder, may not send with before the initiator has proven to have it. Every method that drops
    sessions erases and returns them, so that their receiver indices can be forgotten.
    """

    __slots__ = ("current", "next", "previous")

    def __init__(self) -> None:
        self.previous: Session | None = None
        self.current: Session | None = None
        self.next: Session | None = None

    def begin_session(self, session: Session) -> list[Session]:
        """Take in what a handshake ended in; returns the sessions that were dropped."""
        before = list(self.all())
        if session.initiator:
            # Both ends may have started: a pending `next` is newer than `current`, and the peer
            # may be about to send with it.
            self.previous = self.next or self.current
            self.current = session
            self.next = None
        else:
            self.previous = None
            self.next = session
        return self._dropped(before)

    def received_with(self, session: Session) -> list[Session]:
        """Take note of a packet that authenticated; returns the sessions that were dropped.

        The first one under `next` confirms it: it becomes `current`.
        """
        if session is not self.next:
            return []
        before = list(self.all())
        session.confirmed = True
        self.previous = self.current
        self.current = session
        self.next = None
        return self._dropped(before)

    def expire(self) -> None:
        """Let nothing more be sent with any of them."""
        for session in self.all():
            session.expire()

    def erase(self) -> list[Session]:
        """Drop all; returns them."""
        before = list(self.all())
        self.previous = self.current = self.next = None
        return self._dropped(before)

    def all(self) -> Iterator[Session]:
        """Yield the sessions, oldest first."""
        for session in (self.previous, self.current, self.next):
            if session is not None:
                yield session

    def _dropped(self, before: list[Session]) -> list[Session]:
        kept = list(self.all())
        dropped = [session for session in before if session not in kept]
        for session in dropped:
            session.erase()
        return dropped
