"""The link watch: the MTU of our interface, wherever it is: in another network namespace as well.

The kernel tells of links only in the namespace of the socket that listens. So the listening socket
is opened in the namespace in which the TUN is, which its descriptor knows (TUNGETDEVNETNS, Linux
5.2), and again where the TUN was moved.
"""

import ctypes
import errno
import fcntl
import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from struct import Struct
from typing import TypeVar

from sacip_tun.linux.tun import name_of

# linux/if_tun.h, sockios.h, sched.h, rtnetlink.h
TUNGETDEVNETNS, SIOCGIFMTU = 0x54E3, 0x8921
CLONE_NEWNET = 0x40000000
RTMGRP_LINK = 1
# struct ifreq: a name, and here a number.
IFREQ = Struct("=16si20x")
DATAGRAM = 1 << 16

T = TypeVar("T")


class LinkWatch:
    """Follows one TUN. The watch's own descriptor is another one after `follow`."""

    def __init__(self, tun: int) -> None:
        """Begin with the descriptor of a TUN. Raises OSError."""
        self._tun = tun
        self._open()

    def fileno(self) -> int:
        """Return the descriptor, to wait for readability."""
        return self._listener.fileno()

    def _open(self) -> None:
        self._listener, self._asker = inside(self._tun, _sockets)

    def news(self) -> None:
        """Take what the kernel told: which link it is about does not matter."""
        with suppress(BlockingIOError):
            while True:
                try:
                    self._listener.recv(DATAGRAM)
                except OSError as error:
                    if error.errno != errno.ENOBUFS:
                        raise

    def mtu(self) -> int | None:
        """Return the interface's MTU in bytes; None where it is in another namespace than before.

        Then `follow` goes there.
        """
        try:
            request = IFREQ.pack(name_of(self._tun).encode(), 0)
            answer = fcntl.ioctl(self._asker.fileno(), SIOCGIFMTU, request)
        except OSError:
            return None
        return int(IFREQ.unpack(answer)[1])

    def follow(self) -> None:
        """Listen where the TUN is now; the descriptor is another one then. Raises OSError."""
        before = self._listener, self._asker
        self._open()
        for sock in before:
            sock.close()

    def close(self) -> None:
        """Watch no more."""
        self._listener.close()
        self._asker.close()


def _sockets() -> tuple[socket.socket, socket.socket]:
    listener = socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE
    )
    listener.bind((0, RTMGRP_LINK))
    return listener, socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


def inside(tun: int, make: Callable[[], T]) -> T:
    """Return what `make` makes in the network namespace of a TUN. Raises OSError.

    Where that is our own it is made here. Else a thread goes there: namespaces are a thread's.
    """
    namespace = _namespace_of(tun)
    if namespace is None:
        return make()
    made: list[T] = []
    failed: list[OSError] = []

    def there() -> None:
        try:
            _enter(namespace)
            made.append(make())
        except OSError as error:
            failed.append(error)

    thread = threading.Thread(target=there)
    thread.start()
    thread.join()
    os.close(namespace)
    if failed:
        raise failed[0]
    return made[0]


def _namespace_of(tun: int) -> int | None:
    """Return a descriptor of the namespace where a TUN is, None where it is ours."""
    try:
        namespace = fcntl.ioctl(tun, TUNGETDEVNETNS)
    except OSError:  # before Linux 5.2: it is not followed
        return None
    there, here = os.fstat(namespace), Path("/proc/self/ns/net").stat()
    if (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino):
        os.close(namespace)
        return None
    return int(namespace)


def _enter(namespace: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")
