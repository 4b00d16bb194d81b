"""After a crash nothing is known but where peers were: they are called there, once, at once."""

from simulation import endpoint, pair

from sacip_tun.protocol.settings import PeerSettings

INITIATION = 148
THERE, ELSEWHERE = "192.168.1.22", "192.168.1.201"


def initiations(world) -> list[str]:
    return [str(to.host) for *_, to, data in world.sent if len(data) == INITIATION]


def test_a_hub_that_knows_no_endpoint_calls_where_the_peer_was() -> None:
    world, _, hub = pair()
    hub.peer.remembered(endpoint(THERE), now=world.now)
    world.settle(hub)
    assert initiations(world) == [THERE]
    world.run(0.1)
    assert hub.peer.last_handshake is not None
    hub.send("10.9.0.1")
    world.run(0.1)
    assert hub.peer.path.remote.active == endpoint(THERE)


def test_a_peer_with_a_name_is_called_once_at_both_places_when_it_is_resolved() -> None:
    """Two calls in one moment would be one too many: the second ends the first, unanswered."""
    world, laptop, hub = pair()
    hub.tunnel.remove_peer(laptop.tunnel.public_key)
    hub.tunnel.add_peer(PeerSettings(laptop.tunnel.public_key, named=True), [], now=world.now)
    hub.facts("192.168.1.101")
    hub.peer.remembered(endpoint(THERE), now=world.now)
    world.settle(hub)
    assert initiations(world) == []
    hub.peer.resolved((endpoint(ELSEWHERE),), now=world.now)
    world.settle(hub)
    assert sorted(initiations(world)) == sorted([ELSEWHERE, THERE])
    assert len({data for *_, data in world.sent if len(data) == INITIATION}) == 1
    world.run(0.1)
    assert hub.peer.last_handshake is not None
    assert hub.peer.path.remote.active == endpoint(THERE)


def test_one_that_was_heard_since_is_not_disturbed() -> None:
    world, laptop, hub = pair()
    laptop.send("10.9.0.2")
    world.run(0.2)
    before = len(world.sent)
    hub.peer.remembered(endpoint(ELSEWHERE), now=world.now)
    world.settle(hub)
    assert len(world.sent) == before
    assert hub.peer.path.remote.active == endpoint(THERE)


def test_an_address_of_this_host_is_no_place_for_a_peer() -> None:
    world, _, hub = pair()
    hub.peer.remembered(endpoint("192.168.1.101"), now=world.now)
    world.settle(hub)
    assert initiations(world) == []
