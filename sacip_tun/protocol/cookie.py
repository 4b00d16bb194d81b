"""Message authentication codes and cookies: what is cheap to check before anything that is not.

    mac1 = MAC(HASH("mac1----" | responder's public key), message before mac1)
    mac2 = MAC(cookie, message before mac2), zeros where the sender has no cookie
    cookie = MAC(secret of the responder, source address | source port)

mac1 proves that the sender knows whom it talks to; a busy responder asks for mac2, which proves
that the sender receives what is sent to its address (WireGuard 5.3, 5.4.4, 5.4.7). MAC is keyed
BLAKE2s with 16 bytes of output. A cookie says nothing else: it never moves an endpoint.
"""

import hmac
from collections.abc import Callable
from hashlib import blake2s
from typing import Final

from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt as xchacha_open,
)
from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_encrypt as xchacha_seal,
)
from nacl.exceptions import CryptoError

from sacip_tun.protocol.address import Endpoint
from sacip_tun.protocol.errors import Drop, RemoteError
from sacip_tun.protocol.limits import COOKIE_LATENCY, COOKIE_REFRESH_TIME
from sacip_tun.protocol.messages import MAC, MACS, CookieReply

LABEL_MAC1: Final = b"mac1----"
LABEL_COOKIE: Final = b"cookie--"


class CookieChecker:
    """The responder's side: checks macs, hands out cookies. One for each tunnel.

    Its methods take whole datagrams of type 1 or 2, whose length has been checked.
    """

    __slots__ = ("_born", "_cookie_key", "_entropy", "_mac1_key", "_secret")

    def __init__(self, public_key: bytes, entropy: Callable[[int], bytes]) -> None:
        self._mac1_key = _label_key(LABEL_MAC1, public_key)
        self._cookie_key = _label_key(LABEL_COOKIE, public_key)
        self._entropy = entropy
        self._secret: bytes | None = None
        self._born = 0.0

    def mac1_ok(self, datagram: bytes) -> bool:
        """Tell whether the sender knows our public key."""
        expected = _mac(self._mac1_key, datagram[:-MACS])
        return hmac.compare_digest(expected, datagram[-MACS:-MAC])

    def mac2_ok(self, datagram: bytes, source: Endpoint, *, now: float) -> bool:
        """Tell whether the sender holds a cookie that we gave to `source`, address and port."""
        if self._secret is None or now - self._born >= COOKIE_REFRESH_TIME:
            return False
        expected = _mac(_cookie(self._secret, source), datagram[:-MAC])
        return hmac.compare_digest(expected, datagram[-MAC:])

    def reply(self, datagram: bytes, source: Endpoint, *, nonce: bytes, now: float) -> CookieReply:
        """Return a cookie for `source`, which only the sender of `datagram` can open.

        `nonce` is 24 fresh random bytes.
        """
        if self._secret is None or now - self._born >= COOKIE_REFRESH_TIME:
            self._secret = self._entropy(32)
            self._born = now
        cookie = _cookie(self._secret, source)
        mac1 = datagram[-MACS:-MAC]
        receiver = int.from_bytes(datagram[4:8], "little")
        return CookieReply(receiver, nonce, xchacha_seal(cookie, mac1, nonce, self._cookie_key))


class CookieJar:
    """The initiator's side: signs messages to one peer, keeps the cookie that it sent."""

    __slots__ = ("_born", "_cookie", "_peer_public", "_sent_mac1")

    def __init__(self, peer_public: bytes) -> None:
        # The two keys that are made of it are not kept: a handshake needs each for a microsecond.
        self._peer_public = peer_public
        self._cookie: bytes | None = None
        self._born = 0.0
        self._sent_mac1: bytes | None = None

    def seal(self, message: bytes, *, now: float) -> bytes:
        """Return the datagram: an encoded Initiation or Response with its last 32 bytes set."""
        body = message[:-MACS]
        mac1 = _mac(_label_key(LABEL_MAC1, self._peer_public), body)
        self._sent_mac1 = mac1
        if self._cookie is not None and now - self._born >= COOKIE_REFRESH_TIME - COOKIE_LATENCY:
            self._cookie = None
        mac2 = bytes(MAC) if self._cookie is None else _mac(self._cookie, body + mac1)
        return body + mac1 + mac2

    def consume(self, reply: CookieReply, *, now: float) -> None:
        """Keep the cookie for the next messages. Raises RemoteError(BAD_COOKIE).

        Each message sent can be answered by one cookie; a second answer is refused.
        """
        if self._sent_mac1 is None:
            raise RemoteError(Drop.BAD_COOKIE)
        key = _label_key(LABEL_COOKIE, self._peer_public)
        try:
            cookie = xchacha_open(reply.cookie, self._sent_mac1, reply.nonce, key)
        except CryptoError:
            raise RemoteError(Drop.BAD_COOKIE) from None
        self._cookie = cookie
        self._born = now
        self._sent_mac1 = None


def _label_key(label: bytes, public_key: bytes) -> bytes:
    return blake2s(label + public_key).digest()


def _mac(key: bytes, data: bytes) -> bytes:
    return blake2s(data, key=key, digest_size=MAC).digest()


def _cookie(secret: bytes, source: Endpoint) -> bytes:
    return _mac(secret, source.host.packed + source.port.to_bytes(2, "big"))
