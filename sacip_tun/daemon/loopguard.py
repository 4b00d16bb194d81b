"""The loop guard: the tunnel's own outer datagrams must not come back to it as inner packets.

They do where a route sends a peer's endpoint into the TUN: a default route that somebody put there
by hand, or AllowedIPs that hold the endpoint. Each turn would wrap the packet once more.
"""

from sacip_tun.daemon import clock
from sacip_tun.datapath.packet import UDP
from sacip_tun.protocol.address import Endpoint
from sacip_tun.protocol.tunnel import Tunnel

# A loop that was seen within so many seconds still counts as one: handshakes are 5 s apart.
RECENT = 15.0
# The length of a flow that has ports: two addresses, four bytes of ports, the protocol; and where
# its destination is.
UDP_FLOWS = {13: slice(4, 8), 37: slice(16, 32)}


class LoopGuard:
    """Recognises them by our port, a peer's port and a peer's address."""

    def __init__(self, tunnel: Tunnel, port: int, interface: str) -> None:
        self._tunnel = tunnel
        self.listens_on(port)
        self._interface = interface
        self._endpoint: Endpoint | None = None
        self._seen = float("-inf")
        self.untold = False
        """Whether a loop began, or went on for long, and nobody was told."""

    def listens_on(self, port: int) -> None:
        """Take another port of ours."""
        self._port = port.to_bytes(2, "big")

    def is_own(self, flow: bytes, now: float) -> bool:
        """Tell whether the packets of a flow (load.py) are datagrams of ours."""
        if len(flow) not in UDP_FLOWS or flow[-1] != UDP or flow[-5:-3] != self._port:
            return False
        destination = flow[UDP_FLOWS[len(flow)]]
        port = int.from_bytes(flow[-3:-1], "big")
        for peer in self._tunnel.peers.met:
            for endpoint in peer.where.destinations:
                if endpoint.port == port and endpoint.host.packed == destination:
                    self._note(endpoint, now)
                    return True
        return False

    @property
    def problem(self) -> str | None:
        """What is wrong and what mends it, None where no loop was seen lately."""
        if self._endpoint is None or clock.now() - self._seen > RECENT:
            return None
        host = self._endpoint.host
        return (
            f"packets to {self._endpoint} are routed into the tunnel itself; give it a way outside:"
            f" ip route add {host} via GATEWAY, or take it out of what is routed to "
            f"{self._interface}"
        )

    def _note(self, endpoint: Endpoint, now: float) -> None:
        self.untold = self.untold or now - self._seen > RECENT or endpoint != self._endpoint
        self._endpoint, self._seen = endpoint, now
