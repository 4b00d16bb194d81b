"""Two tunnels and a network in memory: the WireGuard transport as users see it."""

from ipaddress import ip_network
from itertools import pairwise

import pytest
from simulation import connected, endpoint, pair

from sacip_tun.protocol.errors import Drop, LocalError
from sacip_tun.protocol.events import HandshakeCompleted, HandshakeGaveUp, HandshakeUnanswered
from sacip_tun.protocol.hold import HOLD_PACKETS
from sacip_tun.protocol.initiator import MOMENT
from sacip_tun.protocol.settings import PeerSettings
from sacip_tun.protocol.tunnel import TIMERS_AT_ONCE


def test_the_first_packet_waits_for_the_handshake_and_arrives() -> None:
    world, a, b = pair()
    a.send("10.9.0.2", b"first")
    assert b.delivered == []
    world.run(0.1)
    assert b.delivered[0][20:25] == b"first"


@pytest.mark.parametrize("psk", [bytes(32), b"\x07" * 32])
def test_both_directions_carry(psk: bytes) -> None:
    world, a, b = connected(psk=psk)
    for number in range(50):
        a.send("10.9.0.2", b"%d" % number)
        b.send("10.9.0.1", b"%d" % number)
    world.run(0.1)
    assert len(a.delivered) == len(b.delivered) == 51


def test_different_preshared_keys_never_agree() -> None:
    world, a, b = pair(psk=b"\1" * 32)
    object.__setattr__(b.peer.settings, "preshared_key", b"\2" * 32)
    a.send("10.9.0.2")
    world.run(3)
    assert b.delivered == []
    assert a.tunnel.drops[Drop.BAD_HANDSHAKE] >= 1


def test_an_unanswered_initiation_is_repeated_and_given_up_after_ninety_seconds() -> None:
    world, a, _ = pair()
    world.tap = lambda *_: []
    a.send("10.9.0.2")
    world.run(80)
    assert not a.of(HandshakeGaveUp)
    tries = len(world.sent)
    assert 14 <= tries <= 17
    world.run(40)
    assert [event.dropped for event in a.of(HandshakeGaveUp)] == [1]
    assert a.tunnel.drops[Drop.GAVE_UP] == 1


def test_the_initiator_rekeys_at_120_seconds_and_loses_nothing() -> None:
    world, a, b = connected()
    for _ in range(400):
        a.send("10.9.0.2")
        b.send("10.9.0.1")
        world.run(1)
    assert len(b.delivered) == 401
    assert len(a.delivered) == 401
    assert 3 <= len(a.of(HandshakeCompleted)) <= 5


def test_a_session_that_only_receives_is_renewed_at_165_seconds() -> None:
    world, a, b = connected()
    for _ in range(170):
        b.send("10.9.0.1")
        world.run(1)
    assert len(a.of(HandshakeCompleted)) == 2
    assert len(a.delivered) == 171


def test_keys_are_erased_after_540_seconds_of_nothing() -> None:
    world, a, b = connected()
    world.run(539)
    assert a.tunnel.keyring
    world.run(5)
    assert not a.tunnel.keyring
    assert not b.tunnel.keyring


def test_a_receiver_that_says_nothing_sends_one_passive_keepalive() -> None:
    world, a, _ = connected(a_sacip=False, b_sacip=False)
    world.run(30)
    before = len(world.sent)
    a.send("10.9.0.2")
    world.run(60)
    keepalives = [entry for entry in world.sent[before:] if len(entry[3]) == 32]
    assert len(keepalives) == 1
    assert str(keepalives[0][1].host) == "192.168.1.101"


def test_data_without_any_answer_starts_a_handshake_after_15_seconds() -> None:
    world, a, _ = connected(a_sacip=False, b_sacip=False)
    world.run(30)
    world.tap = lambda *_: []
    a.send("10.9.0.2")
    before = len(world.sent)
    world.run(14.9)
    assert not [entry for entry in world.sent[before:] if len(entry[3]) == 148]
    world.run(1)
    assert len([entry for entry in world.sent[before:] if len(entry[3]) == 148]) == 1


def test_a_sacip_peer_that_is_silent_is_sent_a_handshake_at_once() -> None:
    """It may have been started anew: then it knows no session, and answers nothing else."""
    world, a, _ = connected()
    world.run(30)
    world.tap = lambda *_: []
    a.send("10.9.0.2")
    before = len(world.sent)
    world.run(1)
    assert len([entry for entry in world.sent[before:] if len(entry[3]) == 148]) == 1


def test_persistent_keepalive_comes_when_idle() -> None:
    world, _, _ = connected(keepalive=25)
    world.run(1)
    before = len(world.sent)
    world.run(100)
    keepalives = [entry for entry in world.sent[before:] if len(entry[3]) == 32]
    assert len(keepalives) == 4


def test_a_replayed_datagram_is_delivered_once() -> None:
    world, a, b = connected()
    world.tap = lambda source, destination, _data: [(source, destination)] * 3
    a.send("10.9.0.2", b"once")
    world.run(0.1)
    assert len(b.delivered) == 2
    assert b.tunnel.drops[Drop.REPLAYED] >= 2


def test_staged_packets_are_bounded_and_the_oldest_go_first() -> None:
    world, a, b = pair()
    for number in range(HOLD_PACKETS + 72):
        a.send("10.9.0.2", b"%04d" % number)
    world.run(1)
    expected = [b"%04d" % n for n in range(72, HOLD_PACKETS + 72)]
    assert [packet[20:24] for packet in b.delivered] == expected
    assert a.tunnel.drops[Drop.HOLD_OVERFLOW] == 72


def test_both_ends_may_initiate_at_once() -> None:
    world, a, b = pair()
    b.peer.path.remote = b.peer.path.remote.of(a.peer.path.local.active)
    a.send("10.9.0.2")
    b.send("10.9.0.1")
    world.run(1)
    for _ in range(5):
        a.send("10.9.0.2")
        b.send("10.9.0.1")
        world.run(0.2)
    assert len(a.delivered) == len(b.delivered) == 6


def test_hostile_bytes_of_every_length_and_type_are_counted_and_answered_by_nothing() -> None:
    world, a, b = connected()
    before = len(world.sent)
    source = a.peer.path.local.active
    local = b.peer.path.local.active
    for length in range(300):
        for kind in range(6):
            b.tunnel.receive(
                (bytes([kind, 0, 0, 0]) + b"\xff" * 300)[:length], local, source, now=world.now
            )
    world.settle(b)
    assert len(world.sent) == before
    assert sum(b.tunnel.drops.values()) == 1800


def test_how_long_an_answer_is_waited_for_is_drawn_for_each_session() -> None:
    """WireGuard 6.1 and 6.4: 15 s, and up to 334 ms so that two ends do not call together."""
    world, a, _ = connected()
    found = set()
    for _ in range(3):
        patience = a.peer.traffic._patience
        assert 15.0 <= patience <= 15.334
        found.add(patience)
        world.run(6.0)  # handshakes are 5 s apart
        a.peer.start_handshake(now=world.now)
        world.settle(a)
        world.run(1.0)
    assert len(found) == 3


def test_duplicate_peer_and_own_key_are_refused() -> None:
    _, a, b = pair()
    with pytest.raises(LocalError, match="duplicate"):
        a.tunnel.add_peer(PeerSettings(b.tunnel.public_key), [], now=0)
    with pytest.raises(LocalError, match="own public key"):
        a.tunnel.add_peer(PeerSettings(a.tunnel.public_key), [], now=0)


def test_a_removed_peer_leaves_nothing() -> None:
    world, a, b = connected()
    b.tunnel.remove_peer(b.peer.key)
    assert not b.tunnel.keyring
    assert b.tunnel.next_timer() is None
    a.send("10.9.0.2")
    world.run(1)
    assert len(b.delivered) == 1


def test_a_spurious_timer_call_does_nothing() -> None:
    world, a, _ = connected()
    before = len(world.sent)
    a.tunnel.handle_timer(now=world.now)
    a.tunnel.handle_timer(now=world.now)
    world.settle(a)
    assert len(world.sent) == before


def test_a_seeded_world_replays_byte_for_byte() -> None:
    first, second = (connected(seed=7)[0].sent for _ in range(2))
    assert first == second
    assert connected(seed=8)[0].sent != first


def test_a_public_key_of_low_order_is_never_initiated_to_and_raises_nothing() -> None:
    world, a, _ = pair()
    a.tunnel.add_peer(
        PeerSettings(bytes(32), endpoint=a.peer.where.configured[0]),
        [ip_network("10.9.0.9/32")],
        now=0,
    )
    before = len(world.sent)
    a.send("10.9.0.9")
    assert len(world.sent) == before
    assert a.tunnel.drops[Drop.UNUSABLE_KEY] == 1


def initiations(world, host, count: int) -> list[bytes]:
    """Initiations of a host to its peer, none of which arrives."""
    sent = []
    for _ in range(count):
        world.now += 0.05
        host.peer.start_handshake(now=world.now, urgent=True)
        sent += [datagram.data for datagram in host.tunnel.datagrams_to_send()]
    return sent


def test_a_replayed_initiation_is_refused_by_its_timestamp() -> None:
    world, a, b = connected()
    first, second = initiations(world, a, 2)
    here, there = b.peer.path.local.active, a.peer.path.local.active
    for data in (second, first, second):
        world.now += 1
        b.tunnel.receive(data, here, there, now=world.now)
    assert b.tunnel.drops[Drop.REPLAYED_HANDSHAKE] == 2


def test_initiations_of_one_peer_are_taken_fifty_times_a_second_at_most() -> None:
    world, a, b = connected()
    sent = initiations(world, a, 20)
    here, there = b.peer.path.local.active, a.peer.path.local.active
    for number, data in enumerate(sent):
        b.tunnel.receive(data, here, there, now=world.now + number * 0.001)
    assert b.tunnel.drops[Drop.RATE_LIMITED] == 19


def test_an_initiation_of_a_stranger_is_answered_by_nothing() -> None:
    world, a, b = connected()
    stranger = world.host("stranger", "10.9.0.3", "192.168.1.66")
    stranger.tunnel.add_peer(
        PeerSettings(b.tunnel.public_key, endpoint=endpoint("192.168.1.101")),
        [ip_network("10.9.0.2/32")],
        now=world.now,
    )
    stranger.facts("192.168.1.66")
    stranger.send("10.9.0.2")
    world.run(1)
    assert b.tunnel.drops[Drop.UNKNOWN_PEER] == 1
    assert [entry for entry in world.sent if str(entry[2].host) == "192.168.1.66"] == []
    assert len(a.delivered) == 1


def test_under_load_a_cookie_is_asked_for_and_whoever_has_it_gets_through() -> None:
    world, a, b = connected()
    here, elsewhere = b.peer.path.local.active, endpoint("198.51.100.1")
    (flood,) = initiations(world, a, 1)
    for _ in range(400):
        b.tunnel.receive(flood, here, elsewhere, now=world.now)
    assert b.tunnel.drops[Drop.UNDER_LOAD] > 100
    b.tunnel.datagrams_to_send()
    a.peer.start_handshake(now=world.now, urgent=True)
    world.settle(a)
    before = len(a.of(HandshakeCompleted))
    keep_busy(world, b, flood, elsewhere, seconds=6)
    assert a.peer.cookies.seal(bytes(148), now=world.now)[-16:] != bytes(16)
    assert len(a.of(HandshakeCompleted)) == before + 1


def keep_busy(world, host, flood: bytes, source, seconds: int) -> None:
    """Flood a host with handshake messages for a while, and let everybody else go on."""
    for _ in range(seconds * 10):
        for _ in range(60):
            host.tunnel.receive(flood, host.peer.path.local.active, source, now=world.now)
        host.tunnel.datagrams_to_send()
        world.run(0.1)


def test_a_strict_peer_that_comes_back_without_the_mark_is_not_answered() -> None:
    world, a, b = connected(strict=True)
    a.peer.initiator._marked = False
    before = len(b.of(HandshakeCompleted))
    a.peer.start_handshake(now=world.now + 10, urgent=True)
    world.settle(a)
    world.run(1)
    assert b.tunnel.drops[Drop.DOWNGRADE] == 1
    assert len(b.of(HandshakeCompleted)) == before


def test_a_session_past_its_limit_opens_nothing() -> None:
    world, _, b = connected()
    session = b.peer.keypairs.current
    packets = [memoryview(bytes(32))]
    assert b.tunnel.screen(session.local_index, [99], packets, now=world.now + 181) is None
    assert b.tunnel.drops[Drop.EXPIRED_SESSION] == 1


def test_resolving_the_same_address_again_does_not_disturb_the_handshake_under_way() -> None:
    world, a, b = pair()
    world.tap = lambda *_: []
    a.send("10.9.0.2")
    for _ in range(30):
        world.run(1)
        a.peer.resolved(a.peer.where.configured, now=world.now)
        world.settle(a)
    sent = [when for when, *_, data in world.sent if len(data) == 148]
    assert 5 <= len(sent) <= 7
    world.run(90)
    assert a.of(HandshakeGaveUp)
    assert b.delivered == []


def test_an_address_that_resolved_anew_is_tried_within_two_initiations() -> None:
    world, a, _ = pair()
    world.tap = lambda *_: []
    a.send("10.9.0.2")
    world.run(2)
    a.peer.resolved((endpoint("192.168.1.201"),), now=world.now)
    world.settle(a)
    world.run(6)
    assert "192.168.1.201" in {str(to.host) for *_, to, _ in world.sent}


def test_each_initiation_goes_to_the_address_in_use_whatever_else_is_tried() -> None:
    """The peer may be back there at any moment, and the next try is five seconds away."""
    world, a, _ = pair()
    world.tap = lambda *_: []
    remote = a.peer.path.remote
    a.peer.path.remote = remote.moved_to(endpoint("192.168.1.201"))
    a.send("10.9.0.2")
    world.run(17)
    tries: dict[bytes, set[str]] = {}
    for *_, to, data in world.sent:
        if len(data) == 148:
            tries.setdefault(data, set()).add(str(to.host))
    assert len(tries) >= 3
    assert all("192.168.1.201" in places for places in tries.values())
    assert any(str(remote.active.host) in places for places in tries.values())


def test_two_reasons_in_one_moment_are_two_calls_that_can_both_be_answered() -> None:
    """As after a restart: packets wait already, and then the name is resolved."""
    world, a, _ = pair()
    a.send("10.9.0.2", b"waits")
    a.peer.resolved((endpoint("192.168.1.101"), endpoint("192.168.1.201")), now=world.now)
    world.settle(a)
    world.run(0.2)
    assert a.peer.last_handshake is not None
    assert not a.of(HandshakeUnanswered)
    calls = [when for when, *_, data in world.sent if len(data) == 148]
    assert all(later - first >= MOMENT or later == first for first, later in pairwise(calls))


def test_thousands_of_timers_are_handled_in_parts() -> None:
    world, _, hub = pair()
    for number in range(3 * TIMERS_AT_ONCE):
        settings = PeerSettings(b"%032d" % number, endpoint=endpoint("192.0.2.7"), keepalive=25)
        hub.tunnel.add_peer(settings, [], now=world.now)
    hub.tunnel.datagrams_to_send()
    later = world.now + 60.0
    parts = []
    while (deadline := hub.tunnel.next_timer()) is not None and deadline <= later:
        hub.tunnel.handle_timer(now=later)
        parts.append(len(hub.tunnel.datagrams_to_send()))
    assert parts == [TIMERS_AT_ONCE] * 3
