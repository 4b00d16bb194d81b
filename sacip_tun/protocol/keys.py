"""Keys: 32 bytes each, in base64 as `wg` writes them, and this end's identity.

Python cannot promise to erase a secret: `bytes` are immutable and the cipher library keeps copies.
This room drops its references as soon as it can, and no `repr` shows a secret.
"""

from base64 import b64decode, b64encode
from typing import Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from sacip_tun.protocol.errors import LocalError

KEY: Final = 32
# Length in characters of a key in base64, the final "=" included.
BASE64_KEY: Final = 44
# Stands for "no preshared key" (WireGuard 5.4).
NO_PRESHARED_KEY: Final = bytes(KEY)
# Where none has been set yet: as a scalar it would be clamped, so it is nobody's.
NO_PRIVATE_KEY: Final = bytes(KEY)


class StaticIdentity:
    """This end's long-term key pair. `public` is what peers call us."""

    __slots__ = ("_private", "_shared", "public")

    def __init__(self, private: bytes) -> None:
        self._private = X25519PrivateKey.from_private_bytes(_checked(private))
        self.public: Final = self._private.public_key().public_bytes_raw()
        self._shared: dict[bytes, bytes | None] = {}

    def exchange(self, public: bytes) -> bytes:
        """Return the secret shared with the owner of `public`, 32 bytes.

        Raises ValueError for a point of low order, with which everybody shares the same secret.
        """
        secret = self._shared.get(public)
        if secret is None:
            secret = shared_secret(self._private, public)
            if public in self._shared:
                self._shared[public] = secret
        return secret

    def remember(self, public: bytes) -> None:
        """Keep the secret shared with a peer from its next use on: every handshake needs it.

        Only for keys that the user gave: of others there are as many as strangers like.
        """
        self._shared.setdefault(public)

    def forget(self, public: bytes) -> None:
        """Drop the secret shared with a peer; harmless where there is none."""
        self._shared.pop(public, None)

    def __repr__(self) -> str:
        return f"StaticIdentity({to_base64(self.public)})"


class NoIdentity(StaticIdentity):
    """Stands in where no private key is set: nobody can reach this end, and it reaches nobody.

    `random` are 32 random bytes. The public key that belongs to them is told to nobody.
    """

    __slots__ = ()

    def exchange(self, public: bytes) -> bytes:
        """Refuse, as for a point of low order."""
        raise ValueError(f"there is no private key to reach {to_base64(public)} with")


def shared_secret(private: X25519PrivateKey, public: bytes) -> bytes:
    """Return X25519(private, public), 32 bytes (RFC 7748 section 5).

    Raises ValueError where the result is zero: `public` is a point of low order.
    """
    return private.exchange(X25519PublicKey.from_public_bytes(public))


def public_key(private: bytes) -> bytes:
    """Return the public key of a private one. Raises LocalError where it is not 32 bytes."""
    return StaticIdentity(private).public


def clamped(private: bytes) -> bytes:
    """Return random bytes as a private key, in the form in which `wg genkey` prints them.

    X25519 clamps by itself (RFC 7748 section 5): this only makes equal keys look equal.
    Raises LocalError where `private` is not 32 bytes.
    """
    key = bytearray(_checked(private))
    key[0] &= 248
    key[31] = key[31] & 127 | 64
    return bytes(key)


def from_base64(text: str) -> bytes:
    """Read a key as `wg` does: 44 characters, canonical base64 of 32 bytes.

    Raises LocalError, whose message never has the text in it: it may be a secret.
    """
    if len(text) != BASE64_KEY:
        raise LocalError(f"a key has {BASE64_KEY} characters of base64, this one has {len(text)}")
    try:
        key = b64decode(text, validate=True)
    except ValueError:
        raise LocalError("the key is not base64") from None
    if len(key) != KEY or to_base64(key) != text:
        raise LocalError(f"the key is not the base64 of {KEY} bytes as wg writes it")
    return key


def to_base64(key: bytes) -> str:
    """Return a key as `wg` writes it, 44 characters."""
    return b64encode(key).decode("ascii")


def _checked(key: bytes) -> bytes:
    if len(key) != KEY:
        raise LocalError(f"a key has {KEY} bytes, this one has {len(key)}")
    return key
