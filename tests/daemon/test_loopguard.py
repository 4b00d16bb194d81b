"""Our own outer datagrams are recognised when they come back as inner packets."""

import pytest
from simulation import connected, endpoint

from sacip_tun.daemon import clock
from sacip_tun.daemon.loopguard import RECENT, LoopGuard
from sacip_tun.daemon.pump import Pump
from sacip_tun.datapath.load import loads
from sacip_tun.datapath.python import PythonCodec
from sacip_tun.protocol.errors import Drop

HUB = "192.168.1.101"


def datagram(source_port: int, target) -> memoryview:
    """An IPv4 UDP packet with an empty payload."""
    header = bytearray(28)
    header[0], header[8], header[9] = 0x45, 64, 17
    header[2:4] = (28).to_bytes(2, "big")
    header[12:16] = endpoint("192.168.1.22").host.packed
    header[16:20] = target.host.packed
    header[20:22] = source_port.to_bytes(2, "big")
    header[22:24] = target.port.to_bytes(2, "big")
    return memoryview(bytes(header))


@pytest.fixture
def guard():
    _, a, _ = connected()
    return LoopGuard(a.tunnel, 51820, "sacip0")


def judged(guard, packet, now=1.0) -> bool:
    (load,) = loads([memoryview(bytes(10) + packet)])
    return guard.is_own(load.flow, now)


def test_what_we_send_to_a_peer_is_ours(guard) -> None:
    assert judged(guard, datagram(51820, endpoint(HUB)))


@pytest.mark.parametrize(
    ("port", "target"),
    [
        (40000, endpoint(HUB)),  # somebody else's port
        (51820, endpoint(HUB, 53)),  # another service of the peer
        (51820, endpoint("192.168.1.102")),  # another host
    ],
)
def test_what_is_not_ours_passes(guard, port, target) -> None:
    assert not judged(guard, datagram(port, target))
    assert guard.problem is None


def test_a_loop_is_told_once_and_shown_while_it_lasts(guard, monkeypatch) -> None:
    now = 100.0
    monkeypatch.setattr(clock, "now", lambda: now)
    for _ in range(3):
        judged(guard, datagram(51820, endpoint(HUB)), now)
    assert guard.untold
    assert guard.problem is not None
    assert f"ip route add {HUB} via GATEWAY" in guard.problem
    guard.untold = False
    judged(guard, datagram(51820, endpoint(HUB)), now)
    assert not guard.untold
    now += RECENT + 1
    assert guard.problem is None


def test_the_pump_drops_and_counts_it() -> None:
    _, a, _ = connected()

    class OneRead:
        offload = udp_offload = True
        left = 1

        def read(self, buffer) -> int:
            if not self.left:
                raise BlockingIOError
            self.left -= 1
            packet = datagram(51820, endpoint("10.9.0.2"))
            buffer[10 : 10 + len(packet)] = packet
            return 10 + len(packet)

    pump = Pump(OneRead(), [], a.tunnel, PythonCodec(), mtu=1420)
    pump.outbound.is_own = lambda flow, _now: flow[4:8] == bytes([10, 9, 0, 2])
    pump.outbound.readable()
    assert a.tunnel.drops[Drop.ROUTING_LOOP] == 1
    assert not a.peer.delivery.hold
