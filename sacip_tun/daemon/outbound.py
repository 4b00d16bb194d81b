"""The way out: inner packets from the TUN to the peers.

1. What is read is grouped to loads (load.py). A packet that is alone leaves at once: nothing ever
   waits for a batch to fill.
2. Where more comes than can leave, the loads wait in the fair queue, and the TUN is read on: its
   own queue knows no flows, and drops at its end.
3. One wake-up sends a bounded number of bytes, then the other direction, timers and control have
   their turn. Crossings to the protocol are one a load, never one a packet.
"""

import asyncio
from collections.abc import Callable

from sacip_tun.daemon import clock
from sacip_tun.daemon.backlog import WHOLE_BURST
from sacip_tun.daemon.complaints import Complaints
from sacip_tun.daemon.fitter import Fitter
from sacip_tun.daemon.intake import Intake
from sacip_tun.daemon.sender import Parcel, Sender
from sacip_tun.daemon.train import Train
from sacip_tun.datapath import ecn
from sacip_tun.datapath.codec import Codec, Sealed
from sacip_tun.datapath.fair_queue import FairQueue
from sacip_tun.datapath.load import Load, loads, plain_glance
from sacip_tun.datapath.split import split, without_first
from sacip_tun.datapath.tag import tag_of
from sacip_tun.datapath.vnet import GSO_NONE, VNET_HEADER
from sacip_tun.linux.tun import InterfaceGone, Tun
from sacip_tun.protocol.errors import Drop
from sacip_tun.protocol.grant import Grant
from sacip_tun.protocol.peer import Peer
from sacip_tun.protocol.tunnel import Tunnel

# Super-packets read in one wake-up, and bytes sent: a millisecond's worth or so, after which the
# TUN is looked at again.
READS_A_WAKE = 64
BYTES_A_WAKE = 4 << 16
# A packet of so many bytes fits any IPv6 path when it is sealed (RFC 8200 5: 1280).
EXPRESS = 1200


class Outbound:
    """Moves packets from one TUN to the sockets. Made and wired by the pump.

    `mtu` is the TUN's, which may change. `dscp` is that of outer data, None for that of the inner
    packet. `route` finds the peer of an inner address. `is_own` tells of a flow and the time
    whether it is one of outer datagrams of ours. `gone` is called when the TUN was deleted,
    `settle` after each wake-up. `marked` counts packets that were marked as having met congestion.
    """

    def __init__(self, tun: Tun, tunnel: Tunnel, codec: Codec, sender: Sender, *, mtu: int) -> None:
        self._tunnel = tunnel
        self._codec = codec
        self._sender = sender
        self.mtu = mtu
        self._intake = Intake(tun)
        self._queue = FairQueue(self._tell, self._overflow)
        self._train = Train()
        self._leaving: list[Load] = []
        self._complaints = Complaints(tun)
        self._fitter = Fitter(self._complaints)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._again: asyncio.Handle | None = None
        self.marked = 0
        self.dscp: int | None = 0
        self.route: Callable[[bytes], Peer | None] = tunnel.route
        self.is_own: Callable[[bytes, float], bool] = lambda _flow, _now: False
        self.gone: Callable[[], None] = lambda: None
        self.settle: Callable[[], None] = lambda: None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Use this loop to go on where one wake-up did not suffice."""
        self._loop = loop

    def stop(self) -> None:
        """Send nothing more."""
        self._loop = None
        if self._again is not None:
            self._again.cancel()
            self._again = None

    def readable(self) -> None:
        """Move what the TUN has, as far as one wake-up goes."""
        now = clock.now()
        try:
            self._read(now)
        except InterfaceGone:
            self.gone()
            return
        if self._queue and self._again is None:
            self._forward(now)
        self.settle()

    def forward(self) -> None:
        """Go on with what waits: the sockets have room again, or a wake-up did not suffice."""
        self._again = None
        self.readable()

    # Reading

    def _read(self, now: float) -> None:
        taken: list[memoryview] = []
        for number in range(READS_A_WAKE):
            if self._intake.full:
                self._enqueue(taken, now)
                self._queue.drop_from_fattest()
            if self._intake.full:
                break
            superpacket = self._intake.read()
            if superpacket is None:
                break
            if number == 0 and self._may_pass(superpacket):
                self._pass(superpacket, now)
            else:
                taken.append(superpacket)
        self._enqueue(taken, now)

    def _enqueue(self, taken: list[memoryview], now: float) -> None:
        """Let what was read wait for its turn, and empty the list."""
        for load in loads(taken):
            self._queue.push(load, now=now)
        taken.clear()

    def _may_pass(self, superpacket: memoryview) -> bool:
        """Tell whether a packet need not wait for what else is to be read: nothing is before it."""
        single = superpacket[1] == GSO_NONE
        return single and not self._queue and not self._sender.full and not self._leaving

    def _pass(self, superpacket: memoryview, now: float) -> None:
        if self._express(superpacket, now):
            self._intake.release((superpacket,))
            return
        (load,) = loads((superpacket,))
        self._send(load, now)
        self._depart(now)

    def _express(self, superpacket: memoryview, now: float) -> bool:
        """Send a packet without what is only done for batches; False where it needs more than that.

        Each function that is passed on the way costs microseconds when its code is in no cache, as
        it is when packets are rare: and those are what somebody waits for.
        """
        length = len(superpacket)
        seen = plain_glance(superpacket) if length <= EXPRESS else None
        peer = self.route(seen.destination) if seen is not None else None
        if seen is None or peer is None or peer.waits or self.is_own(seen.flow, now):
            return False
        mtu = peer.path_mtu.limit(length - VNET_HEADER, self.mtu, now=now)
        if length - VNET_HEADER > mtu:
            return False
        grant = peer.grant(1, length, now=now)
        if grant is None:
            return False
        session, room = grant.session, self._train.room
        size = self._codec.seal_single(
            superpacket, session.sender, session.remote_index, grant.first_counter, mtu, room
        )
        if not size:
            self._tunnel.drops[Drop.BAD_INNER] += 1
            return True
        data = room[:size]
        traffic_class = ecn.encapsulated(superpacket[VNET_HEADER:], self.dscp)
        parcel = Parcel(data, size, grant.local, grant.remote, peer, traffic_class=traffic_class)
        if self._sender.send(parcel):
            peer.sent(data, size, session, now=now)
        else:
            self._hold(peer, [superpacket], now)
        return True

    # What waits too long, or too much

    def _tell(self, load: Load) -> Load | None:
        """Let the sender of a load know that its packets wait too long."""
        # They are alike, also in this: all can be marked, or none.
        if all(ecn.mark(packet[VNET_HEADER:]) for packet in load.packets):
            self.marked += len(load.packets)
            return load
        self._tunnel.drops[Drop.QUEUED_LONG] += 1
        rest = without_first(load)
        kept = len(rest.packets) if rest is not None else 0
        self._intake.release(load.packets[: len(load.packets) - kept])
        return rest

    def _overflow(self, load: Load) -> None:
        self._tunnel.drops[Drop.QUEUE_OVERFLOW] += len(load.packets)
        self._intake.release(load.packets)

    # Sending

    def _forward(self, now: float) -> None:
        budget = BYTES_A_WAKE
        while budget > 0 and not self._sender.full:
            burst = self._queue.quantum = self._sender.burst
            load = self._queue.pop(now=now)
            if load is None:
                break
            load, rest = split(load, burst)
            if rest is not None:
                self._queue.push_back(rest)
            budget -= load.length
            self._send(load, now)
            if burst < WHOLE_BURST:
                self._depart(now)  # coupled with others it would be a long burst again
        self._depart(now)
        # Where the sockets are full, the sender calls when they are not any more.
        if self._queue and not self._sender.full and self._loop and not self._again:
            self._again = self._loop.call_soon(self.forward)

    def _send(self, load: Load, now: float) -> None:
        """Send a load to whom it is for; its buffers are free when everything has departed."""
        self._leaving.append(load)
        peer = self.route(load.destination)
        if peer is None:
            reason = Drop.NO_PEER if load.destination else Drop.BAD_INNER
            self._tunnel.drops[reason] += len(load.packets)
            self._complaints.unreachable(load.packets[0][VNET_HEADER:], now)
        elif self.is_own(load.flow, now):
            self._tunnel.drops[Drop.ROUTING_LOOP] += len(load.packets)
        else:
            self._send_in_turn(peer, load, now)

    def _send_in_turn(self, peer: Peer, load: Load, now: float) -> None:
        """Send behind what waits for the same peer; where that is refused still, wait with it."""
        if peer.waits and peer.can_send(now=now):
            self.flush_held(peer)
        if peer.waits:
            self._hold(peer, load.packets, now)
        else:
            self._send_to(peer, load, now)

    def _hold(self, peer: Peer, superpackets: list[memoryview], now: float) -> None:
        first = self._train.again
        if superpackets and peer.forlorn:
            self._complaints.unreachable(superpackets[0][VNET_HEADER:], now)
        for superpacket in reversed(superpackets) if first else superpackets:
            tag = tag_of(superpacket[VNET_HEADER:])
            peer.stage(bytes(superpacket), tag, first=first, now=now)

    def _send_to(self, peer: Peer, load: Load, now: float) -> None:
        """Send packets that the path carries whole, as far as that can be."""
        mtu = peer.path_mtu.limit(load.length, self.mtu, now=now)
        if mtu >= self.mtu or load.length <= mtu * len(load.packets):
            self._seal_to(peer, load.packets, mtu, now)
            return
        for superpacket in load.packets:
            for piece in self._fitter.fitted(peer, superpacket, mtu, now):
                self._seal_to(peer, [piece], mtu, now)

    def _seal_to(self, peer: Peer, packets: list[memoryview], mtu: int, now: float) -> None:
        alike = len(packets) > 1
        count = len(packets) if alike else self._codec.segments(packets[0])
        length = sum(map(len, packets))
        grant = peer.grant(count, length, now=now) if count else None
        if grant is None:
            self._not_granted(peer, packets, count, now)
            return
        if not self._train.has_room:
            self._send_rest(now)
            self._train.clear()
        session, room = grant.session, self._train.room
        keys = session.sender, session.remote_index, grant.first_counter
        sealed = (
            self._codec.seal_alike(packets, *keys, mtu, room)
            if alike
            else self._codec.seal(packets[0], *keys, mtu, room)
        )
        if sealed.count:
            self._couple(peer, grant, sealed, packets, now)
        else:
            self._tunnel.drops[Drop.BAD_INNER] += count

    def _not_granted(self, peer: Peer, packets: list[memoryview], count: int, now: float) -> None:
        if count:
            self._hold(peer, packets, now)
        else:
            self._tunnel.drops[Drop.BAD_INNER] += 1

    def _couple(
        self, peer: Peer, grant: Grant, sealed: Sealed, packets: list[memoryview], now: float
    ) -> None:
        """Let what was sealed leave with what waits before it, or that first."""
        train = self._train
        traffic_class = ecn.encapsulated(packets[0][VNET_HEADER:], self.dscp)
        if not train.fits(peer, grant, sealed, traffic_class):
            self._send_rest(now)
            train.begin(peer, grant, sealed, traffic_class)
        train.add(sealed, packets)
        while (full := train.next_full()) is not None:
            self._send_part(full, now)
            train.forget_left()

    def _depart(self, now: float) -> None:
        """Send what waits for company: nothing does for longer than a wake-up."""
        self._send_rest(now)
        self._train.clear()
        for load in self._leaving:
            self._intake.release(load.packets)
        self._leaving.clear()

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
            traffic_class=train.traffic_class,
        )
        if self._sender.send(parcel):
            train.peer.sent(data, train.segment_size, grant.session, now=now)
            return
        self._hold(train.peer, train.give_up(), now)

    def flush_held(self, peer: Peer) -> None:
        """Send of the inner packets that waited as many as may go now."""
        now = clock.now()
        self._sender.retry()
        self._send_rest(now)
        self._train.clear()
        self._train.again = True
        try:
            self._release(peer, now)
        finally:
            self._train.again = False

    def _release(self, peer: Peer, now: float) -> None:
        # Sealed packets must wait in order, and their room is little: held ones have their own.
        for waiting in () if self._sender.full else peer.take_held(now=now):
            before = peer.held
            packet = memoryview(waiting.packet)
            self._send_to(peer, Load(b"", b"", [packet], len(packet) - VNET_HEADER), now)
            self._send_rest(now)
            self._train.clear()
            if peer.held > before or self._sender.full:
                break  # it was refused, and waits again: so would the next one
