"""Two tunnels in memory with a network between them: the main bench for the protocol room.

Time is a number that `run` advances; a roam is one line, `host.move_to("192.0.2.7")`.
"""

import heapq
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from itertools import count

from cryptography.exceptions import InvalidTag

from sacip_tun.datapath.tag import tag_of
from sacip_tun.protocol import messages
from sacip_tun.protocol.address import Endpoint
from sacip_tun.protocol.context import Datagram
from sacip_tun.protocol.errors import Drop, RemoteError
from sacip_tun.protocol.events import Event
from sacip_tun.protocol.facts import LocalFacts, Source
from sacip_tun.protocol.frames import Reason
from sacip_tun.protocol.keys import StaticIdentity
from sacip_tun.protocol.peer import Peer
from sacip_tun.protocol.settings import PeerSettings
from sacip_tun.protocol.tunnel import Tunnel

EPOCH_NS = 1_700_000_000 * 10**9
PORT = 51820


def endpoint(host: str, port: int = PORT) -> Endpoint:
    return Endpoint(ip_address(host), port)


def inner(source: str, destination: str, payload: bytes = b"hello") -> bytes:
    """A minimal IPv4 packet of protocol 253 (for experiments, RFC 3692)."""
    header = bytearray(20)
    header[0] = 0x45
    header[2:4] = (20 + len(payload)).to_bytes(2, "big")
    header[8:10] = bytes([64, 253])
    header[12:16] = ip_address(source).packed
    header[16:20] = ip_address(destination).packed
    return bytes(header) + payload


def inner_tcp(source: str, destination: str, sequence: int, payload: bytes) -> bytes:
    """A minimal TCP segment from port 1000 to port 2000."""
    header = (1000 << 16 | 2000).to_bytes(4, "big") + sequence.to_bytes(4, "big")
    header += bytes(4) + b"\x50\x10" + bytes(6)
    packet = bytearray(inner(source, destination, header + payload))
    packet[9] = 6
    return bytes(packet)


def datagrams(sent: Datagram) -> list[bytes]:
    """What the kernel makes of it."""
    size = sent.segment_size or len(sent.data)
    return [sent.data[start : start + size] for start in range(0, len(sent.data), size)]


@dataclass
class Host:
    """One tunnel, the addresses that it has, and what it was given to deliver."""

    name: str
    tunnel: Tunnel
    inner_address: str
    addresses: list[str]
    world: "World"
    events: list[Event] = field(default_factory=list)
    delivered: list[bytes] = field(default_factory=list)
    sealed: list[bytes] = field(default_factory=list)  # inner packets that have gone out

    @property
    def peer(self) -> Peer:
        return self.tunnel.peers[next(iter(self.tunnel.peers))]

    def address_for(self, remote: Endpoint) -> Endpoint | None:
        """What the kernel would choose: the first address of the family."""
        ours = (endpoint(host) for host in self.addresses)
        return next((end for end in ours if end.host.version == remote.host.version), None)

    def of(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]

    def send(self, destination: str, payload: bytes = b"hello") -> None:
        self._take_inner(inner(self.inner_address, destination, payload))

    def _take_inner(self, packet: bytes) -> None:
        """Send in turn, as the pump does: what waits goes first."""
        peer = self.tunnel.route(packet[16:20])
        assert peer is not None
        if peer.delivery.waiting and peer.can_send(now=self.world.now):
            self.flush(peer)
        if peer.delivery.waiting:
            peer.stage(packet, tag_of(memoryview(packet)), now=self.world.now)
        else:
            self._send(packet)
        self.world.settle(self)

    def send_tcp(self, destination: str, sequence: int, payload: bytes = b"") -> None:
        """Send a segment of one connection; without payload it is an acknowledgement."""
        self._take_inner(inner_tcp(self.inner_address, destination, sequence, payload))

    def _send(self, packet: bytes, *, again: bool = False) -> None:
        now = self.world.now
        peer = self.tunnel.route(packet[16:20])
        assert peer is not None
        grant = peer.grant(1, len(packet), now=now)
        if grant is None:
            peer.stage(packet, tag_of(memoryview(packet)), first=again, now=now)
            return
        session = grant.session
        header = messages.DATA_FORMAT.pack(messages.DATA, session.remote_index, grant.first_counter)
        padded = packet.ljust(messages.padded_length(len(packet)), b"\0")
        sealed = header + session.sender.encrypt(bytes(4) + header[8:], padded, None)
        self.sealed.append(packet)
        self.world.carry(self, sealed, grant.local, grant.remote)
        peer.sent(memoryview(sealed), len(sealed), grant.session, now=now)

    def flush(self, peer: Peer) -> None:
        for waiting in peer.take_held(now=self.world.now):
            before = len(peer.delivery.hold)
            self._send(waiting.packet, again=True)
            if len(peer.delivery.hold) > before:
                break

    def take(self, datagram: bytes, local: Endpoint, remote: Endpoint) -> None:
        now = self.world.now
        try:
            kind = messages.message_type(datagram)
            receiver = messages.data_receiver(datagram) if kind == messages.DATA else None
        except RemoteError:
            receiver = None
        if receiver is None:
            self.tunnel.receive(datagram, local, remote, now=now)
        elif receiver in self.tunnel.keyring:
            self._open(receiver, datagram, local, remote)
        self.world.settle(self)

    def _open(self, receiver: int, datagram: bytes, local: Endpoint, remote: Endpoint) -> None:
        nonce = bytes(4) + datagram[8:16]
        try:
            plain = self.tunnel.keyring[receiver].decrypt(nonce, datagram[16:], None)
        except InvalidTag:
            self.tunnel.drops[Drop.BAD_TAG] += 1
            return
        counter = messages.data_counter(datagram)
        now = self.world.now
        batch = self.tunnel.screen(receiver, [counter], [memoryview(plain)], now=now)
        if batch is None:
            return
        for packet in batch.inner:
            if self.tunnel.route(bytes(packet[12:16])) is batch.peer:
                self.delivered.append(bytes(packet))
            else:
                self.tunnel.drops[Drop.FORBIDDEN_SOURCE] += 1
        self.tunnel.arrived(batch, local, remote, now=now)

    def facts(self, *sources: str, reason: Reason = Reason.ADDRESS_REMOVED) -> None:
        """Tell the tunnel that these addresses lead to its peers, best first."""
        usable = tuple(
            Source(endpoint(host), 2, preferred=position == 0)
            for position, host in enumerate(sources)
        )
        self.told(*usable, reason=reason)

    def told(self, *sources: Source, reason: Reason = Reason.ADDRESS_REMOVED) -> None:
        """Tell the tunnel of sources in every detail."""
        hosts = [str(source.endpoint.host) for source in sources]
        gone = {ip_address(host): reason for host in self.addresses if host not in hosts}
        self.addresses = hosts
        present = frozenset(ip_address(host) for host in hosts)
        facts = LocalFacts(dict.fromkeys(self.tunnel.peers, sources), present, gone)
        self.tunnel.addresses_changed(facts, now=self.world.now)
        self.world.settle(self)

    def move_to(self, host: str) -> None:
        """Break before make."""
        self.facts(host)


class World:
    """Carries datagrams between hosts with a latency in seconds; `tap` sees, changes or drops.

    `jitter` is at most so many seconds more for each, so that they overtake one another.
    `clock_error` is by how many seconds the wall clocks of all hosts are wrong.
    """

    def __init__(self, latency: float = 0.010, seed: int = 1) -> None:
        self.now = 1000.0
        self.latency = latency
        self.hosts: list[Host] = []
        self.random = random.Random(seed)
        self.sent: list[tuple[float, Endpoint, Endpoint, bytes]] = []
        self.tap: Callable[[Endpoint, Endpoint, bytes], Iterable[tuple[Endpoint, Endpoint]]]
        self.tap = lambda source, destination, _data: [(source, destination)]
        self.jitter = 0.0
        self.clock_error = 0.0
        self._queue: list[tuple[float, int, Endpoint, Endpoint, bytes]] = []
        self._order = count()

    def host(self, name: str, inner_address: str, *addresses: str) -> Host:
        tunnel = tunnel_of(self, StaticIdentity(self.random.randbytes(32)))
        host = Host(name, tunnel, inner_address, list(addresses), self)
        self.hosts.append(host)
        return host

    def unix_ns(self) -> int:
        return EPOCH_NS + int((self.now + self.clock_error) * 1e9)

    def carry(self, host: Host, data: bytes, local: Endpoint | None, remote: Endpoint) -> None:
        source = local or host.address_for(remote)
        if source is None or str(source.host) not in host.addresses:
            return  # the kernel refuses a source that the host does not have
        self.sent.append((self.now, source, remote, data))
        for seen_as, destination in self.tap(source, remote, data):
            arrival = self.now + self.latency + self.jitter * self.random.random()
            entry = (arrival, next(self._order), seen_as, destination, data)
            heapq.heappush(self._queue, entry)

    def settle(self, host: Host) -> None:
        """Drain as the daemon does: what is to be sent before each event."""
        while True:
            for datagram in host.tunnel.datagrams_to_send():
                for data in datagrams(datagram):
                    self.carry(host, data, datagram.local, datagram.remote)
            event = host.tunnel.next_event()
            if event is None:
                return
            host.events.append(event)
            peer = host.tunnel.peers[event.peer]
            if peer.delivery.hold and peer.can_send(now=self.now):
                host.flush(peer)

    def run(self, seconds: float) -> None:
        """Advance time by `seconds`, delivering and firing all that falls due."""
        end = self.now + seconds
        for _ in range(100_000):
            due = self._next()
            if due is None or due > end:
                self.now = end
                return
            self.now = max(self.now, due)
            self._step()
        raise AssertionError("the world does not come to rest")

    def _next(self) -> float | None:
        timers = [host.tunnel.next_timer() for host in self.hosts]
        arrivals = [self._queue[0][0]] if self._queue else []
        return min([t for t in timers if t is not None] + arrivals, default=None)

    def _step(self) -> None:
        while self._queue and self._queue[0][0] <= self.now:
            _, _, source, destination, data = heapq.heappop(self._queue)
            for host in self.hosts:
                if hears(host, source, destination):
                    host.take(data, destination, source)
        for host in self.hosts:
            host.tunnel.handle_timer(now=self.now)
            self.settle(host)


def tunnel_of(world: World, identity: StaticIdentity) -> Tunnel:
    """A tunnel that has just started."""
    return Tunnel(
        identity,
        entropy=world.random.randbytes,
        unix_ns=world.unix_ns,
    )


def hears(host: Host, source: Endpoint, destination: Endpoint) -> bool:
    """Tell whether a datagram reaches a host; multicast reaches all others on the sender's link."""
    if not destination.host.is_multicast:
        return str(destination.host) in host.addresses
    links = {link_of(ip_address(address)) for address in host.addresses}
    return str(source.host) not in host.addresses and link_of(source.host) in links


def link_of(host: IPv4Address | IPv6Address) -> IPv4Network | IPv6Network:
    """The link that an address is on: one /24, or one /64."""
    return ip_network((host, 24 if host.version == 4 else 64), strict=False)


def pair(
    latency: float = 0.010,
    seed: int = 1,
    *,
    a_sacip: bool = True,
    b_sacip: bool = True,
    psk: bytes = bytes(32),
    strict: bool = False,
    keepalive: int | None = 0,
    standby: str | None = None,
) -> tuple[World, Host, Host]:
    """A world with a laptop that knows its hub, and a hub that waits for the laptop."""
    world = World(latency, seed)
    a = world.host("laptop", "10.9.0.1", "192.168.1.22")
    b = world.host("hub", "10.9.0.2", "192.168.1.101")
    a.tunnel.add_peer(
        PeerSettings(
            b.tunnel.public_key, psk, endpoint("192.168.1.101"), sacip=a_sacip, keepalive=keepalive
        ),
        [ip_network("10.9.0.2/32")],
        now=world.now,
    )
    b.tunnel.add_peer(
        PeerSettings(a.tunnel.public_key, psk, sacip=b_sacip, strict_nat=strict),
        [ip_network("10.9.0.1/32")],
        now=world.now,
    )
    a.facts("192.168.1.22", *([standby] if standby else []))
    b.facts("192.168.1.101")
    return world, a, b


def connected(**options: object) -> tuple[World, Host, Host]:
    """A pair that has shaken hands and said HELLO."""
    world, a, b = pair(**options)  # type: ignore[arg-type]  # options are those of pair
    a.send("10.9.0.2")
    world.run(0.5)
    b.send("10.9.0.1")
    world.run(0.5)
    assert len(a.delivered) == len(b.delivered) == 1
    return world, a, b


def acquainted(world: World, a: Host, b: Host, *, relay: bool = False, knows: bool = True) -> None:
    """Let `a` know `b` as a peer, with its endpoint if `knows`."""
    at = endpoint(b.addresses[0]) if knows else None
    settings = PeerSettings(b.tunnel.public_key, endpoint=at, keepalive=0, relay=relay)
    a.tunnel.add_peer(settings, [ip_network(b.inner_address)], now=world.now)


def triangle(latency: float = 0.010, *, relay: bool = True) -> tuple[World, Host, Host, Host]:
    """Two hosts on different links that talk to each other, and a third that both talk to."""
    world = World(latency)
    a = world.host("laptop", "10.9.0.1", "192.168.1.22")
    b = world.host("hub", "10.9.0.2", "192.168.2.101")
    c = world.host("third", "10.9.0.3", "192.168.3.1")
    acquainted(world, a, b)
    acquainted(world, b, a, knows=False)
    for host in (a, b):
        acquainted(world, host, c, relay=relay)
        acquainted(world, c, host, relay=relay, knows=False)
    for host in (a, b, c):
        host.facts(*host.addresses)
    for source, target in ((a, b), (a, c), (b, c)):
        source.send(target.inner_address)
        world.run(0.5)
        target.send(source.inner_address)
        world.run(0.5)
    return world, a, b, c
