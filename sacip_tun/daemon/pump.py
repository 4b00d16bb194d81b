"""The pump: inner packets from the TUN to peers, and from peers to the TUN.

One wake-up moves a bounded number of super-packets, then lets timers, control and the other
direction have their turn. Crossings to the protocol are one a super-packet, never one a packet.
"""

import asyncio
from collections.abc import Callable, Iterable

from sacip_tun.daemon import clock
from sacip_tun.daemon.fitter import Fitter
from sacip_tun.daemon.sender import Parcel, Sender
from sacip_tun.daemon.train import Train
from sacip_tun.datapath import packet as inner_packet
from sacip_tun.datapath.codec import Codec, Opened, Sealed
from sacip_tun.datapath.tag import tag_of
from sacip_tun.linux.tun import SUPERPACKET_CAPACITY, VNET_HEADER, InterfaceGone, Tun
from sacip_tun.linux.udp import RECEIVE_CAPACITY, UdpSocket
from sacip_tun.protocol.address import Endpoint
from sacip_tun.protocol.context import Datagram
from sacip_tun.protocol.errors import Drop
from sacip_tun.protocol.grant import Grant
from sacip_tun.protocol.messages import MIN_DATA_SIZE as DATA_OVERHEAD
from sacip_tun.protocol.peer import Peer
from sacip_tun.protocol.tunnel import Tunnel

# Super-packets read from the TUN, and batches received, in one wake-up (datapath.md 7).
READS_A_WAKE = 8
RECEIVES_A_WAKE = 16
# Peers found for inner addresses, remembered; the oldest is forgotten when full. A hub talks to as
# many as it has peers, and a scan through a large network must not take memory.
MAX_ROUTES = 16384


class Pump:
    """Moves packets between one TUN and the UDP sockets.

    `settle` is called after each wake-up, and drains what the protocol has to say. `gone` is called
    once when the TUN was deleted by somebody else. `sender` is what all datagrams leave by.
    `is_own` tells of an inner packet, its destination and the time whether it is an outer one of
    ours.
    """

    def __init__(
        self,
        tun: Tun,
        sockets: Iterable[UdpSocket],
        tunnel: Tunnel,
        codec: Codec,
        *,
        mtu: int,
    ) -> None:
        self._tun = tun
        self._sockets = list(sockets)
        self._tunnel = tunnel
        self._codec = codec
        self._mtu = mtu
        self._routes: dict[bytes, Peer | None] = {}
        self._read_buffers = [
            memoryview(bytearray(SUPERPACKET_CAPACITY)) for _ in range(READS_A_WAKE)
        ]
        self._receive_buffer = memoryview(bytearray(RECEIVE_CAPACITY))
        self._train = Train()
        self._fitter = Fitter(tun)
        self._malformed = 0
        self.settle: Callable[[], None] = lambda: None
        self.gone: Callable[[], None] = lambda: None
        self.sender = Sender(self._sockets, tunnel.drops)
        self.is_own: Callable[[memoryview, bytes, float], bool] = lambda _packet, _to, _now: False

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Watch the TUN and the sockets."""
        self.sender.start(loop)
        self.sender.stop = lambda: loop.remove_reader(self._tun.fileno())
        self.sender.go = lambda: loop.add_reader(self._tun.fileno(), self.tun_readable)
        self.sender.go()
        for socket in self._sockets:
            loop.add_reader(socket.fileno(), self.socket_readable, socket)

    def stop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Watch nothing any more."""
        self.sender.close()
        loop.remove_reader(self._tun.fileno())
        for socket in self._sockets:
            loop.remove_reader(socket.fileno())

    # Out: TUN to peers

    def tun_readable(self) -> None:
        """Move what the TUN has, a bounded number of super-packets, to the peers."""
        now = clock.now()
        try:
            for buffer in self._read_buffers:
                length = self._tun.read(buffer)
                self._send_inner(buffer[:length], now)
                if self.sender.full:
                    break
        except BlockingIOError:
            pass
        except InterfaceGone:
            self.gone()
            return
        self._depart(now)
        self.settle()

    def _send_inner(self, superpacket: memoryview, now: float) -> None:
        destination = inner_packet.destination(superpacket[VNET_HEADER:])
        if destination is None:
            self._tunnel.drops[Drop.BAD_INNER] += 1
            return
        peer = self._peer_for(destination)
        if peer is None:
            self._tunnel.drops[Drop.NO_PEER] += 1
        elif self.is_own(superpacket[VNET_HEADER:], destination, now):
            self._tunnel.drops[Drop.ROUTING_LOOP] += 1
        else:
            self._send_in_turn(peer, superpacket, now)

    def _send_in_turn(self, peer: Peer, superpacket: memoryview, now: float) -> None:
        """Send behind what waits for the same peer; where that is refused still, wait with it."""
        if peer.delivery.waiting and peer.can_send(now=now):
            self.flush_held(peer)
        if peer.delivery.waiting:
            self._hold(peer, superpacket, now)
        else:
            self._send_to(peer, superpacket, now)

    def _hold(self, peer: Peer, superpacket: memoryview, now: float) -> None:
        tag = tag_of(superpacket[VNET_HEADER:])
        peer.stage(bytes(superpacket), tag, first=self._train.again, now=now)

    def _send_to(self, peer: Peer, superpacket: memoryview, now: float) -> None:
        """Send packets that the path carries whole, as far as that can be."""
        mtu = peer.path_mtu.limit(len(superpacket) - VNET_HEADER, self._mtu, now=now)
        if mtu >= self._mtu:
            self._seal_to(peer, superpacket, mtu, now)
            return
        for piece in self._fitter.fitted(peer, superpacket, mtu, now):
            self._seal_to(peer, piece, mtu, now)

    def _seal_to(self, peer: Peer, superpacket: memoryview, mtu: int, now: float) -> None:
        count = self._codec.segments(superpacket)
        if not count:
            self._tunnel.drops[Drop.BAD_INNER] += 1
            return
        grant = peer.grant(count, len(superpacket), now=now)
        if grant is None:
            self._hold(peer, superpacket, now)
            return
        if not self._train.has_room:
            self._depart(now)
        session = grant.session
        sealed = self._codec.seal(
            superpacket,
            session.sender,
            session.remote_index,
            grant.first_counter,
            mtu,
            self._train.room,
        )
        self._couple(peer, grant, sealed, superpacket, now)

    def _couple(
        self, peer: Peer, grant: Grant, sealed: Sealed, superpacket: memoryview, now: float
    ) -> None:
        """Let what was sealed leave with what waits before it, or that first."""
        train = self._train
        if not train.fits(peer, grant, sealed):
            self._send_rest(now)
            train.begin(peer, grant, sealed)
        train.add(sealed, superpacket)
        while (full := train.next_full()) is not None:
            self._send_part(full, now)
            train.keep_last()

    def _depart(self, now: float) -> None:
        """Send what waits: nothing waits for longer than a wake-up."""
        self._send_rest(now)
        self._train.clear()

    def _send_rest(self, now: float) -> None:
        rest = self._train.rest()
        if rest:
            self._send_part(rest, now)

    def _send_part(self, data: memoryview, now: float) -> None:
        train = self._train
        if train.grant is None or train.peer is None:
            return
        grant = train.grant
        parcel = Parcel(
            data,
            train.segment_size,
            grant.local,
            grant.remote,
            train.peer,
            torn=train.torn,
            fits=train.peer.path_mtu.fits(train.segment_size),
        )
        if self.sender.send(parcel):
            train.peer.sent(data, train.segment_size, now=now)
            return
        for superpacket in train.superpackets:
            self._hold(train.peer, superpacket, now)
        train.superpackets.clear()
        train.rest()  # what is held whole must not leave in part as well

    def flush_held(self, peer: Peer) -> None:
        """Send of the inner packets that waited as many as may go now."""
        now = clock.now()
        self.sender.retry()
        self._depart(now)
        self._train.again = True
        for waiting in peer.take_held(now=now):
            before = len(peer.delivery.hold)
            self._send_to(peer, memoryview(waiting.packet), now)
            self._depart(now)
            if len(peer.delivery.hold) > before:
                break  # it was refused, and waits again: so would the next one
        self._train.again = False

    def transmit(self, datagram: Datagram) -> None:
        """Send what the protocol made: a handshake message, keepalive, frame or repetition."""
        data = memoryview(datagram.data)
        parcel = Parcel(data, datagram.segment_size or len(data), datagram.local, datagram.remote)
        if not datagram.unfragmented:
            self.sender.send(parcel)
        elif not self.sender.send_whole(parcel):
            self._tunnel.refused(datagram, now=clock.now())

    # In: peers to TUN

    def socket_readable(self, socket: UdpSocket) -> None:
        """Move what a socket has, a bounded number of batches, to the TUN."""
        now = clock.now()
        buffer = self._receive_buffer
        for _ in range(RECEIVES_A_WAKE):
            received = socket.receive(buffer)
            if received is None:
                break
            if not received.length:
                self._tunnel.drops[Drop.MALFORMED] += 1
            self._take(
                buffer[: received.length],
                received.segment_size,
                received.local,
                received.remote,
                now,
            )
        self.settle()

    def _take(
        self, data: memoryview, segment_size: int, local: Endpoint, remote: Endpoint, now: float
    ) -> None:
        for run in self._codec.open(data, segment_size, self._tunnel.keyring):
            if run.receiver is None:
                for datagram in run.packets:
                    self._tunnel.receive(bytes(datagram), local, remote, now=now)
                continue
            if run.failed:
                self._tunnel.drops[Drop.BAD_TAG] += run.failed
            if run.packets:
                self._take_run(run, local, remote, now)

    def _take_run(self, run: Opened, local: Endpoint, remote: Endpoint, now: float) -> None:
        length = sum(map(len, run.packets)) + len(run.packets) * DATA_OVERHEAD
        peer, inner = self._tunnel.opened(
            run.receiver or 0, run.counters, run.packets, length, local, remote, now=now
        )
        if peer is not None and inner:
            self._deliver(peer, inner)

    def _deliver(self, peer: Peer, packets: list[memoryview]) -> None:
        merged = self._codec.coalesce(
            packets, offload=self._tun.offload, udp_offload=self._tun.udp_offload
        )
        self._tunnel.drops[Drop.BAD_INNER] += self._codec.malformed - self._malformed
        self._malformed = self._codec.malformed
        for superpacket in merged:
            if self._peer_for(superpacket.source) is not peer:
                self._tunnel.drops[Drop.FORBIDDEN_SOURCE] += 1
                continue
            try:
                self._tun.write(superpacket.parts)
            except InterfaceGone:
                self.gone()
                return
            except OSError:
                self._tunnel.drops[Drop.BAD_INNER] += 1

    def _peer_for(self, address: bytes) -> Peer | None:
        try:
            return self._routes[address]
        except KeyError:
            if len(self._routes) >= MAX_ROUTES:
                del self._routes[next(iter(self._routes))]
            peer = self._routes[address] = self._tunnel.route(address)
            return peer
