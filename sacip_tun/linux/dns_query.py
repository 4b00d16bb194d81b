"""A name looked up outside the tunnel, by sockets with the mark of its own datagrams.

The system's resolver knows no mark. With a full tunnel its questions go into the tunnel, which is
down when the peer's name is asked for: nothing would ever come back. So the name servers of the
network outside are asked here, for A and AAAA, and nothing else (RFC 1035 section 4).
"""

import os
import re
import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address

from sacip_tun.linux.resolv_conf import PATH, Before
from sacip_tun.linux.socket_options import set_mark
from sacip_tun.protocol.address import Host

PORT = 53
# RFC 1035, RFC 3596: record types and the class of the Internet.
A, AAAA, IN = 1, 28, 1
# Header: identifier, flags, and the lengths of four sections. A record behind its name.
HEADER, RECORD, QUESTION = struct.Struct("!6H"), struct.Struct("!HHIH"), struct.Struct("!HH")
IS_ANSWER, RECURSION_DESIRED = 0x8000, 0x0100
# A label's length, or a pointer, whose two highest bits are set.
POINTER = 0xC0
# Seconds for one answer, and how often a server is asked.
PATIENCE, TRIES = 1.5, 2
# More than any server sends that was not told of larger buffers, in bytes.
CAPACITY = 4096


def servers_of(text: str) -> list[Host]:
    """Return the name servers in a resolv.conf."""
    found = re.findall(r"^nameserver\s+([0-9a-fA-F.:]+)\s*$", text, re.MULTILINE)
    hosts = list[Host]()
    for word in found:
        with suppress(ValueError):
            hosts.append(ip_address(word))
    return hosts


def text_of(before: Before) -> str:
    """Return what a resolv.conf said before it was ours; a link's target says what is so now."""
    if "link" in before:
        with suppress(OSError):
            return (PATH.parent / str(before["link"])).read_text(errors="replace")
    return str(before.get("text", ""))


def look_up(name: str, servers: Iterable[Host], mark: int) -> list[Host]:
    """Return the addresses of `name` as the first server tells that knows any.

    Blocks for seconds: call it in a thread. Raises OSError where nobody knows.
    """
    for server in servers:
        for _ in range(TRIES):
            with suppress(OSError):  # silence, or a refusal: the next try, then the next server
                found = [host for kind in (AAAA, A) for host in _ask(name, kind, server, mark)]
                if found:
                    return found
    raise OSError(f"no name server outside the tunnel knows {name}")


def _ask(name: str, kind: int, server: Host, mark: int) -> list[Host]:
    identifier = int.from_bytes(os.urandom(2), "big")
    asked = question(name, kind, identifier)
    family = socket.AF_INET if server.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        if mark:
            set_mark(sock, mark)
        sock.settimeout(PATIENCE)
        sock.connect((str(server), PORT))
        sock.send(asked)
        while True:
            said = answers(sock.recv(CAPACITY), asked)
            if said is not None:
                return said


def question(name: str, kind: int, identifier: int) -> bytes:
    """Return a question for records of `kind`. Raises OSError where `name` cannot be asked for."""
    labels = [label.encode("ascii", "replace") for label in name.rstrip(".").split(".")]
    if not all(0 < len(label) < 64 for label in labels):
        raise OSError(f"{name} is no name")
    written = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    return (
        HEADER.pack(identifier, RECURSION_DESIRED, 1, 0, 0, 0) + written + QUESTION.pack(kind, IN)
    )


def answers(datagram: bytes, asked: bytes) -> list[Host] | None:
    """Return the addresses in an answer to `asked`; None where it is no answer to that."""
    if len(datagram) < len(asked) or datagram[:2] != asked[:2]:
        return None
    _, flags, questions, records, *_ = HEADER.unpack_from(datagram)
    same = datagram[HEADER.size : len(asked)].lower() == asked[HEADER.size :].lower()
    if not flags & IS_ANSWER or questions != 1 or not same:
        return None
    return list(_addresses(datagram, len(asked), records))


def _addresses(datagram: bytes, position: int, records: int) -> Iterator[Host]:
    for _ in range(records):
        position = _behind_name(datagram, position)
        if position + RECORD.size > len(datagram):
            return
        kind, of, _, length = RECORD.unpack_from(datagram, position)
        position += RECORD.size
        data = datagram[position : position + length]
        position += length
        if of == IN and kind == A and len(data) == length == 4:
            yield IPv4Address(data)
        elif of == IN and kind == AAAA and len(data) == length == 16:
            yield IPv6Address(data)


def _behind_name(datagram: bytes, position: int) -> int:
    """Return where a name ends; what a pointer leads to is of no interest here."""
    while position < len(datagram):
        length = datagram[position]
        if length >= POINTER:
            return position + 2
        position += 1 + length
        if not length:
            return position
    return len(datagram)
