"""Steering of IPv6: leaving by an interface that the kernel's routing would not choose.

For IPv4 the interface in IP_PKTINFO is enough. For IPv6 it is not: with a source address given as
well, the interface is only a preference among routes of one metric, and packets with the address of
the second provider leave through the first one (seen on Linux 6.18; ip6_route_output sets
RT6_LOOKUP_F_IFACE only for a bound socket or without a source). So each steered interface gets a
send-only socket that is bound to it. To take nothing away from the main socket it is connected to
a multicast address, which no packet can have as its source.
"""

import socket
from collections.abc import Callable

from sacip_tun.protocol.address import Endpoint

# asm-generic/socket.h
SO_BINDTOIFINDEX = 62
# More steered interfaces at once than any host has uplinks.
MAX_STEERED = 16
# All nodes on the link (RFC 4291 2.7.1), port 9 (discard): every interface has a route to it.
NOWHERE = "ff02::1", 9


class SteeredSockets:
    """The send-only sockets beside one main IPv6 socket, on the same port.

    `configure` sets the options that all of them share with the main one.
    """

    def __init__(self, main: socket.socket, configure: Callable[[socket.socket], None]) -> None:
        self._main = main
        self._configure = configure
        self._sockets: dict[int, socket.socket] = {}

    def outlet(self, local: Endpoint, remote: Endpoint) -> socket.socket:
        """Return the socket to send with. Raises OSError (ENODEV) where the interface is gone."""
        if remote.host.is_link_local:
            return self._main
        found = self._sockets.get(local.interface)
        if found is None:
            if len(self._sockets) >= MAX_STEERED:
                self.close()
            found = self._sockets[local.interface] = self._opened(local.interface)
        return found

    def close(self) -> None:
        """Close them all; they are opened again on need."""
        for sock in self._sockets.values():
            sock.close()
        self._sockets.clear()

    def _opened(self, interface: int) -> socket.socket:
        sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            sock.setsockopt(socket.SOL_SOCKET, SO_BINDTOIFINDEX, interface)
            self._configure(sock)
            self._share_port(sock)
            sock.connect((*NOWHERE, 0, interface))
        except OSError:
            sock.close()
            raise
        return sock

    def _share_port(self, sock: socket.socket) -> None:
        # The main socket permits sharing only for this moment, and Linux only to the same user.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._main.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            sock.bind(("::", self._main.getsockname()[1]))
        finally:
            self._main.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 0)
