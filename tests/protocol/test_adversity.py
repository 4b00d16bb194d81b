"""What a hostile peer, a hostile network or bad luck can do to a move, and what it cannot."""

from simulation import connected, endpoint

from sacip_tun.protocol.errors import Drop
from sacip_tun.protocol.events import HandshakeGaveUp, MoveRefused, Moving, PathChecked
from sacip_tun.protocol.facts import Source
from sacip_tun.protocol.frames import Code, Frame
from sacip_tun.protocol.sacip import LocalState, RemoteState
from sacip_tun.protocol.timers import Timer

OLD, NEW, HUB = "192.168.1.22", "192.168.1.2", "192.168.1.101"
VICTIM = endpoint("203.0.113.66", 53)


def say(host, frame: Frame) -> None:
    """Let a host send a frame of its own making, which is authenticated all the same."""
    peer = host.peer
    peer.speech.ask(frame, peer.path.local.active, peer.path.remote.active, now=host.world.now)
    host.world.settle(host)


def bytes_to(world, target) -> int:
    return sum(len(data) for _, _, to, data in world.sent if to == target)


def spoofed(source, unanswered=()):
    """A network in which what goes to the hub seems to come from `source`."""

    def tap(origin, destination, _data):
        if destination in unanswered:
            return []
        seen = source if str(destination.host) == HUB else origin
        return [(seen, destination)]

    return tap


def test_a_claimed_address_never_becomes_a_destination_by_way_of_a_failed_trial() -> None:
    """CHANGE from elsewhere, then PREPARE names a victim: going back must not go there."""
    world, a, b = connected()
    liar = endpoint("198.51.100.9")
    world.tap = spoofed(liar, unanswered=(liar,))
    say(a, Frame(Code.CHANGE, number=5, new=endpoint("10.0.0.1")))
    world.run(0.05)
    assert b.peer.exchange.remote_move.state is RemoteState.PROBATION
    say(a, Frame(Code.PREPARE, number=6, new=VICTIM))
    world.run(5)
    assert str(b.peer.path.remote.active.host) == OLD
    for _ in range(100):
        b.send("10.9.0.1", bytes(1000))
    world.run(1)
    assert bytes_to(world, VICTIM) == 0


def test_a_second_unproven_change_neither_renews_the_credit_nor_the_way_back() -> None:
    world, a, b = connected()
    for number, address in ((5, "198.51.100.9"), (6, "198.51.100.10")):
        world.tap = spoofed(endpoint(address), unanswered=(endpoint(address),))
        say(a, Frame(Code.CHANGE, number=number, new=endpoint("10.0.0.1")))
        world.run(0.05)
    assert str(b.peer.path.remote.active.host) == "198.51.100.10"
    for _ in range(200):
        b.send("10.9.0.1", bytes(1000))
    sent = sum(bytes_to(world, endpoint(f"198.51.100.{last}")) for last in (9, 10))
    received = sum(len(d) for _, s, _, d in world.sent if str(s.host) == OLD)
    assert sent <= 3 * received + 64 * 1024
    world.run(5)
    assert str(b.peer.path.remote.active.host) == OLD


def test_lost_challenges_are_repeated_before_a_new_address_is_given_up() -> None:
    world, a, b = connected()
    public = endpoint("203.0.113.9")
    dropped = []

    def nat(source, destination, data):
        if str(source.host) in a.addresses:
            return [(public, destination)]
        if destination == public:
            if len(data) > 200 and len(dropped) < 2:
                dropped.append(data)
                return []
            return [(source, endpoint(a.addresses[0]))]
        return []

    world.tap = nat
    a.move_to("10.0.0.5")
    world.run(3)
    assert len(dropped) == 2
    assert b.peer.path.remote.active == public
    assert b.peer.exchange.remote_move.state is RemoteState.SETTLED
    assert "the new address answered" in b.of(PathChecked)[-1].verdict


def test_a_relayed_copy_of_a_change_does_not_undo_what_the_original_did() -> None:
    world, a, b = connected()
    attacker = endpoint("198.51.100.66")
    copies = []

    def relay(source, destination, data):
        if str(source.host) == NEW and len(data) > 200:
            copies.append(data)
            if len(copies) == 2:
                return [(attacker, destination)]
        if str(destination.host) == NEW and len(copies) < 3:
            return []
        return [(source, destination)]

    world.tap = relay
    a.move_to(NEW)
    world.run(2)
    assert len(copies) >= 2
    assert str(b.peer.path.remote.active.host) == NEW
    assert bytes_to(world, attacker) == 0


def test_strict_does_not_follow_a_relayed_first_packet_of_a_new_session() -> None:
    world, a, b = connected(strict=True)
    relay = endpoint("203.0.113.9", 999)
    world.run(121)
    world.tap = spoofed(relay)
    a.send("10.9.0.2")
    world.run(1)
    assert str(b.peer.path.remote.active.host) == OLD
    assert b.of(MoveRefused)
    refusals = len(b.of(MoveRefused))
    for _ in range(50):
        a.send("10.9.0.2")
        world.run(0.001)
    assert len(b.of(MoveRefused)) <= refusals + 1


def test_strict_follows_an_honest_change() -> None:
    world, a, b = connected(strict=True)
    a.move_to(NEW)
    world.run(0.2)
    assert str(b.peer.path.remote.active.host) == NEW


def test_hunting_goes_on_for_a_day() -> None:
    world, a, b = connected()
    world.tap = lambda *_: []
    a.move_to(NEW)
    world.run(24 * 3600)
    assert a.peer.exchange.local_move.state is LocalState.HUNTING
    world.tap = lambda source, destination, _data: [(source, destination)]
    world.run(20)
    assert str(b.peer.path.remote.active.host) == NEW
    assert a.peer.exchange.local_move.state is LocalState.SETTLED


def test_two_addresses_that_each_look_better_do_not_make_a_ping_pong() -> None:
    world, a, _ = connected()
    for deprecated in (False, True):
        a.told(
            Source(endpoint(OLD), 2, preferred=True),
            Source(endpoint(NEW), 3, preferred=True, deprecated=deprecated),
        )
        world.run(10)
        a.told(
            Source(endpoint(OLD), 2),
            Source(endpoint(NEW), 3, preferred=True, deprecated=deprecated),
        )
        world.run(10)
    # One move for the better route, one for the deprecated address: none back and forth.
    assert len(a.of(Moving)) == 2


def test_a_dead_old_path_does_not_keep_us_from_a_better_new_one() -> None:
    world, a, b = connected()
    world.tap = lambda source, destination, _data: (
        [] if OLD in {str(source.host), str(destination.host)} else [(source, destination)]
    )
    a.told(Source(endpoint(NEW), 3, preferred=True), Source(endpoint(OLD), 2))
    world.run(5)
    assert str(a.peer.path.local.active.host) == NEW
    assert str(b.peer.path.remote.active.host) == NEW


def test_an_unacknowledged_standby_is_announced_again_later() -> None:
    world, a, b = connected()
    world.tap = lambda *_: []
    a.facts(OLD, NEW)
    world.run(5)
    assert a.peer.exchange.local_move.state is LocalState.SETTLED
    world.tap = lambda source, destination, _data: [(source, destination)]
    world.run(20)
    assert str(b.peer.path.remote.idle.host) == NEW


def test_a_standby_that_was_there_before_the_first_handshake_is_announced_after_it() -> None:
    world, a, b = connected(standby=NEW)
    world.run(1)
    assert a.peer.exchange.local_move.state is LocalState.PREPARED
    assert str(b.peer.path.remote.idle.host) == NEW


def test_after_a_long_outage_the_name_that_resolves_anew_is_where_the_handshake_goes() -> None:
    world, a, b = connected()
    world.tap = lambda *_: []
    world.run(200)
    b.addresses = ["192.168.1.201"]
    b.facts("192.168.1.201")
    world.tap = lambda source, destination, _data: [(source, destination)]
    a.peer.resolved((endpoint("192.168.1.201"),), now=world.now)
    a.send("10.9.0.2", b"again")
    world.run(15)
    assert str(a.peer.path.remote.active.host) == "192.168.1.201"
    assert b.delivered[-1][20:25] == b"again"


def test_a_detached_host_sends_nothing_and_drops_no_tcp() -> None:
    world, a, b = connected(keepalive=25)
    world.run(1)
    a.facts()
    before = len(world.sent)
    a.send("10.9.0.2", b"stale")
    a.send_tcp("10.9.0.2", 1000, b"kept")
    world.run(400)
    assert len([entry for entry in world.sent[before:] if str(entry[2].host) == HUB]) == 0
    assert not a.of(HandshakeGaveUp)
    a.facts(NEW)
    world.run(6)
    assert b.delivered[-1][40:44] == b"kept"
    assert a.tunnel.drops[Drop.HELD_STALE] == 1


def test_keys_of_a_handshake_that_was_never_confirmed_are_erased_too() -> None:
    world, a, b = connected()
    world.run(600)
    assert not b.tunnel.keyring
    world.tap = lambda source, destination, _data: (
        [] if str(source.host) == HUB else [(source, destination)]
    )
    a.send("10.9.0.2")
    world.run(1)
    assert b.tunnel.keyring
    a.peer.disarm(Timer.RETRY_HANDSHAKE)
    world.run(600)
    assert not b.tunnel.keyring


def test_keepalives_alone_renew_the_session_in_time() -> None:
    world, _, _ = connected(keepalive=25)
    before = len(world.sent)
    world.run(150)
    initiations = [when for when, *_, data in world.sent[before:] if len(data) == 148]
    assert initiations
    assert initiations[0] - 1000 < 150


def test_an_outage_right_after_a_rekey_does_not_make_the_peer_a_plain_one() -> None:
    world, a, b = connected()
    world.run(121)
    lost = []

    def drop_all_but_the_handshake(source, destination, data):
        if len(data) not in {148, 92}:
            lost.append(data)
            return []
        return [(source, destination)]

    world.tap = drop_all_but_the_handshake
    a.send("10.9.0.2")
    world.run(11)
    assert lost
    world.tap = lambda source, destination, _data: [(source, destination)]
    assert a.peer.speaks_sacip
    a.move_to(NEW)
    world.run(1)
    assert str(b.peer.path.remote.active.host) == NEW


def test_a_late_answer_does_not_poison_the_round_trip_time() -> None:
    world, a, b = connected()
    held = []

    def hold(source, destination, data):
        if str(destination.host) == OLD and len(data) > 200:
            held.append((source, destination, data))
            return []
        return [(source, destination)]

    world.tap = hold
    a.facts(OLD, NEW)
    world.run(60)
    for source, destination, data in held:
        a.take(data, destination, source)
    assert a.peer.path.round_trips(3, 0.1) <= 3.0
    assert b.peer.path.round_trips(3, 0.1) <= 3.0


def test_a_multicast_destination_is_never_taken_for_our_address() -> None:
    world, _, b = connected()
    before = b.peer.path.local
    b.peer.exchange.local_move.contacted_at(endpoint("224.0.0.1"), now=world.now)
    assert b.peer.path.local == before


def test_addresses_that_can_be_nobodys_are_never_announced() -> None:
    world, a, b = connected()
    before = b.peer.path.remote
    strange = ("127.0.0.1", "224.0.0.1", "0.0.0.0")  # noqa: S104 - claimed, not bound
    for number, host in enumerate(strange, start=5):
        say(a, Frame(Code.PREPARE, number=number, new=endpoint(host)))
        world.run(0.1)
    assert b.peer.path.remote == before
    assert b.tunnel.drops[Drop.STRANGE_ENDPOINT] == 3


def test_a_dead_peer_is_given_up_though_its_name_is_resolved_again_and_again() -> None:
    world, a, _ = connected()
    world.run(200)
    world.tap = lambda *_: []
    a.send("10.9.0.2")
    start, before = world.now, len(world.sent)
    for _ in range(120):
        world.run(5)
        a.peer.resolved((endpoint(HUB),), now=world.now)
        world.settle(a)
    assert a.of(HandshakeGaveUp)
    assert max(when for when, *_ in world.sent[before:]) < start + 110


def test_hunting_from_two_addresses_ends_with_both_sides_of_one_mind() -> None:
    world, a, b = connected()
    world.tap = lambda *_: []
    a.move_to(NEW)
    world.run(3)
    assert a.peer.exchange.local_move.state is LocalState.HUNTING
    world.tap = lambda source, destination, _data: [(source, destination)]
    a.facts(NEW, "192.168.1.3")
    world.run(2)
    before = len(b.of(PathChecked))
    for _ in range(50):
        a.send("10.9.0.2")
        b.send("10.9.0.1")
        world.run(0.1)
    assert a.peer.path.local.active.host == b.peer.path.remote.active.host
    assert len(b.of(PathChecked)) - before <= 1


def test_strict_finds_a_restarted_peer_at_its_configured_endpoint() -> None:
    world, a, b = connected()
    object.__setattr__(a.peer.settings, "strict_nat", True)
    assert a.peer.must_speak_sacip
    world.run(200)
    b.addresses = ["192.168.1.201"]
    b.facts("192.168.1.201")
    a.peer.resolved((endpoint("192.168.1.201"),), now=world.now)
    for _ in range(20):
        a.send("10.9.0.2")
        world.run(1)
    assert str(a.peer.path.remote.active.host) == "192.168.1.201"
    assert len(b.delivered) == 21


def test_a_relay_gets_few_challenges_for_many_packets() -> None:
    world, a, b = connected()
    world.run(2)
    attacker = endpoint("198.51.100.66")

    def race(source, destination, data):
        if str(destination.host) == HUB and len(data) < 100:
            return [(attacker, destination), (source, destination)]
        return [(source, destination)]

    world.tap = race
    for _ in range(600):
        a.send("10.9.0.2")
        world.run(0.01)
    relayed = 600 * 80
    assert bytes_to(world, attacker) <= 3 * relayed
    assert str(b.peer.path.remote.active.host) == OLD
