"""The roster: who has not called is its settings alone, and nobody is made whole by looking on."""

import pytest
from simulation import EPOCH_NS, connected, endpoint

from sacip_tun.protocol.facts import LocalFacts
from sacip_tun.protocol.keys import StaticIdentity
from sacip_tun.protocol.settings import PeerSettings
from sacip_tun.protocol.tunnel import Tunnel

COUNT = 50
KEYS = [bytes([number]) * 32 for number in range(COUNT)]


@pytest.fixture
def tunnel() -> Tunnel:
    made = Tunnel(StaticIdentity(b"\x77" * 32), entropy=bytes, unix_ns=lambda: EPOCH_NS)
    for key in KEYS:
        made.add_peer(PeerSettings(key), [], now=0.0)
    return made


def test_peers_that_were_added_are_there_in_order_and_none_is_whole(tunnel: Tunnel) -> None:
    assert list(tunnel.peers) == KEYS
    assert len(tunnel.peers) == COUNT
    assert KEYS[7] in tunnel.peers
    assert not tunnel.peers.met


def test_what_concerns_all_makes_none_whole(tunnel: Tunnel) -> None:
    tunnel.addresses_changed(LocalFacts({}), now=1.0)
    tunnel.resumed(now=2.0)
    tunnel.handle_timer(now=3.0)
    for key in KEYS:
        assert tunnel.peers.glance(key).key == key
    assert not tunnel.peers.met


def test_a_peer_that_was_asked_for_stays_the_same(tunnel: Tunnel) -> None:
    peer = tunnel.peers[KEYS[3]]
    assert tunnel.peers.get(KEYS[3]) is tunnel.peers.glance(KEYS[3]) is peer
    assert list(tunnel.peers.met) == [peer]


def test_strangers_are_not_there(tunnel: Tunnel) -> None:
    assert tunnel.peers.get(b"\xff" * 32) is None
    with pytest.raises(KeyError):
        tunnel.peers[b"\xff" * 32]
    with pytest.raises(KeyError):
        tunnel.peers.glance(b"\xff" * 32)


@pytest.mark.parametrize(
    "settings",
    [
        PeerSettings(b"\xaa" * 32, endpoint=endpoint("192.0.2.1")),
        PeerSettings(b"\xaa" * 32, named=True),
        PeerSettings(b"\xaa" * 32, keepalive=25),
    ],
)
def test_who_is_to_be_spoken_to_is_whole_from_the_start(
    tunnel: Tunnel, settings: PeerSettings
) -> None:
    tunnel.add_peer(settings, [], now=0.0)
    assert [peer.key for peer in tunnel.peers.met] == [settings.public_key]


def test_a_call_makes_a_peer_whole_and_it_knows_the_candidates_that_came_before() -> None:
    world, a, b = connected()
    (peer,) = b.tunnel.peers.met
    assert peer.key == a.tunnel.public_key
    facts = LocalFacts({}, candidates=(endpoint("192.168.1.101").host, endpoint("10.0.0.1").host))
    b.tunnel.addresses_changed(facts, now=world.now)
    assert endpoint("10.0.0.1") in peer.exchange.local_move.candidates


def test_one_that_is_removed_is_gone_whole_or_not(tunnel: Tunnel) -> None:
    whole = tunnel.peers[KEYS[0]]
    for key in KEYS[:2]:
        tunnel.remove_peer(key)
        assert key not in tunnel.peers
        assert tunnel.peers.get(key) is None
    assert whole not in tunnel.peers.met
    assert len(tunnel.peers) == COUNT - 2
