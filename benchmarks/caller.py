"""A caller: the other end of one handshake with a Tunnel in this process, kept no longer than that.

What a tunnel keeps of its peers can then be told by what the process grows by.
"""

import os
import time
from ipaddress import ip_address

from sacip_tun.protocol.address import Endpoint
from sacip_tun.protocol.cookie import CookieJar
from sacip_tun.protocol.handshake import Handshake
from sacip_tun.protocol.keys import StaticIdentity
from sacip_tun.protocol.messages import COOKIE_REPLY_SIZE, CookieReply, Response
from sacip_tun.protocol.session import Session
from sacip_tun.protocol.tai64n import timestamp
from sacip_tun.protocol.tunnel import Tunnel

HUB = Endpoint.parse("192.0.2.1:51820")
# Inner packets that go each way, and their length.
PACKETS, LENGTH = 8, 1200


class Caller:
    """One end. `spent` is the CPU time in seconds that the tunnel took for it."""

    def __init__(self, tunnel: Tunnel, private: bytes, number: int) -> None:
        self._tunnel = tunnel
        self._identity = StaticIdentity(private)
        self._jar = CookieJar(tunnel.public_key)
        self._handshake = Handshake()
        self._stamp: bytes | None = None
        self.at = Endpoint(ip_address("198.18.0.1") + number, 51820)
        self.spent = 0.0

    def let_in(self, *, now: float) -> Session:
        """Shake hands, where no cookie is asked for. Raises RuntimeError where one is."""
        session = self.call(now=now)
        if session is None:
            raise RuntimeError("a cookie is asked for")
        return session

    def call(self, *, now: float) -> Session | None:
        """Shake hands; None where a cookie came, with which the next call is let in."""
        self.knock(self.initiation(now=now), now=now)
        (answer,) = self._tunnel.datagrams_to_send()
        if len(answer.data) == COOKIE_REPLY_SIZE:
            self._jar.consume(CookieReply.parse(answer.data), now=now)
            return None
        response = Response.parse(answer.data)
        return Session(
            self._handshake.consume_response(self._identity, bytes(32), response), now=now
        )

    def initiation(self, *, now: float) -> bytes:
        """Return the datagram that begins a handshake."""
        self._stamp = timestamp(time.time_ns(), self._stamp, sacip=False)
        initiation = self._handshake.initiate(
            self._identity,
            self._tunnel.public_key,
            index=int.from_bytes(os.urandom(4), "little"),
            timestamp=self._stamp,
            ephemeral=os.urandom(32),
        )
        return self._jar.seal(initiation.encode(), now=now)

    def knock(self, data: bytes, *, now: float) -> None:
        """Hand a datagram to the tunnel, and count what it takes."""
        before = time.thread_time()
        self._tunnel.receive(data, HUB, self.at, now=now)
        self.spent += time.thread_time() - before

    def exchange(self, session: Session, *, now: float) -> None:
        """Move inner packets both ways: the session is confirmed, and in use, after that.

        Raises RuntimeError where the tunnel did not take them all, or may send none.
        """
        receiver = session.remote_index
        packets = [memoryview(b"\x45" + bytes(LENGTH - 1))] * PACKETS
        batch = self._tunnel.screen(receiver, range(PACKETS), packets, now=now)
        if batch is None or len(batch.inner) < PACKETS:
            raise RuntimeError("the session carries nothing")
        self._tunnel.arrived(batch, HUB, self.at, now=now)
        grant = batch.peer.grant(PACKETS, PACKETS * LENGTH, now=now)
        if grant is None:
            raise RuntimeError("the session may send nothing")
        grant.session.sender.encrypt(bytes(12), bytes(LENGTH), None)
        self._tunnel.datagrams_to_send()
        while self._tunnel.next_event():
            pass
