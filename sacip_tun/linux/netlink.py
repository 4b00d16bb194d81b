"""The network monitor: every change of links, addresses, routes and rules, within a millisecond.

It sleeps in the event loop's poll until the kernel has a message. A burst of messages is applied to
the tables and passed on at once. Some changes come without a message (Linux deletes IPv4 routes
together with an address or a link in silence), so that the tables are loaded again shortly after
a change; that costs nothing while the network is still.
When messages were lost (ENOBUFS), or come faster than the budget, nothing is decoded any more until
the tables have been loaded whole, at most once a second (netlink(7) has no other way).
"""

import asyncio
import errno
import logging
from collections.abc import AsyncIterator, Callable
from typing import Self

from sacip_tun.linux import messages
from sacip_tun.linux.messages import Message
from sacip_tun.linux.rtnetlink import RTM_DELROUTE, RTM_DELRULE, datagrams, notification_socket
from sacip_tun.linux.snapshot import Change, Snapshot, Tables

log = logging.getLogger(__name__)

# Messages taken in one wake-up, so that other callbacks have their turn: 2 to 6 ms of decoding.
MESSAGES_A_WAKE = 32
# Messages decoded in a second: a fifth of one core.
MESSAGES_A_SECOND = 2000
# Between two loads of the tables, in seconds (reliability.md 8.2, fault 17).
LOAD_INTERVAL = 1.0
# From the first message of a burst to the load that finds what came without one, in seconds.
VERIFY_DELAY = 0.1
# Tables larger than this many next hops are a router's: loading takes 50 us each.
VERIFY_LIMIT = 2000
# Messages thrown away at a time before a load. The queue must be seen empty, because a full netlink
# socket stays deaf until then.
DISCARDS = 100_000
DELETIONS = frozenset({RTM_DELROUTE, RTM_DELRULE})


class NetlinkMonitor:
    """Follows the kernel's tables. Use it as `async with NetlinkMonitor.open() as monitor`.

    `messages` counts what was decoded, `resyncs` the loads after a loss or an overload.
    """

    def __init__(self) -> None:
        self.messages = 0
        self.resyncs = 0
        self.deleted: Callable[[Message], None] | None = None
        """Told each message about a rule or a route that was deleted, at once."""
        self._socket = notification_socket()
        self._tables = Tables()
        self._current = Snapshot()
        self._told = self._current
        self._stale = False
        self._lost = False
        self._loaded_at = 0.0
        self._window = (0.0, 0)
        self._load_handle: asyncio.TimerHandle | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False

    @classmethod
    def open(cls) -> Self:
        """Subscribe to messages; entering loads the tables. Both raise OSError."""
        return cls()

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        try:
            self._tables.load()
        except OSError:
            self._socket.close()
            raise
        self._loaded_at = self._loop.time()
        self._stale = True
        self._told = self.snapshot()
        self._loop.add_reader(self._socket.fileno(), self._readable)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop; a waiting iteration ends."""
        if self._closed:
            return
        self._closed = True
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        if self._load_handle is not None:
            self._load_handle.cancel()
        self._wake()

    def snapshot(self) -> Snapshot:
        """Return the state now; the same object as before while nothing has changed."""
        if self._stale:
            self._stale = False
            self._current = Snapshot(*self._tables.contents())
        return self._current

    def reload(self) -> None:
        """Load the tables now, and throw away the messages that are older."""
        self._discard()
        self._lost = False
        self._load()

    def __aiter__(self) -> AsyncIterator[Change]:
        return self

    async def __anext__(self) -> Change:
        """Return the next change; messages that change no fact are not one."""
        while not self._closed:
            old, self._told = self._told, self.snapshot()
            change = Change.between(old, self._told)
            if change:
                return change
            self._waiter = self._loop.create_future()
            await self._waiter
        raise StopAsyncIteration

    def _wake(self) -> None:
        self._stale = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _readable(self) -> None:
        try:
            if self._lost:
                for _ in datagrams(self._socket, MESSAGES_A_WAKE):
                    pass
            else:
                self._take_messages()
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            self._lose("the kernel's queue overflowed")

    def _take_messages(self) -> None:
        count = 0
        for data in datagrams(self._socket, MESSAGES_A_WAKE):
            for message in messages.decoded(data):
                self._tables.apply(message)
                count += 1
                if self.deleted is not None and message["header"]["type"] in DELETIONS:
                    self.deleted(message)
        if count:
            self.messages += count
            self._wake()
            self._watch_budget(count)

    def _watch_budget(self, count: int) -> None:
        now = self._loop.time()
        start, spent = self._window
        if now - start >= 1.0:
            start, spent = now, 0
        self._window = start, spent + count
        if spent + count > MESSAGES_A_SECOND:
            self._lose("more changes than can be followed one by one")
        elif self._tables.route_count <= VERIFY_LIMIT:
            self._schedule_load(VERIFY_DELAY)

    def _lose(self, reason: str) -> None:
        if not self._lost:
            log.warning("netlink: %s; loading the tables again", reason)
        self._lost = True
        if self._load_handle is not None:
            self._load_handle.cancel()
            self._load_handle = None
        self._schedule_load(0.0)

    def _schedule_load(self, delay: float) -> None:
        if self._load_handle is None:
            soonest = self._loaded_at + LOAD_INTERVAL - self._loop.time()
            self._load_handle = self._loop.call_later(max(delay, soonest), self._load_again)

    def _load_again(self) -> None:
        self._load_handle = None
        if self._lost:
            self.resyncs += 1
            self.reload()
        else:
            self._load()

    def _load(self) -> None:
        self._loaded_at = self._loop.time()
        try:
            self._tables.load()
        except OSError as error:
            log.warning("netlink: the tables cannot be loaded: %s", error)
            self._lose("a load failed")
        self._wake()

    def _discard(self) -> None:
        """Empty the queue: what it holds is older than the tables that are loaded next."""
        for _ in range(2):  # the first read after an overflow only reports it
            try:
                for _ in datagrams(self._socket, DISCARDS):
                    pass
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
