"""The sender: everything that leaves by the UDP sockets, and what is done where that is refused.

1. No route, no neighbour: the path is suspicious, the packet waits for a better one.
2. A source that is gone: inner packets go at once from the address that the kernel takes, which an
   authenticated message may do; a frame names its own source, and is repeated by the protocol.
3. Forbidden: as 1; other paths are asked at once, and the user is told, since only the user can
   mend a firewall.
4. Full: what is left waits for the socket, in order, and nothing more is sealed meanwhile: inner
   packets wait in the fair queue.
5. Too big: dropped; it will not become smaller. A late complaint about an earlier datagram: again.
"""

import asyncio
import errno
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from sacip_tun.daemon import clock
from sacip_tun.daemon.backlog import WHOLE_BURST, Backlog
from sacip_tun.linux.send_errors import SendError, fix, meaning
from sacip_tun.linux.udp import UdpSocket
from sacip_tun.protocol.address import Endpoint
from sacip_tun.protocol.errors import Drop
from sacip_tun.protocol.peer import Peer

# Refusals that no netlink message tells of: another path is worth asking at once.
UNANNOUNCED = frozenset({SendError.FORBIDDEN, SendError.NO_NEIGHBOUR})
# Bytes that wait for full sockets: a wake-up's worth of super-packets, and what was held before.
MAX_WAITING = 4 << 20
# Parcels that a path took half of; each has up to 64 KB, and one path fails once.
MAX_LEFTOVERS = 16
# Pauses in seconds where the kernel has no memory, or says nothing of when it will take more.
FIRST_PAUSE = 0.001
LAST_PAUSE = 0.064
# A socket that is full for so many seconds has no slow link below it, but a neighbour that is gone:
# the kernel asks for it for three seconds, and keeps what waits for it in the socket's buffer.
STUCK_AFTER = 0.25
NEIGHBOUR_GONE = 4.0
# What the protocol says in one message, in bytes: it goes first. More is what it sends again.
MESSAGE = 2048
# The same complaint is told again after so many seconds.
TELL_AGAIN = 30.0
# And to so many remotes at most within that time.
MAX_TOLD = 64

Tell = Callable[[str, str, Endpoint | None, Endpoint], None]


@dataclass(slots=True)
class Parcel:
    """Datagrams of `size` bytes, the last perhaps shorter; `peer` is whose inner packets they have.

    None stands for a handshake message or a frame, which is bound to its addresses. `torn` tells
    that the beginning of the same super-packet has left: the rest must not be sealed anew with it.
    `fits` tells that the path is known to carry datagrams of this size whole. `traffic_class` has
    their outer DSCP and ECN bits.
    """

    data: memoryview
    size: int
    local: Endpoint | None
    remote: Endpoint
    peer: Peer | None = None
    torn: bool = False
    fits: bool = False
    traffic_class: int = 0

    @property
    def urgent(self) -> bool:
        """Whether it is a message of the protocol, which does not wait behind inner packets."""
        return self.peer is None and len(self.data) <= MESSAGE

    def rest(self, taken: int) -> "Parcel":
        """Return what is left when `taken` bytes have gone."""
        return replace(self, data=self.data[taken:], torn=self.torn or taken > 0)

    def kept(self) -> "Parcel":
        """Return a copy that can wait: the buffer will be used again."""
        return replace(self, data=memoryview(bytes(self.data)))


class Sender:
    """Sends over the sockets, one of each family. `errors` counts refusals by what they mean.

    `path_failed` is called when the kernel refuses a path, which is news about addresses, and
    `doubt` for a peer whose path it refuses for a reason that no news will come of. `go` is called
    when sockets were `full` and are not any more. `tell` gets what was forbidden: why, what to do,
    from where, to where.
    """

    def __init__(self, sockets: Iterable[UdpSocket], drops: Counter[Drop]) -> None:
        self._drops = drops
        self._use(sockets)
        # What the protocol has to say does not wait behind inner packets: it is little.
        self._urgent: deque[Parcel] = deque()
        self._waiting: deque[Parcel] = deque()
        self._waiting_bytes = 0
        self._leftovers: deque[Parcel] = deque(maxlen=MAX_LEFTOVERS)
        self._pause = FIRST_PAUSE
        self._timer: asyncio.TimerHandle | None = None
        self._tightening: asyncio.Handle
        self._stuck: asyncio.Handle
        self._watched: UdpSocket | None = None
        self._told: dict[tuple[int, Endpoint], float] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self.errors: Counter[SendError] = Counter()
        self.path_failed: Callable[[], None] = lambda: None
        self.doubt: Callable[[Peer], None] = lambda _peer: None
        self.go: Callable[[], object] = lambda: None
        self.tell: Tell = lambda _why, _fix, _local, _remote: None

    def _use(self, sockets: Iterable[UdpSocket]) -> None:
        self._sockets = {socket.version: socket for socket in sockets}
        self._backlogs = {
            version: Backlog(socket.set_send_buffer) for version, socket in self._sockets.items()
        }

    def rebind(self, sockets: Iterable[UdpSocket]) -> None:
        """Send over other sockets from here on, first of all what waited for those before."""
        self._rest()
        self._use(sockets)
        self.drain()

    @property
    def full(self) -> bool:
        """Whether something waits for a socket."""
        return bool(self._urgent or self._waiting)

    @property
    def burst(self) -> int:
        """How many bytes to send in one go."""
        return min((backlog.burst for backlog in self._backlogs.values()), default=WHOLE_BURST)

    def restart(self) -> None:
        """Know nothing of the links below any more: they may be others."""
        for backlog in self._backlogs.values():
            self._loosen(backlog)

    def _loosen(self, backlog: Backlog) -> None:
        """Let a socket take what it can for a while."""
        if self._loop is not None:
            backlog.loosen()
            self._tightening.cancel()
            self._tightening = self._loop.call_later(NEIGHBOUR_GONE, self._tighten)

    def _tighten(self) -> None:
        for backlog in self._backlogs.values():
            backlog.tighten()

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Use this loop to wait for full sockets."""
        self._loop = loop
        self._tightening = self._stuck = loop.call_soon(lambda: None)
        if self.full:
            self._await(None)

    def close(self) -> None:
        """Wait for nothing any more."""
        self._rest()
        if self._loop is not None:
            self._tightening.cancel()
            self._loop = None

    def send(self, parcel: Parcel) -> bool:
        """Send, now or soon; False where the path is refused: inner packets wait for another."""
        socket = self._sockets.get(parcel.remote.host.version)
        if socket is None:
            self._drops[Drop.NO_ENDPOINT] += 1
            return True
        if self._urgent or (self._waiting and not parcel.urgent):
            self._keep(parcel)
            return True
        return self._try(parcel, socket, again=True)

    def send_whole(self, parcel: Parcel) -> bool:
        """Send a probe that nobody may cut; False where the first link cannot carry it.

        A path that is refused altogether is found out by other packets.
        """
        socket = self._sockets.get(parcel.remote.host.version)
        if socket is None:
            return True
        try:
            socket.send_whole(parcel.data, parcel.local, parcel.remote)
        except OSError as error:
            kind = meaning(error.errno or 0)
            self.errors[kind] += 1
            return kind is not SendError.TOO_BIG
        return True

    def retry(self) -> None:
        """Send what a path refused half-way, over the path that its peer has now."""
        leftovers = list(self._leftovers)
        self._leftovers.clear()
        for parcel in leftovers:
            path = parcel.peer.path if parcel.peer is not None else None
            if path is not None and path.remote.active is not None:
                parcel.local, parcel.remote = path.local.active, path.remote.active
            parcel.peer, parcel.fits = None, False  # it had its second chance
            self.send(parcel)

    # Refused

    def _try(self, parcel: Parcel, socket: UdpSocket, *, again: bool) -> bool:
        try:
            whole = parcel.fits and socket.version == 6
            send = socket.send_fitting if whole else socket.send
            send(parcel.data, parcel.size, parcel.local, parcel.remote, parcel.traffic_class)
        except OSError as error:
            return self._refused(error, parcel.rest(socket.taken), socket, again=again)
        return True

    def _refused(self, error: OSError, rest: Parcel, socket: UdpSocket, *, again: bool) -> bool:
        kind = meaning(error.errno or 0)
        self.errors[kind] += 1
        if kind is SendError.FULL:
            if again and self._made_room(error, rest, socket):
                return True
            self._keep(rest)
            waits = error.errno == errno.EAGAIN and not socket.steers(rest.local, rest.remote)
            self._await(socket if waits else None)
            return True
        if kind is SendError.STRAY and again:
            return self._try(rest, socket, again=False)
        if kind is SendError.BAD_SOURCE and again and rest.peer and rest.local:
            self.path_failed()
            return self._try(replace(rest, local=None), socket, again=False)
        if kind in {SendError.TOO_BIG, SendError.STRAY}:
            self._drops[Drop.SEND_FAILED] += 1
            return True
        if kind is SendError.FORBIDDEN:
            self._complain(error, rest)
        if kind in UNANNOUNCED and rest.peer is not None:
            self.doubt(rest.peer)
        self.path_failed()
        return self._leave_over(rest)

    def _made_room(self, error: OSError, rest: Parcel, socket: UdpSocket) -> bool:
        """Send nevertheless what must not wait, or needs more room at once; False: it is full."""
        backlog = self._backlogs[socket.version]
        if rest.urgent:
            with backlog.room_for_one():
                return self._try(rest, socket, again=False)
        if error.errno == errno.EAGAIN or backlog.loose or self._loop is None:
            return False
        self._loosen(backlog)  # what IP cuts to fragments is refused by a short buffer (ENOBUFS)
        return self._try(rest, socket, again=False)

    def _leave_over(self, rest: Parcel) -> bool:
        """Keep what a path took half of; False where it took nothing."""
        if rest.torn and rest.peer is not None:
            self._leftovers.append(rest.kept())
            return True
        self._drops[Drop.SEND_FAILED] += 1
        return False

    def _complain(self, error: OSError, parcel: Parcel) -> None:
        number = error.errno or 0
        now, key = clock.now(), (number, parcel.remote)
        if now - self._told.get(key, -TELL_AGAIN) < TELL_AGAIN:
            return
        self._told = {k: when for k, when in self._told.items() if now - when < TELL_AGAIN}
        if len(self._told) >= MAX_TOLD:
            return  # whoever forges sources chooses whom we answer
        self._told[key] = now
        why = f"{errno.errorcode.get(number, number)}: {error.strerror}"
        self.tell(why, fix(number), parcel.local, parcel.remote)

    # Full

    def _keep(self, parcel: Parcel) -> None:
        """Let it wait. It is sealed, so that from here on it counts as torn."""
        if self._waiting_bytes + len(parcel.data) > MAX_WAITING:
            self._drops[Drop.SEND_FAILED] += 1
            return
        self._queue_of(parcel).append(replace(parcel.kept(), torn=True))
        self._waiting_bytes += len(parcel.data)

    def _queue_of(self, parcel: Parcel) -> deque[Parcel]:
        return self._urgent if parcel.urgent else self._waiting

    def _await(self, socket: UdpSocket | None) -> None:
        """Go on when `socket` has room, or after a pause where that cannot be waited for."""
        if self._loop is None or self._watched is not None or self._timer is not None:
            return
        if socket is not None:
            self._watched = socket
            backlog = self._backlogs[socket.version]
            backlog.full(now=clock.now())
            self._stuck = self._loop.call_later(STUCK_AFTER, self._loosen, backlog)
            self._loop.add_writer(socket.fileno(), self.drain)
        else:
            self._timer = self._loop.call_later(self._pause, self.drain)
            self._pause = min(2 * self._pause, LAST_PAUSE)

    def _rest(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._watched is not None and self._loop is not None:
            self._stuck.cancel()
            self._loop.remove_writer(self._watched.fileno())
            self._watched = None

    def drain(self) -> None:
        """Send what waits for full sockets, as far as they take it."""
        watched = self._watched
        self._rest()
        if watched is not None:
            backlog = self._backlogs[watched.version]
            backlog.drained(left=watched.outstanding, now=clock.now())
        waiting = deque([*self._urgent, *self._waiting])
        self._urgent.clear()
        self._waiting.clear()
        before, self._waiting_bytes = self._waiting_bytes, 0
        while waiting and not self.full:
            self.send(waiting.popleft())
        for parcel in waiting:
            self._queue_of(parcel).append(parcel)
            self._waiting_bytes += len(parcel.data)
        self._go_on(progress=self._waiting_bytes < before)

    def _go_on(self, *, progress: bool) -> None:
        if not self.full:
            self._pause = FIRST_PAUSE
            self.go()
        elif not progress:
            # Another socket is full than the one that has room: a steered one.
            self._rest()
            self._await(None)
