"""The pump: both ways through the tunnel, and what the protocol itself has to send."""

import asyncio
from collections.abc import Callable, Iterable

from sacip_tun.daemon import clock
from sacip_tun.daemon.inbound import Inbound
from sacip_tun.daemon.outbound import Outbound
from sacip_tun.daemon.sender import Parcel, Sender
from sacip_tun.datapath.codec import Codec
from sacip_tun.linux.tun import Tun
from sacip_tun.linux.udp import UdpSocket
from sacip_tun.protocol.context import Datagram
from sacip_tun.protocol.tunnel import Tunnel


class Pump:
    """Moves packets between one TUN and the UDP sockets.

    `sender` is what all datagrams leave by. `settle` is called after each wake-up, and drains what
    the protocol has to say; `gone` is called when the TUN was deleted by somebody else.
    """

    def __init__(
        self,
        tun: Tun,
        sockets: Iterable[UdpSocket],
        tunnel: Tunnel,
        codec: Codec,
        *,
        mtu: int,
        settle: Callable[[], None] = lambda: None,
        gone: Callable[[], None] = lambda: None,
    ) -> None:
        self._tun = tun
        self._sockets = list(sockets)
        self._tunnel = tunnel
        self.sender = Sender(self._sockets, tunnel.drops)
        self.outbound = Outbound(tun, tunnel, codec, self.sender, mtu=mtu)
        self.inbound = Inbound(tun, tunnel, codec)
        self.outbound.settle = self.inbound.settle = settle
        self.outbound.gone = self.inbound.gone = gone
        self.sender.go = self.outbound.forward

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Watch the TUN and the sockets."""
        self.sender.start(loop)
        self.outbound.start(loop)
        loop.add_reader(self._tun.fileno(), self.outbound.readable)
        for socket in self._sockets:
            loop.add_reader(socket.fileno(), self.inbound.readable, socket)

    def stop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Watch nothing any more."""
        self.sender.close()
        self.outbound.stop()
        loop.remove_reader(self._tun.fileno())
        for socket in self._sockets:
            loop.remove_reader(socket.fileno())

    def rebind(self, sockets: Iterable[UdpSocket], loop: asyncio.AbstractEventLoop) -> None:
        """Use other sockets from here on; what waits in those before is lost."""
        for socket in self._sockets:
            loop.remove_reader(socket.fileno())
        self._sockets = list(sockets)
        self.sender.rebind(self._sockets)
        for socket in self._sockets:
            loop.add_reader(socket.fileno(), self.inbound.readable, socket)

    def transmit(self, datagram: Datagram) -> None:
        """Send what the protocol made: a handshake message, keepalive, frame or repetition."""
        data = memoryview(datagram.data)
        parcel = Parcel(data, datagram.segment_size or len(data), datagram.local, datagram.remote)
        if not datagram.unfragmented:
            self.sender.send(parcel)
        elif not self.sender.send_whole(parcel):
            self._tunnel.refused(datagram, now=clock.now())
