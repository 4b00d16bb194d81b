"""The host slept: the peer is told anew where we are, though nothing changed here."""

from simulation import connected, endpoint, pair

from sacip_tun.protocol.events import Moved, Moving, Side
from sacip_tun.protocol.facts import Source
from sacip_tun.protocol.frames import Reason
from sacip_tun.protocol.limits import REJECT_AFTER_TIME
from sacip_tun.protocol.sacip import LocalState

HUB = "10.9.0.2"


def resume(world, host) -> None:
    host.tunnel.resumed(now=world.now)
    world.settle(host)


def test_the_address_in_use_is_announced_and_acknowledged():
    world, a, b = connected()
    resume(world, a)
    world.run(0.5)
    moved = a.of(Moved)[-1]
    assert (moved.side, moved.new, moved.reason) == (
        Side.LOCAL,
        endpoint("192.168.1.22"),
        Reason.RESUMED,
    )
    assert a.peer.exchange.local_move.state is LocalState.SETTLED
    assert b.peer.path.remote.active == endpoint("192.168.1.22")


def test_a_nat_that_forgot_us_is_found_out():
    """The same address of ours comes from another port at the peer's side."""
    world, a, b = connected()
    elsewhere = endpoint("192.168.1.22", 61001)

    def rebound(source, destination, _data):
        if source.host == endpoint("192.168.1.22").host:
            return [(elsewhere, destination)]
        return [(source, endpoint("192.168.1.22") if destination == elsewhere else destination)]

    world.tap = rebound
    resume(world, a)
    world.run(2.0)
    assert b.peer.path.remote.active == elsewhere
    b.send("10.9.0.1")
    world.run(0.5)
    assert a.delivered


def test_after_a_night_a_handshake_comes_at_once():
    world, a, b = connected()
    before = a.peer.last_handshake
    world.now += REJECT_AFTER_TIME + 60.0
    resume(world, a)
    world.run(0.5)
    assert a.peer.last_handshake > before
    a.send(HUB)
    world.run(0.5)
    assert len(b.delivered) == 2


def test_a_plain_peer_gets_keepalives():
    world, a, _ = connected(b_sacip=False)
    world.run(15.0)
    sent = len(world.sent)
    resume(world, a)
    world.run(0.5)
    keepalives = [data for _, _, remote, data in world.sent[sent:] if len(data) == 32]
    assert len(keepalives) == 3
    assert a.peer.exchange.local_move.state is LocalState.SETTLED


def test_without_a_session_and_without_addresses_it_is_harmless():
    world, a, _ = pair()
    sent = len(world.sent)
    resume(world, a)
    assert len(world.sent) == sent
    a.facts()
    resume(world, a)
    assert len(world.sent) == sent


def test_a_move_that_was_under_way_ends_at_the_new_address():
    world, a, b = connected()
    a.move_to("192.168.1.2")
    resume(world, a)
    world.run(0.5)
    assert b.peer.path.remote.active == endpoint("192.168.1.2")
    assert a.peer.exchange.local_move.state is LocalState.SETTLED


def test_who_is_called_first_and_learns_of_its_gateway_later_announces_nothing():
    world, _, hub = connected()
    one, other = (endpoint(f"192.168.1.{last}").host for last in (4, 9))
    hub.told(Source(endpoint("192.168.1.101"), 2, preferred=True, gateway=one))
    assert hub.of(Moving) == []
    hub.told(Source(endpoint("192.168.1.101"), 2, preferred=True, gateway=other))
    world.run(0.5)
    assert [event.reason for event in hub.of(Moving)] == [Reason.ROUTE_CHANGED]
