"""The rtnetlink socket: requests that are answered, and dumps of whole tables.

pyroute2's own sockets are not used: its asyncio API opens a datagram transport, which uvloop
refuses for AF_NETLINK, and its synchronous API runs a loop of its own, which cannot be inside
another.
"""

import errno
import os
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from struct import Struct
from typing import Any, Self, TypeVar

from sacip_tun.linux import messages
from sacip_tun.linux.messages import Message, codecs
from sacip_tun.linux.routes import DEFAULT_RULES, Route, Rule

# linux/netlink.h
SOL_NETLINK, NETLINK_EXT_ACK = 270, 11
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR = 0x01, 0x04, 0x300, 0x10
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE = 0x100, 0x200, 0x400
# struct nlmsghdr, alone and with what an NLMSG_ERROR begins with.
NLMSGHDR, NLMSGERR = Struct("=IHHII"), Struct("=IHHIIi")
# Requests in one call: their acknowledgements must fit into the socket's queue.
REQUESTS_AT_ONCE = 64
# linux/rtnetlink.h
RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWRULE, RTM_DELRULE, RTM_GETRULE = 32, 33, 34
# RTMGRP_*: link, IPv4 address, route and rule, IPv6 address, route and rule.
GROUPS = 0x1 | 0x10 | 0x40 | 0x80 | 0x100 | 0x400 | 0x40000
# Larger than any message: links with many virtual functions pass 16 KB.
DATAGRAM_CAPACITY = 1 << 16
# What the kernel may keep for us before it says ENOBUFS, in bytes: some 2,000 messages.
RECEIVE_BUFFER = 2 << 20
SO_RCVBUFFORCE = 33
# The kernel answers at once; more than this, in seconds, is a bug and must not hang the daemon.
ANSWER_TIMEOUT = 2.0
# How often a dump that was interrupted by a change is done again.
DUMP_TRIES = 4

Fact = TypeVar("Fact")


class RtnetlinkSocket:
    """A blocking socket for requests. Close it, or use it in a `with`."""

    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
        )
        self._socket.bind((0, 0))
        self._socket.settimeout(ANSWER_TIMEOUT)
        with suppress(OSError):  # before Linux 4.12: errors without a text
            self._socket.setsockopt(SOL_NETLINK, NETLINK_EXT_ACK, 1)
        self._sequence = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def request(self, message: Message, kind: int, flags: int = 0) -> None:
        """Ask for a change. Raises OSError with the kernel's own explanation where it gives one."""
        self._send(message, kind, flags | NLM_F_REQUEST | NLM_F_ACK)
        for _ in self._answers():
            pass

    def request_each(self, bodies: Iterable[bytes], kind: int, flags: int) -> list[OSError | None]:
        """Ask for many changes, some in one call; returns for each why not, None where it was done.

        `bodies` are messages without their header. Raises OSError where the kernel does not answer.
        """
        refusals = list[OSError | None]()
        waiting = iter(bodies)
        while some := list(islice(waiting, REQUESTS_AT_ONCE)):
            refusals += self._request_some(some, kind, flags | NLM_F_REQUEST | NLM_F_ACK)
        return refusals

    def _request_some(self, bodies: list[bytes], kind: int, flags: int) -> Iterator[OSError | None]:
        numbers = range(self._sequence + 1, self._sequence + 1 + len(bodies))
        self._sequence += len(bodies)
        packed = (
            NLMSGHDR.pack(NLMSGHDR.size + len(body), kind, flags, number, 0) + body
            for number, body in zip(numbers, bodies, strict=True)
        )
        self._socket.send(b"".join(packed))
        answers = dict[int, OSError | None]()
        while len(answers) < len(bodies):
            answers.update(acknowledged(self._socket.recv(DATAGRAM_CAPACITY)))
        return (answers[number] for number in numbers)

    def dump(
        self, message: Message, kind: int, read: Callable[[Message], Iterable[Fact]]
    ) -> list[Fact]:
        """Return what `read` finds in all that the kernel has of `kind`. Raises OSError.

        No message is kept: a decoded route takes several KB, and there may be thousands.
        """
        for _ in range(DUMP_TRIES):
            self._send(message, kind, NLM_F_REQUEST | NLM_F_DUMP)
            facts = list[Fact]()
            interrupted = 0
            for answer in self._answers():
                interrupted |= answer["header"]["flags"] & NLM_F_DUMP_INTR
                facts += read(answer)
            if not interrupted:
                break
        return facts

    def _send(self, message: Message, kind: int, flags: int) -> None:
        self._sequence += 1
        message["header"]["type"] = kind
        message["header"]["flags"] = flags
        message["header"]["sequence_number"] = self._sequence
        message.encode()
        self._socket.send(message.data)

    def _answers(self) -> Iterator[Message]:
        while True:
            for message in messages.decoded(self._socket.recv(DATAGRAM_CAPACITY)):
                header = message["header"]
                if header["sequence_number"] != self._sequence:
                    continue
                if header["error"] is not None:
                    raise _os_error(header["error"])
                if header["type"] in {NLMSG_DONE, NLMSG_ERROR}:
                    return
                yield message

    def links(self) -> list[Message]:
        """Dump the interfaces."""
        return self.dump(codecs().link(), RTM_GETLINK, _whole)

    def addresses(self) -> list[Message]:
        """Dump the addresses of both families."""
        return self.dump(codecs().address(), RTM_GETADDR, _whole)

    def routes(self) -> list[Route]:
        """Dump the routes of all tables, both families."""
        return self._dump_families(codecs().route, RTM_GETROUTE, messages.routes_of)

    def route_messages(self) -> list[Message]:
        """Dump the same routes as messages, with all that the kernel says of them."""
        return self._dump_families(codecs().route, RTM_GETROUTE, _whole)

    def rules(self) -> list[Rule]:
        """Dump the rules; the kernel's standard ones where it knows no others."""
        try:
            return self._dump_families(codecs().rule, RTM_GETRULE, _rules_of)
        except OSError as error:
            if error.errno not in {errno.EOPNOTSUPP, errno.EAFNOSUPPORT}:
                raise
            return list(DEFAULT_RULES)

    def _dump_families(
        self, codec: Callable[[], Any], kind: int, read: Callable[[Message], Iterable[Fact]]
    ) -> list[Fact]:
        facts = list[Fact]()
        for family in messages.VERSIONS:
            message = codec()
            message["family"] = family
            facts += self.dump(message, kind, read)
        return facts


def acknowledged(datagram: bytes) -> Iterator[tuple[int, OSError | None]]:
    """Yield the sequence number of each request that is answered, and why it was refused."""
    length, kind, _, sequence, _, code = NLMSGERR.unpack_from(datagram)
    if kind == NLMSG_ERROR and not code and length >= len(datagram):
        yield sequence, None  # nearly all are so; decoding one takes 50 us
        return
    for message in messages.decoded(datagram):
        header = message["header"]
        if header["type"] == NLMSG_ERROR:
            error = header["error"]
            yield header["sequence_number"], None if error is None else _os_error(error)


def _whole(message: Message) -> Iterable[Message]:
    return (message,)


def _rules_of(message: Message) -> Iterable[Rule]:
    rule = messages.rule_of(message)
    return () if rule is None else (rule,)


def present(read: Callable[[Message], Fact | None], answers: list[Message]) -> list[Fact]:
    """Return the facts that `read` finds in `answers`."""
    return [fact for fact in map(read, answers) if fact is not None]


def _os_error(error: Exception) -> OSError:
    """Return an OSError for pyroute2's NetlinkError (code, text)."""
    code, text = error.args[0], error.args[1] if len(error.args) > 1 else None
    return OSError(code, f"{os.strerror(code)}: {text}" if text else os.strerror(code))


def notification_socket() -> socket.socket:
    """Return a non-blocking socket that hears of every change; read it with `datagrams`."""
    sock = socket.socket(
        socket.AF_NETLINK,
        socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK,
        socket.NETLINK_ROUTE,
    )
    try:
        try:
            sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
        except PermissionError:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        sock.bind((0, GROUPS))
    except OSError:
        sock.close()
        raise
    return sock


def datagrams(sock: socket.socket, limit: int) -> Iterator[bytes]:
    """Yield at most `limit` datagrams that are waiting. Raises OSError: ENOBUFS after a loss."""
    for _ in range(limit):
        try:
            data, (sender, _) = sock.recvfrom(DATAGRAM_CAPACITY)
        except BlockingIOError:
            return
        if sender == 0:  # the kernel; another process could only forge
            yield data
