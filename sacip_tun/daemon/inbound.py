"""The way in: datagrams from the sockets, and the inner packets in them to the TUN.

Inner packets are written as soon as they are known to be authentic, new and from an address that
is their peer's. What else there is to note of their arrival can wait until then.
"""

from collections.abc import Callable, Sequence

from sacip_tun.daemon import clock
from sacip_tun.daemon.gathering import LONGEST, Gathering
from sacip_tun.daemon.writer import Writer
from sacip_tun.datapath import ecn
from sacip_tun.datapath.codec import Codec, Opened
from sacip_tun.datapath.codel import INTERVAL, CoDel
from sacip_tun.datapath.packet import whole
from sacip_tun.datapath.vnet import PLAIN
from sacip_tun.linux.tun import InterfaceGone, Tun
from sacip_tun.linux.udp import Received, UdpSocket
from sacip_tun.protocol.address import Endpoint
from sacip_tun.protocol.errors import Drop
from sacip_tun.protocol.peer import Peer
from sacip_tun.protocol.tunnel import Tunnel

# Receives and bytes in one wake-up: what is to be sent waits for it, a millisecond or so.
RECEIVES_A_WAKE = 64
BYTES_A_WAKE = LONGEST
# Seconds that datagrams may wait in the socket for good: 350 KB at a gigabit and a half.
RECEIVE_TARGET = 0.002
# Packets of one batch, and bytes of one of them, that make a sender who can slow down: who only
# acknowledges cannot.
BULK, BULKY = 8, 256


class Inbound:
    """Moves packets from sockets to one TUN. Made and wired by the pump.

    `gone` is called when the TUN was deleted, `settle` after each wake-up. `marked` counts
    packets that were marked because they had waited too long, `strange_marks` runs whose ECN bits
    somebody on the way changed against the rules.
    """

    def __init__(self, tun: Tun, tunnel: Tunnel, codec: Codec) -> None:
        self._tun = tun
        self._tunnel = tunnel
        self._codec = codec
        self._writer = Writer(tun, tunnel.drops)
        self._gathering = Gathering()
        self._malformed = 0
        # The queue before us is a socket's, and knows no flows: it has one state.
        self._codels: dict[int, tuple[CoDel, float]] = {}
        self.marked = 0
        self.strange_marks = 0
        self.gone: Callable[[], None] = lambda: None
        self.settle: Callable[[], None] = lambda: None

    def readable(self, socket: UdpSocket) -> None:
        """Move what a socket has, a bounded number of bytes, to the TUN."""
        now, taken = clock.now(), 0
        for number in range(RECEIVES_A_WAKE):
            room = self._gathering.room
            received = socket.receive(room)
            if received is None:
                break
            if number == 0 and self._express(room, received, now):
                continue
            if received.length:
                self._gather(received, now)
            else:
                self._tunnel.drops[Drop.MALFORMED] += 1
            # The first need not wait for what may be behind it.
            if (number == 0 and received.is_single) or self._gathering.full:
                self._take_gathered(now)
            taken += received.length
            if taken >= BYTES_A_WAKE:
                break
        self._take_gathered(now)
        self.settle()

    def _express(self, room: memoryview, received: Received, now: float) -> bool:
        """Deliver a lone datagram without what is done for batches; False where it needs more.

        As on the way out: what is rare finds its code in no cache, and is what somebody waits for.
        """
        length, segment_size, local, remote, marked, came = received
        if length != segment_size or marked or clock.since(came) >= RECEIVE_TARGET:
            return False
        opened = self._codec.open_single(room[:length], self._tunnel.keyring)
        if opened is None:
            return False
        receiver, counter, packet = opened
        batch = self._tunnel.screen_single(receiver, counter, packet, now=now)
        if batch is None:
            return True
        if batch.inner:
            self._not_late(local, now)
            self._deliver_single(batch.peer, packet)
        self._tunnel.arrived(batch, local, remote, now=now)
        return True

    def _gather(self, received: Received, now: float) -> None:
        if not self._gathering.add(received):
            before = self._gathering.data
            first = self._gathering.first
            self._gathering.begin(received)
            if first is not None:
                self._take(before, first, now)

    def _take_gathered(self, now: float) -> None:
        first = self._gathering.first
        if first is not None:
            self._gathering.clear()
            self._take(self._gathering.data, first, now)

    def _take(self, data: memoryview, received: Received, now: float) -> None:
        local, remote = received.local, received.remote
        for run in self._codec.open(data, received.segment_size, self._tunnel.keyring):
            if run.receiver is None:
                for datagram in run.packets:
                    self._tunnel.receive(bytes(datagram), local, remote, now=now)
                continue
            if run.failed:
                self._tunnel.drops[Drop.BAD_TAG] += run.failed
            if run.packets:
                self._take_run(run, run.receiver, received, now)

    def _take_run(self, run: Opened, receiver: int, received: Received, now: float) -> None:
        batch = self._tunnel.screen(receiver, run.counters, run.packets, now=now)
        if batch is None:
            return
        if batch.inner:
            inner = self._heed(batch.inner, received.ecn) if received.ecn else batch.inner
            self._deliver(batch.peer, self._relieve(inner, received, now))
        self._tunnel.arrived(batch, received.local, received.remote, now=now)

    def _heed(self, packets: list[memoryview], outer: int) -> list[memoryview]:
        """Let inner packets say what the network said to the outer ones: congested, or not."""
        # One is looked at for all: datagrams of one run left together, with the same bits.
        if ecn.is_strange(packets[0], outer):
            self.strange_marks += 1
        kept = ecn.decapsulated(packets, outer)
        self._tunnel.drops[Drop.UNMARKABLE] += len(packets) - len(kept)
        return kept

    def _relieve(
        self, packets: list[memoryview], received: Received, now: float
    ) -> list[memoryview]:
        """Let a sender know that more comes than can be opened; what is sparse is left alone."""
        waited = clock.since(received.came)
        victim = _bulky(packets)
        if waited >= RECEIVE_TARGET and victim is None:
            return packets
        codel = self._codel_of(received.local.host.version, now)
        if not codel.signals(waited, last=False, now=now) or victim is None:
            return packets
        if ecn.mark(packets[victim]):
            self.marked += 1
            return packets
        self._tunnel.drops[Drop.RECEIVED_LATE] += 1
        return packets[:victim] + packets[victim + 1 :]

    def _codel_of(self, version: int, now: float) -> CoDel:
        """Return the state of a socket's queue: a new one where nothing came for a while."""
        codel, seen = self._codels.get(version, (None, now))
        if codel is None or now - seen > INTERVAL:
            codel = CoDel(RECEIVE_TARGET)
        self._codels[version] = codel, now
        return codel

    def _not_late(self, local: Endpoint, now: float) -> None:
        """Note that a packet did not wait in the socket: where some did, the queue is gone."""
        if self._codels:
            self._codel_of(local.host.version, now).signals(0.0, last=False, now=now)

    def _deliver_single(self, peer: Peer, padded: memoryview) -> None:
        packet, source = whole(padded)
        if not source:
            self._tunnel.drops[Drop.BAD_INNER] += 1
        elif not self._tunnel.owns(peer, source):
            self._tunnel.drops[Drop.FORBIDDEN_SOURCE] += 1
        else:
            self._write((PLAIN, packet))

    def _write(self, parts: Sequence[bytes | memoryview]) -> bool:
        """Write to the TUN; False where it is gone."""
        try:
            self._writer.write(parts)
        except InterfaceGone:
            self.gone()
            return False
        return True

    def _deliver(self, peer: Peer, packets: list[memoryview]) -> None:
        merged = self._codec.coalesce(
            packets, offload=self._tun.offload, udp_offload=self._tun.udp_offload
        )
        self._tunnel.drops[Drop.BAD_INNER] += self._codec.malformed - self._malformed
        self._malformed = self._codec.malformed
        for superpacket in merged:
            if not self._tunnel.owns(peer, superpacket.source):
                self._tunnel.drops[Drop.FORBIDDEN_SOURCE] += max(1, len(superpacket.parts) - 2)
                continue
            if not self._write(superpacket.parts):
                return


def _bulky(packets: list[memoryview]) -> int | None:
    """Return the place of a packet whose sender may be told; None where what came is sparse."""
    if len(packets) < BULK:
        return None
    return next((at for at, packet in enumerate(packets) if len(packet) >= BULKY), None)
