"""The front desk: finds the peer for what comes in, and merges the drains and timers of all peers.

The verbs are `receive`, `screen` and `arrived`, `addresses_changed` and `handle_timer`; then drain
`datagrams_to_send`, `next_event` and `next_timer`. Calling any of them early or twice is harmless.
Hostile bytes never raise: they are counted in `drops`.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import compress

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from sacip_tun.protocol import limits, messages
from sacip_tun.protocol.address import Endpoint, Host
from sacip_tun.protocol.batch import Batch
from sacip_tun.protocol.context import Context, Datagram
from sacip_tun.protocol.cookie import CookieChecker
from sacip_tun.protocol.errors import Drop, LocalError, RemoteError
from sacip_tun.protocol.events import Event, FrameReceived
from sacip_tun.protocol.exchange import Arrival
from sacip_tun.protocol.facts import LocalFacts
from sacip_tun.protocol.frames import Frame, code_name
from sacip_tun.protocol.handshake import OpenedInitiation, open_initiation, respond
from sacip_tun.protocol.hygiene import Fault, Hygiene
from sacip_tun.protocol.keys import StaticIdentity
from sacip_tun.protocol.peer import Peer
from sacip_tun.protocol.prefix import Network, Prefix
from sacip_tun.protocol.ratelimit import LoadMeter, RateLimit
from sacip_tun.protocol.relay import Relay
from sacip_tun.protocol.roster import Roster
from sacip_tun.protocol.routing import AllowedIPs
from sacip_tun.protocol.session import Session
from sacip_tun.protocol.settings import PeerSettings
from sacip_tun.protocol.tai64n import speaks_sacip

# Expired timers that are handled before packets have their turn: 0.3 ms each at most, a handshake.
TIMERS_AT_ONCE = 64
# Initiations of one peer are taken this far apart, in seconds.
MIN_INITIATION_INTERVAL = 1 / limits.INITIATIONS_PER_SECOND


class Tunnel:
    """All peers of one interface.

    `entropy(n)` returns n random bytes; `unix_ns()` is the wall clock, used for TAI64N alone.
    """

    def __init__(
        self,
        identity: StaticIdentity,
        *,
        entropy: Callable[[int], bytes],
        unix_ns: Callable[[], int],
    ) -> None:
        association = int.from_bytes(entropy(8), "big")
        self._allowed_ips: AllowedIPs[bytes] = AllowedIPs()
        hygiene = Hygiene(self._allowed_ips.holds)
        self._context = Context(identity, entropy, unix_ns, association, hygiene)
        self.peers = Roster(self._context)
        self._context.relay = Relay(self.peers, self._context)
        self._checker = CookieChecker(identity.public, entropy=entropy)
        self._limiter = RateLimit()
        self._load = LoadMeter()
        self._initiation_times: dict[bytes, float] = {}
        self._handlers = {
            messages.INITIATION: self._initiation,
            messages.RESPONSE: self._response,
            messages.COOKIE_REPLY: self._cookie_reply,
            messages.DATA: self._stray,
        }

    @property
    def public_key(self) -> bytes:
        """Our public key, 32 bytes."""
        return self._context.identity.public

    @property
    def drops(self) -> Counter[Drop]:
        """How often what was dropped for which reason."""
        return self._context.drops

    @property
    def keyring(self) -> Mapping[int, ChaCha20Poly1305]:
        """Receiver index to the cipher that opens messages with it; a live view."""
        return self._context.keyring

    # Peers

    def add_peer(
        self, settings: PeerSettings, allowed_ips: Iterable[Network], *, now: float
    ) -> None:
        """Add a peer. Raises LocalError where it is there already or has our own key."""
        if settings.public_key in self.peers:
            raise LocalError("duplicate peer: this public key is configured already")
        if settings.public_key == self.public_key:
            raise LocalError("a peer has this interface's own public key")
        self.peers.add(settings)
        for network in allowed_ips:
            self._allowed_ips.insert(network, settings.public_key)
        if settings.keepalive:
            self.peers[settings.public_key].speech.keepalive(now=now)
        elif settings.endpoint or settings.named:
            self.peers.get(settings.public_key)  # the addresses of this host that lead there count

    def change_peer(self, settings: PeerSettings, *, now: float) -> None:
        """Take other settings of a peer; its sessions stay. Raises KeyError where it is unknown."""
        self.peers.change(settings)
        if settings.keepalive or self.peers.is_met(settings.public_key):
            self.peers[settings.public_key].adjusted(settings, now=now)

    def change_identity(self, identity: StaticIdentity) -> None:
        """Take another private key: every session ends, and handshakes may begin at once.

        A peer that has the new key itself is to be removed before.
        """
        self._context.identity = identity
        self._checker = CookieChecker(identity.public, entropy=self._context.entropy)
        for peer in self.peers.met:
            identity.remember(peer.key)
            peer.expire()

    def remove_peer(self, key: bytes) -> None:
        """Remove a peer with its keys, timers and routes. Raises LocalError where it is unknown."""
        if key not in self.peers:
            raise LocalError("no such peer")
        self._allowed_ips.remove_value(key)
        self._context.timers.forget(key)
        self._initiation_times.pop(key, None)
        peer = self.peers.remove(key)
        if peer is not None:
            peer.erase()

    def networks_of(self, peer: Peer) -> list[Network]:
        """Return the allowed IPs of a peer."""
        return self._allowed_ips.networks_of(peer.key)

    def prefixes_of(self, key: bytes) -> list[Prefix]:
        """Return the allowed IPs of the peer with `key`, in the order in which it got them."""
        return self._allowed_ips.prefixes_of(key)

    def allow(self, code: Prefix, key: bytes) -> None:
        """Give an allowed IP to the peer with `key`; whoever had exactly this one loses it."""
        self._allowed_ips.give(code, key)

    def disallow(self, code: Prefix, key: bytes) -> None:
        """Take an allowed IP from the peer with `key`; harmless where it has not this one."""
        self._allowed_ips.take(code, key)

    def route(self, address: bytes) -> Peer | None:
        """Return the peer for an inner address of 4 or 16 bytes (cryptokey routing, paper 2)."""
        key = self._allowed_ips.lookup(address)
        return None if key is None else self.peers.get(key)

    def owns(self, peer: Peer, address: bytes) -> bool:
        """Tell whether an inner address is this peer's; nobody else is looked at for that."""
        return self._allowed_ips.lookup(address) == peer.key

    def fault_of(self, endpoint: Endpoint) -> Fault | None:
        """Return why an address should not be a peer's endpoint, None where nothing is wrong."""
        return self._context.hygiene.fault(endpoint)

    # What comes in

    def receive(self, datagram: bytes, local: Endpoint, remote: Endpoint, *, now: float) -> None:
        """Take a handshake message or a cookie reply; data messages go to `screen`."""
        try:
            handler = self._handlers[messages.message_type(datagram)]
            handler(datagram, local, remote, now)
        except RemoteError as error:
            self.drops[error.reason] += 1

    def screen(
        self,
        receiver: int,
        counters: Sequence[int],
        packets: Sequence[memoryview],
        *,
        now: float,
    ) -> Batch | None:
        """Take a run of data messages that authenticated under one receiver index.

        `counters` and `packets` (padded plaintexts) go in pairs, in order of arrival. Replays are
        dropped here. Returns what is left, None where that is nothing. The inner packets in it may
        be delivered at once, if `route` of their sources is the peer; then it goes to `arrived`.
        """
        session = self._context.sessions.get(receiver)
        peer = self.peers.get(self._context.owners.get(receiver, b""))
        if session is None or peer is None or not session.may_receive(now=now):
            self.drops[Drop.EXPIRED_SESSION] += len(packets)
            return None
        fresh = session.window.accept_batch(counters)
        if not all(fresh):
            self.drops[Drop.REPLAYED] += fresh.count(False)
            counters = list(compress(counters, fresh))
            packets = list(compress(packets, fresh))
            if not packets:
                return None
        batch = Batch(peer, session)
        batch.sort(counters, packets)
        return batch

    def screen_single(
        self, receiver: int, counter: int, packet: memoryview, *, now: float
    ) -> Batch | None:
        """Take one data message as `screen` takes a run of them."""
        session = self._context.sessions.get(receiver)
        peer = self.peers.get(self._context.owners.get(receiver, b""))
        if session is None or peer is None or not session.may_receive(now=now):
            self.drops[Drop.EXPIRED_SESSION] += 1
            return None
        if not session.window.accept(counter):
            self.drops[Drop.REPLAYED] += 1
            return None
        return Batch.of_one(peer, session, counter, packet)

    def arrived(self, batch: Batch, local: Endpoint, remote: Endpoint, *, now: float) -> None:
        """Take note of a batch, and answer the frames in it."""
        peer, session = batch.peer, batch.session
        # What came to an address is answered from it, by its own interface.
        local = peer.exchange.local_move.choice.steered(local)
        confirmed = peer.confirm(session)
        peer.traffic.received(batch.length, remote, now=now)
        if remote == peer.path.remote.active:
            peer.path.received(batch.length)
        if batch.highest >= 0:
            peer.heard_at(local, now=now)
            peer.sightings.heard(session, batch.highest, local, remote, now=now)
        if confirmed:
            peer.session_ready(session, marked=speaks_sacip(peer.greatest_timestamp), now=now)
        if batch.inner:
            peer.traffic.data_received(now=now)
        peer.traffic.keep_fresh_on_receive(session, now=now)
        for counter, packet in batch.frames:
            self._frame(peer, session, counter, bytes(packet), local, remote, now)

    def _frame(
        self,
        peer: Peer,
        session: Session,
        counter: int,
        data: bytes,
        local: Endpoint,
        remote: Endpoint,
        now: float,
    ) -> None:
        if not peer.settings.sacip:
            return
        if not peer.where.may_be_at(remote):
            self.drops[Drop.STRANGE_ENDPOINT] += 1
            return
        try:
            frame = Frame.parse(data)
            if not frame.mtu:  # probes of the path's MTU are no news, and there are many
                code = code_name(frame.code)
                peer.emit(FrameReceived(peer.key, code, frame.number, local, remote))
            newest = peer.sightings.is_newest(session, counter, remote)
            peer.exchange.receive(frame, Arrival(local, remote, newest, session.created, now))
            if remote == peer.path.remote.active:
                peer.sightings.newest_is(session, counter, remote)
            if remote == peer.path.remote.active and local.host == peer.path.own_host(local):
                peer.alive(now=now)
        except RemoteError as error:
            self.drops[error.reason] += 1

    def _initiation(self, datagram: bytes, local: Endpoint, remote: Endpoint, now: float) -> None:
        initiation = messages.Initiation.parse(datagram)
        self._admit(datagram, local, remote, now)
        opened = open_initiation(self._context.identity, initiation)
        peer = self.peers.get(opened.peer_public)
        if peer is None:
            raise RemoteError(Drop.UNKNOWN_PEER)
        self._check_timestamp(peer, opened, now)
        peer.traffic.rx_bytes += len(datagram)
        self._respond(peer, opened, local, remote, now)

    def _admit(self, datagram: bytes, local: Endpoint, remote: Endpoint, now: float) -> None:
        """Let a message pass to the costly part: mac1 always; mac2 and a rate under load."""
        if not self._checker.mac1_ok(datagram):
            raise RemoteError(Drop.BAD_MAC1)
        self._load.count(now=now)
        if not self._load.under_load(now=now):
            return
        if not self._checker.mac2_ok(datagram, remote, now=now):
            nonce = self._context.entropy(24)
            reply = self._checker.reply(datagram, remote, nonce=nonce, now=now)
            self._context.outbox.append(Datagram(reply.encode(), local, remote))
            raise RemoteError(Drop.UNDER_LOAD)
        if not self._limiter.allow(remote.host, now=now):
            raise RemoteError(Drop.RATE_LIMITED)

    def _check_timestamp(self, peer: Peer, opened: OpenedInitiation, now: float) -> None:
        last = self._initiation_times.get(peer.key)
        if opened.timestamp <= peer.greatest_timestamp:
            raise RemoteError(Drop.REPLAYED_HANDSHAKE)
        if last is not None and now - last < MIN_INITIATION_INTERVAL:
            raise RemoteError(Drop.RATE_LIMITED)
        if peer.must_speak_sacip and not speaks_sacip(opened.timestamp):
            raise RemoteError(Drop.DOWNGRADE)
        self._initiation_times[peer.key] = now
        peer.greatest_timestamp = opened.timestamp

    def _respond(
        self,
        peer: Peer,
        opened: OpenedInitiation,
        local: Endpoint,
        remote: Endpoint,
        now: float,
    ) -> None:
        index = self._context.claim_index(peer.key, None)
        response, keys = respond(
            opened,
            peer.settings.preshared_key,
            index=index,
            ephemeral=self._context.entropy(32),
        )
        peer.adopt(Session(keys, now=now), now=now)
        if peer.path.remote.active is None and peer.where.may_be_at(remote):
            peer.path.remote = peer.path.remote.of(remote)
            peer.exchange.local_move.contacted_at(local, now=now)
        data = peer.cookies.seal(response.encode(), now=now)
        peer.send_handshake(data, peer.exchange.local_move.choice.steered(local), remote, now=now)

    def _response(self, datagram: bytes, local: Endpoint, remote: Endpoint, now: float) -> None:
        response = messages.Response.parse(datagram)
        self._admit(datagram, local, remote, now)
        peer = self.peers.get(self._context.owners.get(response.receiver, b""))
        if peer is None:
            raise RemoteError(Drop.UNKNOWN_INDEX)
        keys = peer.initiator.handshake.consume_response(
            self._context.identity, peer.settings.preshared_key, response
        )
        session = Session(keys, now=now)
        peer.adopt(session, now=now)
        peer.traffic.received(len(datagram), remote, now=now)
        peer.sightings.contacted(local, remote, now=now)
        peer.session_ready(session, marked=peer.speaks_sacip, now=now)

    def _cookie_reply(
        self, datagram: bytes, _local: Endpoint, _remote: Endpoint, now: float
    ) -> None:
        reply = messages.CookieReply.parse(datagram)
        peer = self.peers.get(self._context.owners.get(reply.receiver, b""))
        if peer is None:
            raise RemoteError(Drop.UNKNOWN_INDEX)
        peer.cookies.consume(reply, now=now)

    @staticmethod
    def _stray(datagram: bytes, _local: Endpoint, _remote: Endpoint, _now: float) -> None:
        """Refuse a data message that no session of ours can open."""
        messages.data_receiver(datagram)
        raise RemoteError(Drop.UNKNOWN_INDEX)

    # What else happens

    def addresses_known(self, present: frozenset[Host], broadcasts: frozenset[Host]) -> None:
        """Take what addresses this host has, also those that lead to no peer: none is a peer's."""
        self._context.hygiene.present = present
        self._context.hygiene.broadcasts = broadcasts

    def addresses_changed(self, facts: LocalFacts, *, now: float) -> None:
        """Take a new state of this host's addresses."""
        self._context.hygiene.present = facts.present
        self._context.candidates = facts.candidates
        for key, sources in facts.sources.items():
            mover = self.peers.get(key)
            if mover is not None:
                mover.exchange.local_move.addresses_changed(
                    sources, facts.present, facts.reasons, now=now
                )

    def resumed(self, *, now: float) -> None:
        """The machine was suspended: every path may have been forgotten by what stands between."""
        for peer in self.peers.met:
            peer.exchange.local_move.resumed(now=now)

    def handle_timer(self, *, now: float) -> None:
        """Do what is due: with thousands of peers a part of it, and `next_timer` is over still."""
        for _ in range(TIMERS_AT_ONCE):
            expired = self._context.timers.pop_expired(now)
            if expired is None:
                return
            key, timer = expired
            peer = self.peers.get(key)
            if peer is not None:
                peer.handle_timer(timer, now=now)

    def refused(self, datagram: Datagram, *, now: float) -> None:
        """The kernel says that an unfragmented datagram is too large for the first link."""
        for peer in self.peers.met:
            if peer.path.remote.active == datagram.remote:
                peer.path_mtu.refused(len(datagram.data), now=now)

    # The drains

    def datagrams_to_send(self) -> list[Datagram]:
        """Return what is to be sent, in order, and keep nothing."""
        outbox = self._context.outbox
        if not outbox:
            return []
        datagrams = outbox[:]
        outbox.clear()
        return datagrams

    def next_event(self) -> Event | None:
        """Return the oldest event not yet returned."""
        events = self._context.events
        return events.popleft() if events else None

    def next_timer(self) -> float | None:
        """Return when `handle_timer` has something to do, None for never."""
        return self._context.timers.next()
