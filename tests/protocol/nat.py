"""A NAT for the simulation, as a tap: it forgets what was silent for too long."""

from itertools import count

from simulation import World, endpoint

from sacip_tun.protocol.address import Endpoint

PUBLIC = "203.0.113.1"


class Nat:
    """Translates what comes from `inside`; a mapping ends `timeout` s after its last packet out.

    `timeout` None keeps mappings until `restart`.
    """

    def __init__(self, world: World, *inside: str, timeout: float | None = None) -> None:
        self._world = world
        self._inside = inside
        self.timeout = timeout
        self._ports = count(61000)
        self._mappings: dict[Endpoint, tuple[Endpoint, Endpoint, float]] = {}
        self.lost = 0
        world.tap = self.carry

    @property
    def outside(self) -> list[Endpoint]:
        """The outer ends of the mappings that exist, the newest last."""
        return list(self._mappings)

    def restart(self) -> None:
        self._mappings.clear()

    def carry(self, source: Endpoint, destination: Endpoint, _data: bytes):
        self._expire()
        if str(source.host) in self._inside:
            return [(self._outgoing(source, destination), destination)]
        if str(destination.host) != PUBLIC:
            return [(source, destination)]
        mapping = self._mappings.get(destination)
        if mapping is None or mapping[1] != source:
            self.lost += 1
            return []
        return [(source, mapping[0])]

    def _outgoing(self, source: Endpoint, destination: Endpoint) -> Endpoint:
        now = self._world.now
        for outside, (inside, remote, _) in self._mappings.items():
            if (inside, remote) == (source, destination):
                self._mappings[outside] = (inside, remote, now)
                return outside
        outside = endpoint(PUBLIC, next(self._ports))
        self._mappings[outside] = (source, destination, now)
        return outside

    def _expire(self) -> None:
        if self.timeout is None:
            return
        for outside, (_, _, used) in list(self._mappings.items()):
            if self._world.now - used >= self.timeout:
                del self._mappings[outside]
