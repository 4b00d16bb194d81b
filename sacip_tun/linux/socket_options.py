"""What the outer sockets are asked to do, and what this kernel can."""

import contextlib
import fcntl
import socket
import sys
import termios

from sacip_tun.linux.ancillary import (
    PKTINFO,
    RECEIVE_TRAFFIC_CLASS,
    SO_TIMESTAMPNS_NEW,
    UDP_SEGMENT,
)

# Socket buffers in bytes: about 10 ms in at 2.5 Gbit/s (datapath.md 11.4). Out it is the beginning,
# and what steered sockets keep: others are made as long as their links want (daemon/backlog.py).
RECEIVE_BUFFER = 4 << 20
SEND_BUFFER = 1 << 16
# linux/in.h, in6.h, udp.h and asm-generic/socket.h: constants that the socket module lacks.
IP_MTU_DISCOVER, IPV6_MTU_DISCOVER, IPV6_DONTFRAG = 10, 23, 62
# DONT clears DF and cuts by the path MTU that the kernel learnt from ICMP. OMIT clears DF and heeds
# no MTU but the interface's, PROBE sets DF and does the same.
PMTUDISC_DONT, PMTUDISC_PROBE, PMTUDISC_OMIT = 0, 3, 5
# IPv4 routers cut what has no DF, so ICMP, which may be forged or outdated, need not be heeded. For
# IPv6 only the sender cuts: what is not known to fit has to be cut by what ICMP said.
USUAL = {4: PMTUDISC_OMIT, 6: PMTUDISC_DONT}
DISCOVERY = {
    4: (socket.IPPROTO_IP, IP_MTU_DISCOVER),
    6: (socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER),
}
UDP_GRO = 104
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33


def segments(sock: socket.socket) -> bool:
    """Tell whether the kernel knows UDP_SEGMENT: before Linux 4.18 it would send one datagram."""
    try:
        sock.getsockopt(socket.SOL_UDP, UDP_SEGMENT)
    except OSError:
        return False
    return True


def receive_runs(sock: socket.socket) -> bool:
    """Ask for UDP_GRO; before Linux 5.0 there is none, and datagrams come one at a time."""
    try:
        sock.setsockopt(socket.SOL_UDP, UDP_GRO, 1)
    except OSError:
        return False
    return True


def configure(sock: socket.socket, version: int, mark: int) -> None:
    """Set up a socket of IP `version` with SO_MARK `mark`, 0 for none. Raises OSError."""
    level, pktinfo = PKTINFO[version]
    if version == 6:
        sock.setsockopt(level, socket.IPV6_V6ONLY, 1)
        sock.setsockopt(level, socket.IPV6_RECVPKTINFO, 1)
    else:
        sock.setsockopt(level, pktinfo, 1)
    sock.setsockopt(*RECEIVE_TRAFFIC_CLASS[version], 1)
    with contextlib.suppress(OSError):  # before Linux 5.1: nobody knows how long it waited
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS_NEW, 1)
    set_discovery(sock, version, USUAL[version])
    if mark:
        set_mark(sock, mark)
    _set_buffer(sock, SO_RCVBUFFORCE, socket.SO_RCVBUF, RECEIVE_BUFFER)
    set_send_buffer(sock, SEND_BUFFER)


def set_mark(sock: socket.socket, mark: int) -> None:
    """Set SO_MARK, 0 for none. Raises OSError: EPERM without CAP_NET_ADMIN."""
    # Marks are 32 bits without a sign, which Python takes for a number that is too large.
    signed = mark - (1 << 32) if mark >= 1 << 31 else mark
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, signed)


def set_discovery(sock: socket.socket, version: int, mode: int) -> None:
    """Let the kernel treat path MTUs by one of PMTUDISC_*."""
    sock.setsockopt(*DISCOVERY[version], mode)
    if version == 6:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_DONTFRAG, int(mode == PMTUDISC_PROBE))


def set_send_buffer(sock: socket.socket, size: int) -> None:
    """Let so many bytes wait below a socket, and no more."""
    _set_buffer(sock, SO_SNDBUFFORCE, socket.SO_SNDBUF, size)


def outstanding(sock: socket.socket) -> int:
    """Return how many bytes wait below a socket (udp(7): SIOCOUTQ). Raises OSError."""
    answer = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4))
    return int.from_bytes(answer, sys.byteorder)


def _set_buffer(sock: socket.socket, forced: int, option: int, size: int) -> None:
    try:
        sock.setsockopt(socket.SOL_SOCKET, forced, size)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, option, size)
