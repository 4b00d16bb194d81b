"""The outer UDP sockets: one system call for up to 64 datagrams, each with its own source address.

One socket for each address family, bound to the wildcard and never connected: a connected socket
cannot roam (boringtun#187). The source of what goes out and the destination of what comes in are
control messages (IP_PKTINFO), so that a change of address needs no new socket. So is the traffic
class, DSCP and ECN, in both directions. UDP_SEGMENT cuts one buffer into equal datagrams in the
kernel, UDP_GRO delivers a run of equal datagrams as one buffer.
"""

import contextlib
import errno
import socket
import sys
from collections.abc import Iterator
from typing import NamedTuple, Self

from sacip_tun.linux import ancillary, socket_options
from sacip_tun.linux.ancillary import (
    PKTINFO,
    SO_TIMESTAMPNS_NEW,
    TRAFFIC_CLASS,
    Ancillary,
)
from sacip_tun.linux.errors import SocketError
from sacip_tun.linux.offload import REFUSALS, Switch
from sacip_tun.linux.socket_options import PMTUDISC_OMIT, PMTUDISC_PROBE, UDP_GRO, USUAL
from sacip_tun.linux.steering import SteeredSockets
from sacip_tun.protocol.address import Endpoint

# A buffer for one receive: UDP_GRO gives at most 64 KB (datapath.md 3).
RECEIVE_CAPACITY = 1 << 16
# UDP_MAX_SEGMENTS of kernels before 6.9, and 65535 - 20 - 8 bytes of payload.
MAX_SEGMENTS = 64
MAX_PAYLOAD = 65507
# Entries in each cache; addresses that strangers send from can only fill it and empty it.
CACHE_SIZE = 1024
# Tries to find a port that is free in both families.
PORT_TRIES = 32

# The low bits of the traffic class (RFC 3168 5), which comes as one byte or as a native int.
ECN = 3
LOWEST = 0 if sys.byteorder == "little" else -1

Sockaddr = tuple[str, int] | tuple[str, int, int, int]
Path = tuple[Endpoint | None, Endpoint]


class Received(NamedTuple):
    """A run of datagrams of one remote: all `segment_size` long but the last, never 0.

    `ecn` are the ECN bits of their IP headers: the kernel merges only what has the same. `came` is
    when the first of them came to this host, in seconds since 1970; 0 where nobody knows.
    """

    length: int
    segment_size: int
    local: Endpoint
    remote: Endpoint
    ecn: int = 0
    came: float = 0.0

    @property
    def is_single(self) -> bool:
        """Whether it is one datagram."""
        return self.length == self.segment_size

    def is_shorter_than(self, other: "Received") -> bool:
        """Tell whether it is one datagram, and shorter than those of `other`."""
        return self.is_single and self.length < other.segment_size


class UdpSocket:
    """A UDP socket of one address family.

    `version` is 4 or 6. `offload` permits UDP_SEGMENT and UDP_GRO, and with `remember` a path that
    refused UDP_SEGMENT is spared it for a while. `segmenting` and `receiving` tell what became of
    both. `taken` is how many bytes the kernel took of the last `send`, whole datagrams.
    """

    def __init__(
        self, version: int, port: int, mark: int = 0, *, offload: bool = True, remember: bool = True
    ) -> None:
        self.version = version
        self.taken = 0
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        self._socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            socket_options.configure(self._socket, version, mark)
            receives = offload and socket_options.receive_runs(self._socket)
            self._socket.bind(("" if version == 4 else "::", port))
        except OSError:
            self._socket.close()
            raise
        self.port: int = self._socket.getsockname()[1]
        self.segmenting: Switch[Path] = Switch(
            usable=offload and socket_options.segments(self._socket), remember=remember
        )
        self._pktinfo, self._traffic_class = PKTINFO[version][1], TRAFFIC_CLASS[version][1]
        self.receiving: Switch[None] = Switch(usable=receives)
        self._mark = mark
        self._steered = SteeredSockets(
            self._socket, lambda sock: socket_options.configure(sock, version, self._mark)
        )
        # Keyed by identity, which costs a quarter of a hash; each value keeps its keys alive.
        self._sockaddrs: dict[int, tuple[Endpoint, Sockaddr]] = {}
        self._ancillaries: dict[tuple[int, int, int], tuple[Endpoint | None, Ancillary]] = {}
        self._locals: dict[bytes, Endpoint] = {}
        self._remotes: dict[Sockaddr, Endpoint] = {}

    @classmethod
    def open_pair(
        cls, port: int, mark: int = 0, *, offload: bool = True, remember: bool = True
    ) -> tuple[Self | None, Self | None]:
        """Open an IPv4 and an IPv6 socket on one same port; 0 chooses one that is free in both.

        None stands for a family that this host does not have. Raises SocketError.
        """
        for _ in range(PORT_TRIES):
            ipv4 = cls._opened(4, port, mark, offload=offload, remember=remember)
            try:
                ipv6 = cls._opened(
                    6, ipv4.port if ipv4 else port, mark, offload=offload, remember=remember
                )
            except SocketError:
                if ipv4:
                    ipv4.close()
                if port:
                    raise
                continue
            if ipv4 or ipv6:
                return ipv4, ipv6
            raise SocketError("this host has neither IPv4 nor IPv6", "see `ip address`")
        raise SocketError("no UDP port is free in both IPv4 and IPv6", "set ListenPort")

    @classmethod
    def _opened(
        cls, version: int, port: int, mark: int, *, offload: bool, remember: bool
    ) -> Self | None:
        try:
            return cls(version, port, mark, offload=offload, remember=remember)
        except PermissionError as error:
            raise SocketError(
                f"no privilege for UDP port {port} with FwMark {mark}",
                "run as root or with CAP_NET_ADMIN, or unset FwMark",
                missing=True,
            ) from error
        except OSError as error:
            if error.errno in {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}:
                return None
            raise SocketError(
                f"UDP port {port} (IPv{version}) cannot be opened: {error.strerror}",
                "see who has it with `ss -ulpn`, or choose another ListenPort",
            ) from error

    def fileno(self) -> int:
        """Return the descriptor, to wait for readability."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close; harmless when closed already."""
        self._steered.close()
        self._socket.close()

    @property
    def outstanding(self) -> int:
        """Bytes below the socket that have not left (SIOCOUTQ), by the kernel's own measure."""
        return socket_options.outstanding(self._socket)

    def steers(self, local: Endpoint | None, remote: Endpoint) -> bool:
        """Tell whether this path has a socket of its own, which cannot be waited for here."""
        return self._outlet(local, remote) is not self._socket

    def set_mark(self, mark: int) -> None:
        """Set SO_MARK of all that leaves from here on, 0 for none. Raises OSError."""
        socket_options.set_mark(self._socket, mark)
        self._mark = mark
        self._steered.close()  # they are opened again, with the new one

    def set_send_buffer(self, size: int) -> None:
        """Let so many bytes wait below the socket, and no more."""
        socket_options.set_send_buffer(self._socket, size)

    # Out

    def send(
        self,
        data: memoryview,
        segment_size: int,
        local: Endpoint | None,
        remote: Endpoint,
        traffic_class: int = 0,
    ) -> None:
        """Send `data` as datagrams of `segment_size` bytes, the last one perhaps shorter.

        `local` is the source, None for the kernel's choice; its interface, where not 0, is the one
        to leave by. `traffic_class` has the DSCP and ECN bits of each. Raises OSError as the kernel
        gives it: BlockingIOError when the socket is full, EINVAL or EADDRNOTAVAIL for a source that
        is gone, ENETUNREACH and others for the route.
        """
        self.taken = 0
        length = len(data)
        if length <= segment_size:
            self._send(data, 0, local, remote, traffic_class)
            return
        step = min(MAX_SEGMENTS, MAX_PAYLOAD // segment_size) * segment_size or segment_size
        for start in range(0, length, step):
            offload = self.segmenting.allows((local, remote))
            send = self._send_run if offload else self._send_plain
            send(data[start : start + step], segment_size, local, remote, traffic_class)

    def send_whole(self, data: memoryview, local: Endpoint | None, remote: Endpoint) -> None:
        """Send one datagram that nobody may fragment.

        Raises OSError as `send` does, and EMSGSIZE where the first link cannot carry it.
        """
        self.taken = 0
        with self._discovery(PMTUDISC_PROBE, local, remote):
            self._send(data, 0, local, remote, 0)

    def send_fitting(
        self,
        data: memoryview,
        segment_size: int,
        local: Endpoint | None,
        remote: Endpoint,
        traffic_class: int = 0,
    ) -> None:
        """Send as `send` does what is known to fit the path, whatever the kernel believes of it.

        Its path MTU is kept for ten minutes for each destination, over all paths that lead there.
        """
        self.taken = 0
        with self._discovery(PMTUDISC_OMIT, local, remote):
            self.send(data, segment_size, local, remote, traffic_class)

    @contextlib.contextmanager
    def _discovery(self, mode: int, local: Endpoint | None, remote: Endpoint) -> Iterator[None]:
        """Let the socket for this path treat MTUs otherwise for a moment."""
        outlet = self._outlet(local, remote)
        socket_options.set_discovery(outlet, self.version, mode)
        try:
            yield
        finally:
            socket_options.set_discovery(outlet, self.version, USUAL[self.version])

    def _send_run(
        self,
        run: memoryview,
        segment_size: int,
        local: Endpoint | None,
        remote: Endpoint,
        traffic_class: int,
    ) -> None:
        if len(run) <= segment_size:
            self._send(run, 0, local, remote, traffic_class)
            return
        try:
            self._send(run, segment_size, local, remote, traffic_class)
        except OSError as error:
            if error.errno not in REFUSALS:
                raise
            self._send_instead(run, segment_size, local, remote, traffic_class)

    def _send_instead(
        self,
        run: memoryview,
        segment_size: int,
        local: Endpoint | None,
        remote: Endpoint,
        traffic_class: int,
    ) -> None:
        """Send what the kernel refused as a run, and find out what it did not like.

        If the path takes datagrams one by one, even if not all of them now, it was the offload.
        Else, as where EINVAL says that the source is gone, this raises it again, and nothing is
        known about the offload.
        """
        before = self.taken
        try:
            self._send_plain(run, segment_size, local, remote, traffic_class)
        finally:
            if self.taken > before:
                self.segmenting.refused((local, remote))

    def _send_plain(
        self,
        data: memoryview,
        segment_size: int,
        local: Endpoint | None,
        remote: Endpoint,
        traffic_class: int,
    ) -> None:
        for start in range(0, len(data), segment_size):
            self._send(data[start : start + segment_size], 0, local, remote, traffic_class)

    def _send(
        self,
        data: memoryview,
        segment_size: int,
        local: Endpoint | None,
        remote: Endpoint,
        traffic_class: int,
    ) -> None:
        try:
            sockaddr = self._sockaddrs[id(remote)][1]
        except KeyError:
            sockaddr = self._remember_sockaddr(remote)
        try:
            beside = self._ancillaries[id(local), segment_size, traffic_class][1]
        except KeyError:
            beside = self._remember_ancillary(local, segment_size, traffic_class)
        self._outlet(local, remote).sendmsg((data,), beside, 0, sockaddr)
        self.taken += len(data)

    def _outlet(self, local: Endpoint | None, remote: Endpoint) -> socket.socket:
        if self.version == 6 and local is not None and local.interface:
            return self._steered.outlet(local, remote)
        return self._socket

    def _remember_sockaddr(self, remote: Endpoint) -> Sockaddr:
        if len(self._sockaddrs) >= CACHE_SIZE:
            self._sockaddrs.clear()
        sockaddr = remote.sockaddr
        self._sockaddrs[id(remote)] = remote, sockaddr
        return sockaddr

    def _remember_ancillary(
        self, local: Endpoint | None, segment_size: int, traffic_class: int
    ) -> Ancillary:
        if len(self._ancillaries) >= CACHE_SIZE:
            self._ancillaries.clear()
        beside = ancillary.outgoing(self.version, local, segment_size, traffic_class)
        self._ancillaries[id(local), segment_size, traffic_class] = local, beside
        return beside

    # In

    def receive(self, buffer: memoryview) -> Received | None:
        """Receive one run of datagrams into `buffer` (RECEIVE_CAPACITY bytes); None when empty."""
        try:
            length, beside, _, sockaddr = self._socket.recvmsg_into((buffer,), ancillary.CAPACITY)
        except BlockingIOError:
            return None
        segment_size, pktinfo, ecn, came = 0, b"", 0, 0.0
        # Only what was asked for comes, and no two of it have one number.
        for _, kind, value in beside:
            if kind == self._pktinfo:
                pktinfo = value
            elif kind == self._traffic_class:
                ecn = value[LOWEST] & ECN
            elif kind == SO_TIMESTAMPNS_NEW:
                came = ancillary.unix_time(value)
            elif kind == UDP_GRO:
                segment_size = int.from_bytes(value[:4], sys.byteorder)
        if not 0 < segment_size < length:
            segment_size = length or 1
        local = self._locals.get(pktinfo) or self._remember_local(pktinfo)
        remote = self._remotes.get(sockaddr) or self._remember_remote(sockaddr)
        return Received(length, segment_size, local, remote, ecn, came)

    def _remember_local(self, pktinfo: bytes) -> Endpoint:
        if len(self._locals) >= CACHE_SIZE:
            self._locals.clear()
        local = self._locals[pktinfo] = ancillary.destination(self.version, pktinfo, self.port)
        return local

    def _remember_remote(self, sockaddr: Sockaddr) -> Endpoint:
        if len(self._remotes) >= CACHE_SIZE:
            self._remotes.clear()
        remote = self._remotes[sockaddr] = Endpoint.from_sockaddr(sockaddr)
        return remote
