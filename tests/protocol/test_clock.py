"""A wall clock that goes back: nothing but the timestamps of initiations depends on it."""

from ipaddress import ip_network

from simulation import Host, World, connected, endpoint, tunnel_of

from sacip_tun.protocol.errors import Drop
from sacip_tun.protocol.events import HandshakeCompleted
from sacip_tun.protocol.limits import REJECT_AFTER_TIME, REKEY_TIMEOUT
from sacip_tun.protocol.settings import PeerSettings

HOUR = 3600.0
INNER = {"laptop": "10.9.0.1", "hub": "10.9.0.2"}


def talk(world: World, a: Host, seconds: int) -> None:
    for _ in range(seconds):
        a.send(INNER["hub"])
        world.run(1.0)


def restart(world: World, a: Host, b: Host) -> None:
    """Start the laptop's tunnel anew; what it knew of the last timestamp is gone."""
    a.tunnel = tunnel_of(world, a.tunnel._context.identity)
    settings = PeerSettings(b.tunnel.public_key, endpoint=endpoint("192.168.1.101"), keepalive=0)
    a.tunnel.add_peer(settings, [ip_network(INNER["hub"])], now=world.now)
    a.facts("192.168.1.22")


def test_a_clock_that_goes_back_does_not_hinder_rekeying() -> None:
    world, a, b = connected()
    world.clock_error = -HOUR
    heard, sessions = len(b.delivered), len(b.of(HandshakeCompleted))
    talk(world, a, int(2 * REJECT_AFTER_TIME))
    assert len(b.of(HandshakeCompleted)) >= sessions + 2
    assert len(b.delivered) == heard + int(2 * REJECT_AFTER_TIME)
    assert b.tunnel.drops[Drop.REPLAYED_HANDSHAKE] == 0


def test_who_starts_anew_with_the_clock_back_is_refused_until_it_is_right() -> None:
    """As in every WireGuard: an initiation that is not newer than the last may be a replay."""
    world, a, b = connected()
    heard = len(b.delivered)
    world.clock_error = -HOUR
    restart(world, a, b)
    talk(world, a, 30)
    assert b.tunnel.drops[Drop.REPLAYED_HANDSHAKE] >= 3
    assert len(b.delivered) == heard
    assert a.tunnel.drops[Drop.REPLAYED_HANDSHAKE] == 0
    world.clock_error = 0.0
    talk(world, a, int(2 * REKEY_TIMEOUT))
    assert len(b.delivered) > heard


def test_who_starts_anew_with_the_clock_back_is_found_by_the_other() -> None:
    """It remembers no timestamp, so it takes any: whoever is called needs no clock."""
    world, a, b = connected()
    world.clock_error = -HOUR
    restart(world, a, b)
    heard = len(a.delivered)
    for _ in range(40):
        b.send(INNER["laptop"])
        world.run(1.0)
    assert len(a.delivered) > heard
    talk(world, a, 2)
    assert b.tunnel.drops[Drop.REPLAYED_HANDSHAKE] == 0
