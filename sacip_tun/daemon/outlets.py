"""The outlets: the UDP sockets of one tunnel, whose port and mark may change while it runs."""

from collections.abc import Callable, Iterable

from sacip_tun.config import Offload
from sacip_tun.daemon.offloads import options
from sacip_tun.linux.udp import UdpSocket


class Outlets:
    """One socket for each address family, all on one port.

    `chosen` tells that somebody asked for this port, and did not leave it to the kernel. `sockets`
    is one list, whose members change.
    """

    def __init__(self, offload: Offload) -> None:
        self._options = options(offload)
        self.sockets: list[UdpSocket] = []
        self.mark = 0
        self.needed_mark = 0
        """What stands for mark 0: without it the datagrams of a full tunnel would enter it."""
        self.chosen = False
        self.swap: Callable[[list[UdpSocket]], None] = lambda _sockets: None
        """Called with the new sockets, when those before are still open."""

    @property
    def port(self) -> int:
        """The UDP port of both families."""
        return self.sockets[0].port

    @property
    def versions(self) -> frozenset[int]:
        """The address families that there is a socket for."""
        return frozenset(socket.version for socket in self.sockets)

    def open(self, port: int, mark: int, kept: Iterable[UdpSocket] = ()) -> None:
        """Listen on `port`, 0 for a random one, with SO_MARK `mark`, 0 for none.

        Sockets that were `kept` from an earlier time are taken instead of new ones. What was open
        before is closed, but only when the new one is. Raises SocketError.
        """
        opened = list(kept)
        if not opened:
            pair = UdpSocket.open_pair(port, mark, **self._options)
            opened = [socket for socket in pair if socket is not None]
        self.swap(opened)
        before = self.sockets[:]
        self.sockets[:] = opened
        for socket in before:
            socket.close()
        self.mark, self.chosen = mark, port != 0

    def meant(self, mark: int | None) -> int:
        """Return the mark that `change` sets when it is asked for this one."""
        return self.mark if mark is None else mark or self.needed_mark

    def change(self, port: int | None, mark: int | None) -> bool:
        """Go over to another port or mark, None where it stays; True where something changed.

        Raises SocketError for the port and OSError for the mark, and then nothing is changed.
        """
        mark = self.meant(mark)
        stays = port is None or port == self.port or (port == 0 and not self.chosen)
        if not stays:
            self.open(port or 0, mark)
            return True
        if port is not None:
            self.chosen = port != 0
        if mark == self.mark:
            return False
        for socket in self.sockets:
            socket.set_mark(mark)
        self.mark = mark
        return True

    def close(self) -> None:
        """Close; harmless when repeated."""
        for socket in self.sockets:
            socket.close()
