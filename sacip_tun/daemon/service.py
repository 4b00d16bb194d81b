"""The service: one interface, brought up, run until told otherwise, and undone exactly.

What does not go with the TUN and the sockets stands in the undo log (linux/undo.py): a crash undoes
the same as `down` does, as soon as the next tunnel starts.
"""

import asyncio
import contextlib
import gc
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from sacip_tun.agreement import RUN_DIRECTORY
from sacip_tun.config import Config
from sacip_tun.daemon import clock, status
from sacip_tun.daemon.addressbook import AddressBook
from sacip_tun.daemon.control import Answer, CommandError, ControlServer
from sacip_tun.daemon.ending import EndedEarlyError, Ending
from sacip_tun.daemon.journal import Journal
from sacip_tun.daemon.loopguard import LoopGuard
from sacip_tun.daemon.mtufollower import MtuFollower
from sacip_tun.daemon.offloads import Offloads, options
from sacip_tun.daemon.outlets import Outlets
from sacip_tun.daemon.planned import PlannedMove
from sacip_tun.daemon.pump import Pump
from sacip_tun.daemon.quick import Quick
from sacip_tun.daemon.reconfigurer import Reconfigurer, identity_of, settings_of
from sacip_tun.daemon.reload import Reloader
from sacip_tun.daemon.saver import Saver
from sacip_tun.daemon.supervision import Supervision
from sacip_tun.daemon.uapi_desk import Bare, UapiDesk
from sacip_tun.daemon.wakeup import Wakeup
from sacip_tun.daemon.watcher import Outlet, Watcher
from sacip_tun.datapath.python import PythonCodec
from sacip_tun.linux.netlink import NetlinkMonitor
from sacip_tun.linux.service_manager import ServiceManager
from sacip_tun.linux.tun import Tun
from sacip_tun.protocol.address import Endpoint, Host
from sacip_tun.protocol.events import (
    Degraded,
    Event,
    FrameReceived,
    HandshakeGaveUp,
    HandshakeUnanswered,
    Hunting,
    Moved,
    PathMtu,
    SessionReady,
    Side,
)
from sacip_tun.protocol.frames import Code, code_name
from sacip_tun.protocol.peer import Peer
from sacip_tun.protocol.tunnel import Tunnel

# Events after which a peer may be somewhere else: its name is resolved again.
LOST = (Hunting, HandshakeUnanswered, HandshakeGaveUp, Degraded)
# Frames that carry candidates.
INTRODUCTIONS = frozenset({code_name(Code.HELLO), code_name(Code.HELLO_ACK)})


class Service:
    """One tunnel interface and everything that moves behind it.

    With `bare` it is made as wireguard-go makes it, and ends when its UAPI socket is removed.
    """

    def __init__(
        self,
        config: Config,
        run_directory: Path = RUN_DIRECTORY,
        *,
        bare: Bare | None = None,
        manager: ServiceManager | None = None,
    ) -> None:
        self._name = config.interface.name
        self._run_directory = run_directory
        self._bare = bare
        self._ending = Ending()
        self._news = asyncio.Event()
        self._moving = asyncio.Lock()
        self._looked_at: tuple[Host, ...] = ()
        self.journal = Journal(config.interface.name)
        self.tunnel = Tunnel(
            identity_of(config.interface.private_key), entropy=os.urandom, unix_ns=time.time_ns
        )
        self._outlets = Outlets(config.interface.offload)
        self.reconfigurer = Reconfigurer(config, self.tunnel, self._outlets, self.journal)
        self.quick = Quick(config, run_directory, self.journal, self._end_for_good)
        reloader = Reloader(self.reconfigurer, self.tunnel, self._outlets, self.quick)
        self._supervision = Supervision(manager, self.tunnel, self.journal, reloader)
        self._saver = Saver(self.reconfigurer, self.quick)
        self.mtu = 0
        self.faults = 0
        self._untold: Sequence[str] = ()
        self._rang_at = 0.0
        self._wakeup: Wakeup
        self._tun: Tun
        self._offloads: Offloads
        self._pump: Pump
        self._control: ControlServer
        self._guard: LoopGuard
        self._watcher: Watcher
        self._book: AddressBook

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Bring the interface up; on leaving, or where any step fails, everything is undone.

        Raises SetupError, LocalError, or OSError for the control socket; EndedEarlyError where
        `stop` or a signal came first.
        """
        async with AsyncExitStack() as stack:
            self._ending.heed_signals()
            try:
                with self._ending.ends_this():
                    await self._come_up(stack)
            except EndedEarlyError:
                self._supervision.leave()
                raise
            yield
            try:
                await self.quick.leave()
            finally:
                self._supervision.leave()
                self.journal.note("down")

    async def _come_up(self, stack: AsyncExitStack) -> None:
        asyncio.get_running_loop().set_exception_handler(self._fault)
        self._wakeup = Wakeup(self._ring, self._resumed)
        stack.callback(self._wakeup.close)
        await self._serve_control(stack)
        self.reconfigurer.need_mark(self.quick.begin(stack, self._supervision.keeper))
        await self.quick.make_up()
        self._open(stack)
        await self.quick.before_up()
        self._add_peers()
        self._configure()
        await self._watch(stack)
        self._start_pump(stack)
        await self._serve_uapi(stack)
        self.journal.note("up", port=self.listen_port, mtu=self.mtu)
        self._look_up(stack)
        await self._supervision.call_again(self.settle)
        self.settle()
        await self._book.first_lookups()
        self._control.is_ready = True  # commands of PostUp may ask
        await self.quick.finish(stack, self._tun.index, self.listen_port, self._watcher)
        gc.freeze()  # what stands now will stay: no collection need look at thousands of peers
        self._supervision.announce(stack)

    async def until_stopped(self) -> None:
        """Wait for `stop`, SIGINT or SIGTERM."""
        await self._ending.asked()

    def stop(self) -> None:
        """End; harmless when repeated. What the service manager keeps for the next one stays."""
        self._ending.ask()

    def _end_for_good(self) -> None:
        """End; and there shall be no interface any longer."""
        self._supervision.keeper.final = True
        self.stop()

    def settle(self) -> None:
        """Drain what the protocol has to say, and arm its next timer."""
        tunnel = self.tunnel
        moment = time.time()
        self._news.set()
        while True:
            while datagrams := tunnel.datagrams_to_send():
                for datagram in datagrams:
                    self._pump.transmit(datagram)
            event = tunnel.next_event()
            if event is None:
                break
            self._handle(event, moment)
        self._report_loop()
        deadline = tunnel.next_timer()
        if deadline is not None:
            # Older is what the last ring had no time for: that tells nothing about a sleep.
            self._wakeup.no_later_than(max(deadline, self._rang_at))

    def _report_loop(self) -> None:
        if self._guard.untold:
            self._guard.untold = False
            self.journal.note("routing-loop", why=self._guard.problem)

    def _fault(self, _loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        """A bug must neither stop the tunnel nor print a traceback; it is a record, and counted."""
        error = context.get("exception") or context.get("message")
        self.faults += 1
        self.journal.note("fault", what=repr(error), faults=self.faults)

    # Bringing up

    async def _serve_control(self, stack: AsyncExitStack) -> None:
        """First of all: who holds the control socket holds the interface's name."""
        commands = {"status": self._status, "move": self._move, **self.quick.commands}
        if self._bare is not None:
            commands["down"] = self._leave_to_others
        server = self._control = ControlServer(
            self._run_directory / f"{self._name}.sock", commands, self.journal
        )
        server.is_ready = False
        # A bare interface has its name already: who had it before is about to end.
        await server.start(patient=self._bare is not None)
        stack.push_async_callback(server.stop)

    def _open(self, stack: AsyncExitStack) -> None:
        settings = self.config.interface
        how = options(settings.offload)
        ports = settings.listen_port, settings.fwmark
        kept = self._supervision.keeper
        self._outlets.open(*ports, kept.sockets(*ports, **how))
        stack.callback(self._outlets.close)
        if self._bare is not None:
            self._tun = self._bare.tun
        else:
            self._tun = kept.tun(settings.name, **how) or Tun.open(settings.name, **how)
        stack.callback(self._tun.close)
        self._supervision.begin(self._tun, self._outlets.sockets, stack)
        self._offloads = Offloads(settings.offload, self._tun, self._outlets.sockets)
        self._offloads.probe()

    def _add_peers(self) -> None:
        config = self.config
        for peer in config.peers:
            settings = settings_of(peer, config.interface)
            self.tunnel.add_peer(settings, peer.allowed_ips, now=clock.now())

    def _configure(self) -> None:
        # The MTU of a bare interface is what somebody set: it is read.
        if self._bare is None:
            prune = self._supervision.took_over
            self.mtu = self.quick.configure(self._tun.index, self._outlets.mark, prune=prune)

    async def _watch(self, stack: AsyncExitStack) -> None:
        self._book = AddressBook(self.tunnel, self.journal, self._versions, self._found)
        self._book.outside = self.quick.surroundings.outside
        monitor = await stack.enter_async_context(NetlinkMonitor.open())
        self._watcher = Watcher(
            monitor,
            self.tunnel,
            outlet=Outlet(self.listen_port, self._outlets.mark, self._versions),
            own={self._tun.index},
            settle=self._looked,
            retry=self._retry_waiting,
        )
        stack.push_async_callback(self._watcher.stop)

    def _start_pump(self, stack: AsyncExitStack) -> None:
        loop = asyncio.get_running_loop()
        self._pump = Pump(
            self._tun,
            self._outlets.sockets,
            self.tunnel,
            PythonCodec(),
            mtu=self.mtu,
            settle=self.settle,
            gone=self._end_for_good,
        )
        self._pump.outbound.dscp = self.config.interface.dscp
        self._pump.sender.path_failed = self._watcher.path_failed
        self._pump.sender.tell = self._send_refused
        self._pump.sender.doubt = lambda peer: peer.liveness.doubt(now=clock.now())
        self._guard = LoopGuard(self.tunnel, self.listen_port, self._name)
        self._pump.outbound.is_own = self._guard.is_own
        self._outlets.swap = lambda sockets: self._pump.rebind(sockets, loop)
        self.reconfigurer.wire(self._book, self._watcher)
        self.reconfigurer.settle = self.settle
        self.reconfigurer.expect = self.quick.expect
        self.reconfigurer.rebound = self._rebound
        self._watcher.start()
        self._pump.start(loop)
        stack.callback(self._pump.stop, loop)
        self._wakeup.start(loop)
        stack.callback(self._wakeup.stop, loop)

    async def _serve_uapi(self, stack: AsyncExitStack) -> None:
        """Let `wg` see and change it."""
        follower = MtuFollower(self._tun.fileno(), self._mtu_changed)
        stack.callback(follower.close)
        follower.look()
        desk = UapiDesk(self.tunnel, self.reconfigurer, self.journal, self._figures)
        stack.push_async_callback(desk.stop)
        if self._bare is None:
            self._untold = await desk.try_to_start()
        else:
            await desk.start(self._bare.listener)
            desk.watch(self._end_for_good)

    async def _rebound(self) -> None:
        self._supervision.keeper.rebound(self._outlets.sockets)
        await self.quick.rebound(self._guard, self._outlets)

    def _figures(self) -> tuple[int, int]:
        return self.listen_port, self.mtu

    def _mtu_changed(self, mtu: int) -> None:
        self.mtu = self._pump.outbound.mtu = mtu

    def _look_up(self, stack: AsyncExitStack) -> None:
        stack.callback(self._book.stop)
        self._book.start(self.config.peers)

    @property
    def config(self) -> Config:
        """The configuration as it is now."""
        return self.reconfigurer.config

    @property
    def warnings(self) -> list[str]:
        """What the user should know though the interface is up."""
        found = [*self._offloads.warnings(), *self._book.warnings, *self._untold]
        return found + self.quick.warnings

    @property
    def listen_port(self) -> int:
        """The UDP port of both families."""
        return self._outlets.port

    @property
    def _versions(self) -> frozenset[int]:
        """The address families that there is a socket for."""
        return self._outlets.versions

    # What happens

    def _handle(self, event: Event, moment: float) -> None:
        if not isinstance(event, SessionReady):
            self.journal.publish(event, moment)
        peer = self.tunnel.peers.get(event.peer)
        if peer is None:
            return
        if isinstance(event, LOST):
            self._book.look_up(event.peer)
        if isinstance(event, Moved):
            self._moved(event)
        if isinstance(event, FrameReceived) and event.code in INTRODUCTIONS:
            # The peer told where else it may be found: sources may lead there too.
            asyncio.get_running_loop().call_soon(self._watcher.look_at, event.peer)
        if isinstance(event, PathMtu):
            self._offloads.retry_sending()
        self._supervision.noticed(peer, fresh=isinstance(event, SessionReady))
        self._flush(peer)

    def _looked(self) -> None:
        """Look a name up where addresses of this host changed: it may lead to where they do.

        What is found is looked at in turn, and must not be a reason to look the name up again.
        """
        self._offloads.retry_sending()
        if self._watcher.candidates != self._looked_at:
            self._looked_at = self._watcher.candidates
            self._pump.sender.restart()
            self._book.look_up_again(detached=True)
        self.settle()

    def _moved(self, event: Moved) -> None:
        self._offloads.retry()
        if event.side is Side.LOCAL:
            self._pump.sender.restart()
        if event.side is Side.REMOTE:
            # Other sources may lead to where the peer is now; not within this drain.
            asyncio.get_running_loop().call_soon(self._watcher.forget, event.peer)

    def _flush(self, peer: Peer) -> None:
        if peer.held and peer.can_send(now=clock.now()):
            self._pump.outbound.flush_held(peer)

    def _retry_waiting(self) -> None:
        """Try again what the kernel refused to send: the route may be back without any event."""
        self._pump.sender.retry()
        for peer in self.tunnel.peers.met:
            self._flush(peer)
        self.settle()

    def _send_refused(self, why: str, fix: str, local: Endpoint | None, remote: Endpoint) -> None:
        source = None if local is None else str(local)
        self.journal.note("send-refused", local=source, remote=str(remote), why=why, fix=fix)

    def _found(self, key: bytes) -> None:
        self._watcher.forget(key)
        self.settle()

    def _ring(self) -> None:
        self._rang_at = clock.now()
        try:
            self.tunnel.handle_timer(now=self._rang_at)
        finally:
            self.settle()

    def _resumed(self, what: str, seconds: float) -> None:
        """Believe nothing that was known before: addresses, NATs, and what names resolve to."""
        self.journal.note("resumed", why=what, seconds=round(seconds, 3))
        self._watcher.reload()
        self.tunnel.resumed(now=clock.now())
        self._book.look_up_again()
        self.settle()

    # Commands

    async def _status(self, _request: Answer) -> Answer:
        document = status.document(
            self.config,
            self.tunnel,
            self.journal,
            listen_port=self.listen_port,
            mtu=self.mtu,
            counters={
                "faults": self.faults,
                "marked": self._pump.outbound.marked + self._pump.inbound.marked,
                "strange_marks": self._pump.inbound.strange_marks,
                "unreadable": self._tun.unreadable,
                "send_errors": {kind.value: n for kind, n in self._pump.sender.errors.items()},
            },
            offload=self._offloads.document(),
        )
        return {**document, **self.quick.document, "problem": self._guard.problem}

    async def _leave_to_others(self, _request: Answer) -> Answer:
        """Refuse `down` of a bare interface: what belongs to it, who had it made took care of."""
        raise CommandError(
            "sacip-wg made it, for another program to set up and to take down",
            f"wg-quick down {self._name}, or ip link delete {self._name}",
        )

    async def _move(self, request: Answer) -> Answer:
        if self._moving.locked():
            raise CommandError("another move is under way", "wait for it, then try again")
        async with self._moving:
            planned = PlannedMove(self.tunnel, self._watcher, self.journal, self.settle, self._news)
            return await planned.run(request)
