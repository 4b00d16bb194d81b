"""Requests of the UAPI (WireGuard's cross-platform configuration protocol), read line by line.

    set=1              private_key listen_port fwmark replace_peers
    public_key=...     preshared_key endpoint persistent_keepalive_interval replace_allowed_ips
                       allowed_ip protocol_version remove update_only
    <blank line>

A request is read whole before anything of it is done: the first wrong line refuses all of it. What
a line says is kept as a number where there may be many: a request has some megabytes.
"""

import errno
from collections.abc import Callable, Mapping
from dataclasses import replace
from socket import AF_INET, AF_INET6, inet_pton
from typing import Any

from sacip_tun.config import EndpointName
from sacip_tun.daemon.changes import AUTOMATIC, Change, PeerChange
from sacip_tun.daemon.resolver import literal
from sacip_tun.protocol.keys import KEY
from sacip_tun.protocol.prefix import prefix

# Bytes of a line, which has a key and a value of 64 digits at most, and of a whole request:
# 130,560 allowed IPs of IPv6 are 7 MB.
MAX_LINE, MAX_REQUEST = 1024, 64 << 20


class Refused(Exception):  # noqa: N818 - it is the answer
    """A request that is not done: `number` is the errno, `why` is for the log and holds no key."""

    def __init__(self, number: int, why: str) -> None:
        super().__init__(why)
        self.number = number
        self.why = why


class SetRequest:
    """One `set=1` while its lines come in; `change` raises Refused where one was wrong."""

    def __init__(self) -> None:
        self._change = Change()
        self._peers: list[PeerChange] = []
        self._peer: PeerChange | None = None
        self._allowed: list[int] = []
        self._refused: Refused | None = None

    def add(self, line: bytes) -> None:
        """Read one line, without its end; what comes after a wrong one is not looked at."""
        if self._refused is not None:
            return
        key, equals, value = line.partition(b"=")
        try:
            if key == b"allowed_ip" and self._peer is not None:
                self._allowed.append(allowed_ip(value))
            else:
                self._read(key, equals, value)
        except Refused as refused:
            self._refused = refused

    @property
    def change(self) -> Change:
        """All of it. Raises Refused."""
        if self._refused is not None:
            raise self._refused
        self._end_peer()
        return replace(self._change, peers=self._peers)

    def _read(self, key: bytes, equals: bytes, value: bytes) -> None:
        if not equals:
            raise Refused(errno.EPROTO, "a line without '='")
        if key == b"public_key":
            self._end_peer()
            self._peer = PeerChange(hex_key(value))
            return
        readers = DEVICE_KEYS if self._peer is None else PEER_KEYS
        if key not in readers:
            raise Refused(errno.EINVAL, f"unknown key {_shown(key)}")
        field, read = readers[key]
        try:
            found = read(value)
        except Refused as refused:
            raise Refused(refused.number, f"{_shown(key)}: {refused.why}") from None
        if self._peer is None:
            self._change = replace(self._change, **{field: found})
        elif field:
            self._peer = replace(self._peer, **{field: found})
            if field == "replace_allowed_ips":
                self._allowed = []

    def _end_peer(self) -> None:
        if self._peer is not None:
            self._peers.append(replace(self._peer, allowed_ips=self._allowed))
        self._peer, self._allowed = None, []


def hex_key(value: bytes) -> bytes:
    """Read a key of 64 hexadecimal digits. Raises Refused, which does not repeat it."""
    try:
        if len(value) == 2 * KEY and value.isalnum():
            return bytes.fromhex(value.decode("ascii"))
    except ValueError:
        pass
    raise Refused(errno.EINVAL, f"a key has {2 * KEY} hexadecimal digits")


def number(at_most: int) -> Callable[[bytes], int]:
    """Return a reader of decimal numbers from 0 to `at_most`. It raises Refused."""

    def read(value: bytes) -> int:
        if value.isdigit() and len(value) <= 20 and int(value) <= at_most:
            return int(value)
        raise Refused(errno.EINVAL, f"{_shown(value)} is no number from 0 to {at_most}")

    return read


def keepalive(value: bytes) -> int:
    """Read seconds; `wg` says 0 where a file says nothing. Raises Refused."""
    return number(0xFFFF)(value) or AUTOMATIC


def true(value: bytes) -> bool:
    """Read `true`: there is no other value. Raises Refused."""
    if value != b"true":
        raise Refused(errno.EINVAL, f"{_shown(value)} is not 'true'")
    return True


def endpoint(value: bytes) -> EndpointName:
    """Read `192.0.2.1:51820`, `[2001:db8::1]:51820` or `[fe80::1%eth0]:51820`. Raises Refused."""
    text = value.decode("ascii", "replace")
    host, _, port = text.rpartition(":")
    address = literal(text)
    bracketed = host.startswith("[") and host.endswith("]")
    if address is None or bracketed != (address.host.version == 6):
        raise Refused(errno.EINVAL, f"{_shown(value)} is no address and port")
    return EndpointName(host.strip("[]"), int(port))


def allowed_ip(value: bytes) -> int:
    """Read `10.0.0.0/8`, host bits or not, and after a `-` return ~prefix. Raises Refused."""
    taken = value.startswith(b"-")
    address, _, digits = (value[1:] if taken else value).partition(b"/")
    try:
        kind = AF_INET6 if b":" in address else AF_INET
        packed = inet_pton(kind, address.decode("ascii"))
    except (OSError, ValueError):
        raise Refused(errno.EINVAL, f"allowed_ip: {_shown(value)} is no network") from None
    if not digits.isdigit() or len(digits) > 3 or int(digits) > 8 * len(packed):
        raise Refused(errno.EINVAL, f"allowed_ip: {_shown(value)} has no prefix length")
    code = prefix(packed, int(digits))
    return ~code if taken else code


def protocol_version(value: bytes) -> None:
    """Read `1`: there is no other version. Raises Refused."""
    if value != b"1":
        raise Refused(errno.EINVAL, f"{_shown(value)} is no version of the protocol")


Reader = tuple[str, Callable[[bytes], Any]]

DEVICE_KEYS: Mapping[bytes, Reader] = {
    b"private_key": ("private_key", hex_key),
    b"listen_port": ("listen_port", number(0xFFFF)),
    b"fwmark": ("fwmark", number(0xFFFFFFFF)),
    b"replace_peers": ("replace_peers", true),
}
PEER_KEYS: Mapping[bytes, Reader] = {
    b"remove": ("remove", true),
    b"update_only": ("update_only", true),
    b"preshared_key": ("preshared_key", hex_key),
    b"endpoint": ("endpoint", endpoint),
    b"persistent_keepalive_interval": ("keepalive", keepalive),
    b"replace_allowed_ips": ("replace_allowed_ips", true),
    b"protocol_version": ("", protocol_version),
}


def _shown(value: bytes) -> str:
    """Return what may be printed of a value that is no secret."""
    return repr(value[:64].decode("ascii", "replace"))
