"""The keeper: what outlives this process, while the service manager starts the next one.

The TUN with its addresses and routes stays, so no inner connection breaks; the outer sockets keep
their port, and what arrives meanwhile waits in them. Session keys are gone with the process, which
nobody could take over without the counters: the handshake is made anew, at once, since the memory
of where each peer was is kept too.
"""

import os
from contextlib import suppress

from sacip_tun.daemon.memory import Memory
from sacip_tun.linux.errors import TunError
from sacip_tun.linux.service_manager import ServiceManager
from sacip_tun.linux.tun import Tun, name_of
from sacip_tun.linux.udp import UdpSocket

TUN, MEMORY = "tun", "peers"
UDP = {4: "udp4", 6: "udp6"}


class Keeper:
    """Descriptors that the service manager keeps; `taken` names those that were taken back.

    `final` says that nobody comes after this process.
    """

    def __init__(self, manager: ServiceManager) -> None:
        self._manager = manager
        self.taken: list[str] = []
        self.final = False
        for name in manager.kept.keys() - {TUN, MEMORY, *UDP.values()}:
            self._refuse(name)  # of a version that comes after this one, or of nobody

    @property
    def is_supervised(self) -> bool:
        """Whether there is a service manager, which may start a process after this one."""
        return self._manager.is_there

    def has_tun(self, name: str) -> bool:
        """Tell whether `tun` will give this interface back."""
        descriptors = self._manager.kept.get(TUN, [])
        return len(descriptors) == 1 and name_of(descriptors[0]) == name

    def tun(self, name: str, *, offload: bool, remember: bool) -> Tun | None:
        """Take back the interface of this name, if it is still there."""
        descriptor = self._only(TUN)
        if descriptor is None:
            return None
        with suppress(TunError):
            tun = Tun.adopt(descriptor, offload=offload, remember=remember)
            if tun.name == name:
                self.taken.append(TUN)
                return tun
        self._refuse(TUN, descriptor)
        return None

    def sockets(self, port: int, mark: int, *, offload: bool, remember: bool) -> list[UdpSocket]:
        """Take back the sockets of one port, 0 for any; none where they have another."""
        found = []
        for name in UDP.values():
            descriptor = self._only(name)
            if descriptor is None:
                continue
            try:
                found.append(UdpSocket.of(descriptor, mark, offload=offload, remember=remember))
            except OSError:
                self._refuse(name)
        ports = {socket.port for socket in found}
        if len(ports) > 1 or (port and ports - {port}):
            for socket in found:
                socket.close()
                self._refuse(UDP[socket.version])
            return []
        self.taken += [UDP[socket.version] for socket in found]
        return found

    def memory(self) -> Memory:
        """Take back the memory of where peers were, or begin a new one."""
        descriptor = self._only(MEMORY)
        if descriptor is not None:
            self.taken.append(MEMORY)
            return Memory(descriptor)
        return Memory(os.memfd_create("sacip-tun-peers"))

    def keep(self, tun: Tun, sockets: list[UdpSocket], memory: Memory) -> None:
        """Have everything kept that is not kept yet."""
        wanted = {TUN: tun.fileno(), MEMORY: memory.fileno()}
        wanted |= {UDP[socket.version]: socket.fileno() for socket in sockets}
        for name, descriptor in wanted.items():
            if name not in self.taken:
                self._manager.keep(name, descriptor)

    def rebound(self, sockets: list[UdpSocket]) -> None:
        """Have these kept instead of those before."""
        for socket in sockets:
            self._manager.forget(UDP[socket.version])
            self._manager.keep(UDP[socket.version], socket.fileno())

    def leave(self) -> None:
        """Where nobody comes after us, have everything closed, and wait until it is."""
        if self.final and self._manager.is_there:
            for name in (TUN, MEMORY, *UDP.values()):
                self._manager.forget(name)
            self._manager.wait()

    def _only(self, name: str) -> int | None:
        """Return the descriptor of this name; of several, nobody knows which one counts."""
        descriptors = self._manager.kept.pop(name, [])
        if len(descriptors) == 1:
            return descriptors[0]
        if descriptors:
            self._refuse(name, *descriptors)
        return None

    def _refuse(self, name: str, *descriptors: int) -> None:
        for descriptor in (*descriptors, *self._manager.kept.pop(name, [])):
            with suppress(OSError):
                os.close(descriptor)
        self._manager.forget(name)
