"""The handshake: Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s (WireGuard 5.4).

    <- s                        the initiator knows the responder's static key
    ...
    -> e, es, s, ss             Initiation; its payload is a TAI64N timestamp
    <- e, ee, se, psk           Response; its payload is empty

The initiator: `Handshake.initiate`, then `Handshake.consume_response`.
The responder: `open_initiation`, then (the peer looked up, its timestamp found newer) `respond`.

Rules:
1. The two roles share no state. A peer's initiation does not end ours: when both ends start at once
   both handshakes complete, and each end has both sessions.
2. A message that does not authenticate changes nothing: a forged response must not end a handshake.
3. Nothing is kept for the initiator of a handshake before its initiation authenticates.
4. mac1, mac2 and the order of timestamps are not checked here.
"""

from dataclasses import dataclass, field
from enum import Enum
from hashlib import blake2s
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from sacip_tun.protocol.errors import Drop, LocalError, RemoteError
from sacip_tun.protocol.keys import StaticIdentity, shared_secret
from sacip_tun.protocol.messages import Initiation, Response

CONSTRUCTION: Final = b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s"
IDENTIFIER: Final = b"WireGuard v1 zx2c4 Jason@zx2c4.com"
# Each handshake key seals one payload: its nonce is always 0.
_NONCE: Final = bytes(12)


@dataclass(frozen=True, slots=True)
class TransportKeys:
    """What a handshake ends in: two keys of 32 bytes, and the indices of both ends.

    `initiator` tells whether this end started the handshake.
    """

    send: bytes = field(repr=False)
    receive: bytes = field(repr=False)
    local_index: int
    remote_index: int
    initiator: bool


class State(Enum):
    """How far our own initiation has come."""

    ZEROED = "nothing sent, or answered, or given up"
    CREATED_INITIATION = "sent, waiting for the response"


class _Symmetric:
    """Chaining key and hash, 32 bytes each (Noise 5.2, SymmetricState)."""

    __slots__ = ("chain", "hash")

    def __init__(self, chain: bytes, transcript: bytes) -> None:
        self.chain = chain
        self.hash = transcript

    @classmethod
    def towards(cls, responder: bytes) -> Self:
        """Return the start of every handshake with `responder`, a public key."""
        return cls(_CHAIN, _hash(_HASH + responder))

    def copy(self) -> "_Symmetric":
        return _Symmetric(self.chain, self.hash)

    def mix_hash(self, data: bytes) -> None:
        self.hash = _hash(self.hash + data)

    def mix_ephemeral(self, public: bytes) -> None:
        self.mix_hash(public)
        (self.chain,) = _derive(self.chain, public, 1)

    def mix_key(self, secret: bytes) -> bytes:
        """Return the key for the next payload."""
        self.chain, key = _derive(self.chain, secret, 2)
        return key

    def mix_preshared(self, preshared: bytes) -> bytes:
        """Return the key for the next payload."""
        self.chain, mixed, key = _derive(self.chain, preshared, 3)
        self.mix_hash(mixed)
        return key

    def seal(self, key: bytes, plaintext: bytes) -> bytes:
        sealed = ChaCha20Poly1305(key).encrypt(_NONCE, plaintext, self.hash)
        self.mix_hash(sealed)
        return sealed

    def open(self, key: bytes, sealed: bytes) -> bytes:
        """Raises RemoteError(BAD_HANDSHAKE)."""
        try:
            plaintext = ChaCha20Poly1305(key).decrypt(_NONCE, sealed, self.hash)
        except InvalidTag:
            raise RemoteError(Drop.BAD_HANDSHAKE) from None
        self.mix_hash(sealed)
        return plaintext

    def split(self) -> tuple[bytes, bytes]:
        """Return the initiator's sending key and the responder's."""
        first, second = _derive(self.chain, b"", 2)
        return first, second


@dataclass(slots=True)
class _Pending:
    """What the initiator keeps until the response comes."""

    symmetric: _Symmetric
    ephemeral: X25519PrivateKey
    local_index: int


class Handshake:
    """The handshake that this end starts with one peer; at most one is under way."""

    __slots__ = ("_pending",)

    def __init__(self) -> None:
        self._pending: _Pending | None = None

    @property
    def state(self) -> State:
        """How far it has come."""
        return State.ZEROED if self._pending is None else State.CREATED_INITIATION

    @property
    def local_index(self) -> int | None:
        """The index under which the response is expected; None in ZEROED."""
        return None if self._pending is None else self._pending.local_index

    def initiate(
        self,
        identity: StaticIdentity,
        peer_public: bytes,
        *,
        index: int,
        timestamp: bytes,
        ephemeral: bytes,
    ) -> Initiation:
        """Start, in place of any handshake under way, whose `local_index` is then to be forgotten.

        `ephemeral` is 32 fresh random bytes, `index` a fresh random u32. The macs are left zero.
        Raises LocalError where no handshake with `peer_public` is possible.
        """
        private = X25519PrivateKey.from_private_bytes(ephemeral)
        public = private.public_key().public_bytes_raw()
        symmetric = _Symmetric.towards(peer_public)
        symmetric.mix_ephemeral(public)
        try:
            key = symmetric.mix_key(shared_secret(private, peer_public))
            static = symmetric.seal(key, identity.public)
            key = symmetric.mix_key(identity.exchange(peer_public))
        except ValueError:
            raise LocalError("the peer's public key is no usable curve point") from None
        sealed_timestamp = symmetric.seal(key, timestamp)
        self._pending = _Pending(symmetric, private, index)
        return Initiation(index, public, static, sealed_timestamp)

    def consume_response(
        self, identity: StaticIdentity, preshared: bytes, response: Response
    ) -> TransportKeys:
        """Finish, and return to ZEROED. `preshared` is 32 bytes, zeros for none.

        Raises RemoteError: UNKNOWN_INDEX where the response answers something else, BAD_HANDSHAKE
        where it does not authenticate. The handshake then goes on as if it had not come.
        """
        pending = self._pending
        if pending is None or pending.local_index != response.receiver:
            raise RemoteError(Drop.UNKNOWN_INDEX)
        symmetric = pending.symmetric.copy()
        symmetric.mix_ephemeral(response.ephemeral)
        try:
            symmetric.mix_key(shared_secret(pending.ephemeral, response.ephemeral))
            symmetric.mix_key(identity.exchange(response.ephemeral))
        except ValueError:
            raise RemoteError(Drop.BAD_HANDSHAKE) from None
        symmetric.open(symmetric.mix_preshared(preshared), response.empty)
        send, receive = symmetric.split()
        self.abandon()
        return TransportKeys(send, receive, response.receiver, response.sender, initiator=True)

    def abandon(self) -> None:
        """Forget the handshake under way, and its secrets; harmless where there is none."""
        self._pending = None


@dataclass(frozen=True, slots=True)
class OpenedInitiation:
    """An initiation that authenticated: `peer_public` has sent it, once, perhaps long ago.

    It may be a replay: it counts only if `timestamp` is greater than every one before it from that
    peer. `remote_index` is the peer's index for the session to be.
    """

    peer_public: bytes
    timestamp: bytes
    remote_index: int
    ephemeral: bytes
    symmetric: _Symmetric = field(repr=False)


def open_initiation(identity: StaticIdentity, initiation: Initiation) -> OpenedInitiation:
    """Find out who sent an initiation. Raises RemoteError(BAD_HANDSHAKE)."""
    symmetric = _Symmetric.towards(identity.public)
    symmetric.mix_ephemeral(initiation.ephemeral)
    try:
        key = symmetric.mix_key(identity.exchange(initiation.ephemeral))
        peer_public = symmetric.open(key, initiation.static)
        key = symmetric.mix_key(identity.exchange(peer_public))
    except ValueError:
        raise RemoteError(Drop.BAD_HANDSHAKE) from None
    timestamp = symmetric.open(key, initiation.timestamp)
    return OpenedInitiation(
        peer_public, timestamp, initiation.sender, initiation.ephemeral, symmetric
    )


def respond(
    opened: OpenedInitiation, preshared: bytes, *, index: int, ephemeral: bytes
) -> tuple[Response, TransportKeys]:
    """Answer an initiation. `preshared` is 32 bytes, zeros for none.

    `ephemeral` is 32 fresh random bytes, `index` a fresh random u32. The macs are left zero.
    Both public keys of the peer have been through `open_initiation`, which refuses low order.
    """
    private = X25519PrivateKey.from_private_bytes(ephemeral)
    public = private.public_key().public_bytes_raw()
    symmetric = opened.symmetric.copy()
    symmetric.mix_ephemeral(public)
    symmetric.mix_key(shared_secret(private, opened.ephemeral))
    symmetric.mix_key(shared_secret(private, opened.peer_public))
    empty = symmetric.seal(symmetric.mix_preshared(preshared), b"")
    receive, send = symmetric.split()
    response = Response(index, opened.remote_index, public, empty)
    return response, TransportKeys(send, receive, index, opened.remote_index, initiator=False)


def _hash(data: bytes) -> bytes:
    return blake2s(data).digest()


def _derive(chain: bytes, secret: bytes, count: int) -> list[bytes]:
    """Return `count` keys of 32 bytes (HKDF of Noise 4.3, with HMAC-BLAKE2s)."""
    root = mac(chain, secret)
    keys = [mac(root, b"\x01")]
    for number in range(2, count + 1):
        keys.append(mac(root, keys[-1] + bytes([number])))
    return keys


def mac(key: bytes, data: bytes) -> bytes:
    """Return HMAC-BLAKE2s (RFC 2104) under a key of at most 64 bytes, 32 bytes.

    `hmac.digest` has OpenSSL look its hash up each time: three times as long, 23 times a handshake.
    """
    padded = key.ljust(_BLOCK, b"\0")
    inner = blake2s(padded.translate(_INNER) + data).digest()
    return blake2s(padded.translate(_OUTER) + inner).digest()


# BLAKE2s takes 64 bytes at a time; every byte of a key is XORed with these (RFC 2104 2).
_BLOCK: Final = 64
_INNER, _OUTER = (bytes(byte ^ pad for byte in range(256)) for pad in (0x36, 0x5C))
_CHAIN: Final = _hash(CONSTRUCTION)
_HASH: Final = _hash(_CHAIN + IDENTIFIER)
