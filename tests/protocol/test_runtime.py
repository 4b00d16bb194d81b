"""Settings that change while a tunnel runs: keys, secrets, endpoints, intervals, and our port."""

from dataclasses import replace

import pytest
from simulation import connected, endpoint, pair

from sacip_tun.protocol.events import Moved
from sacip_tun.protocol.facts import Source
from sacip_tun.protocol.keys import NoIdentity, StaticIdentity
from sacip_tun.protocol.timers import Timer

OURS = "192.168.1.22"
PSK = bytes([7]) * 32


def change(host, **settings) -> None:
    host.tunnel.change_peer(replace(host.peer.settings, **settings), now=host.world.now)
    host.world.settle(host)


def test_another_port_of_ours_is_told_at_once() -> None:
    world, a, b = connected()
    a.told(Source(endpoint(OURS, 6001), 2, preferred=True))
    world.run(0.1)
    assert a.peer.path.local.active == endpoint(OURS, 6001)
    assert b.peer.path.remote.active == endpoint(OURS, 6001)
    assert [moved.reason.text for moved in a.of(Moved)] == ["nat rebound"]


def test_a_plain_peer_is_shown_another_port_by_a_keepalive() -> None:
    world, a, b = connected(b_sacip=False)
    a.told(Source(endpoint(OURS, 6001), 2, preferred=True))
    world.run(0.1)
    assert b.peer.path.remote.active == endpoint(OURS, 6001)


def test_another_private_key_ends_sessions_and_the_next_handshake_does_not_wait() -> None:
    world, a, b = connected()
    before, new = b.tunnel.public_key, StaticIdentity(bytes([9]) * 32)
    settings = replace(a.peer.settings, public_key=new.public)
    b.tunnel.change_identity(new)
    assert not b.peer.can_seal(now=world.now)
    # What was under way is opened still.
    a.send("10.9.0.2", b"late")
    world.run(0.1)
    assert b"late" in b.delivered[-1]
    networks = a.tunnel.networks_of(a.peer)
    a.tunnel.remove_peer(before)
    a.tunnel.add_peer(settings, networks, now=world.now)
    a.facts(OURS)
    a.send("10.9.0.2", b"again")
    world.run(0.1)
    assert b"again" in b.delivered[-1]


def test_without_a_private_key_nobody_calls_and_nobody_is_answered() -> None:
    world, a, b = pair()
    b.tunnel.change_identity(NoIdentity(bytes([5]) * 32))
    a.send("10.9.0.2")
    b.peer.start_handshake(now=world.now)
    world.run(12.0)
    assert not a.peer.can_seal(now=world.now)
    assert b.tunnel.peers.glance(a.tunnel.public_key).traffic.tx_bytes == 0


def test_a_preshared_key_counts_from_the_next_handshake_on_also_for_one_under_way() -> None:
    world, a, b = pair()
    change(b, preshared_key=PSK)
    a.send("10.9.0.2")
    world.run(0.1)
    assert not a.peer.can_seal(now=world.now)
    change(a, preshared_key=PSK)
    world.run(6.0)  # the next try
    assert a.peer.can_seal(now=world.now)
    assert b.delivered
    change(a, preshared_key=bytes(32))
    a.send("10.9.0.2", b"goes on")
    world.run(0.1)
    assert b"goes on" in b.delivered[-1]


def test_a_keepalive_begins_when_it_is_set_follows_its_interval_and_ends() -> None:
    world, a, b = connected(b_sacip=False)
    world.run(30.0)
    before = a.peer.traffic.tx_bytes
    change(a, keepalive=10)
    assert a.peer.traffic.tx_bytes == before + 32
    world.run(10.5)
    assert a.peer.traffic.tx_bytes == before + 64
    change(a, keepalive=2)
    assert a.peer.traffic.tx_bytes == before + 64
    world.run(2.5)
    assert a.peer.traffic.tx_bytes == before + 96
    change(a, keepalive=0)
    assert not a.peer.is_set(Timer.PERSISTENT_KEEPALIVE)
    world.run(30.0)
    assert a.peer.traffic.tx_bytes == before + 96
    assert b.peer.traffic.rx_bytes == a.peer.traffic.tx_bytes


def test_an_endpoint_that_the_user_gives_overrides_where_the_peer_was_heard() -> None:
    world, a, b = connected(b_sacip=False)
    b.move_to("192.168.1.50")
    a.peer.placed(endpoint("192.168.1.50"), now=world.now)
    assert a.peer.path.remote.active == endpoint("192.168.1.50")
    assert a.peer.path.local.active is None  # where from is chosen anew
    a.send("10.9.0.2", b"there")
    world.run(0.1)
    assert b"there" in b.delivered[-1]


def test_the_bytes_of_both_ends_are_the_same_from_the_first_on() -> None:
    world, a, b = pair(b_sacip=False)
    a.send("10.9.0.2")
    world.run(0.5)
    b.send("10.9.0.1")
    world.run(30.0)
    assert a.peer.traffic.tx_bytes == b.peer.traffic.rx_bytes > 0
    assert b.peer.traffic.tx_bytes == a.peer.traffic.rx_bytes > 0


@pytest.mark.parametrize("answers", [True, False])
def test_who_sends_is_told_only_where_nobody_answers(answers) -> None:
    world, a, b = pair()
    assert not a.peer.forlorn
    assert b.peer.forlorn  # it has no endpoint, and the other end has not called
    if not answers:
        b.move_to("192.168.9.9")
    a.send("10.9.0.2")
    world.run(4.0)
    assert not a.peer.forlorn
    world.run(8.0)
    assert a.peer.forlorn is not answers
    assert b.peer.forlorn is not answers
    a.told()  # without an address of our own it is no fault of the peer
    assert not a.peer.forlorn
