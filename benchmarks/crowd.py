"""A crowd: peers that a hub knows and that never call, to measure beside those that do.

    hub.up_from_file(real, *crowd(10_000))

Each has its own key and one inner address of 10.100.0.0/14. Nobody has the private keys, so that no
member can answer. The same number gives the same peers.
"""

from hashlib import sha256
from ipaddress import ip_address

from sacip_tun.lab.tunnel import Remote
from sacip_tun.protocol.keys import to_base64

FIRST = ip_address("10.100.0.1")


def crowd(count: int, *, endpoints: bool = False) -> tuple[Remote, ...]:
    """Return `count` peers; with `endpoints`, at addresses of 198.18.0.0/15 (RFC 2544)."""
    return tuple(_member(number, endpoints=endpoints) for number in range(count))


def public_key(number: int) -> bytes:
    """Return the key of a member: 32 bytes that are a point of the curve, as any are."""
    return sha256(b"crowd %d" % number).digest()


def _member(number: int, *, endpoints: bool) -> Remote:
    endpoint = f"{ip_address('198.18.0.1') + number}:51820" if endpoints else None
    return Remote(to_base64(public_key(number)), endpoint, (f"{FIRST + number}/32",))
