"""The SACIP exchange between two tunnels in memory: every kind of move, and what is refused."""

from ipaddress import ip_address

import pytest
from simulation import connected, endpoint

from sacip_tun.protocol.errors import Drop
from sacip_tun.protocol.events import (
    Detached,
    FrameSent,
    Hunting,
    Moved,
    MoveRefused,
    Moving,
    PathChecked,
    Prepared,
    Side,
)
from sacip_tun.protocol.sacip import LocalState, RemoteState

OLD, NEW, HUB = "192.168.1.22", "192.168.1.2", "192.168.1.101"


def active(pair) -> str:
    return str(pair.active.host)


def test_hello_tells_both_that_the_other_speaks_sacip() -> None:
    _, a, b = connected()
    assert a.peer.speaks_sacip
    assert b.peer.speaks_sacip


def test_the_decks_first_test_is_a_make_before_break() -> None:
    world, a, b = connected()
    a.facts(OLD, NEW)
    world.run(0.2)
    assert a.peer.exchange.local_move.state is LocalState.PREPARED
    assert b.peer.exchange.remote_move.state is RemoteState.PREPARED
    assert str(b.peer.path.remote.idle.host) == NEW
    assert active(b.peer.path.remote) == OLD
    a.facts(NEW)
    assert active(a.peer.path.local) == NEW
    world.run(world.latency)
    assert active(b.peer.path.remote) == NEW
    assert b.peer.path.remote.index == 1
    world.run(0.1)
    (moved,) = a.of(Moved)
    assert (moved.side, moved.kind.value) == (Side.LOCAL, "make before break")
    assert str(moved.observed.host) == NEW
    (moved,) = b.of(Moved)
    assert (moved.side, str(moved.old.host), str(moved.new.host)) == (Side.REMOTE, OLD, NEW)
    assert moved.reason.text == "address removed"


def test_break_before_make_is_told_by_change_alone() -> None:
    world, a, b = connected()
    a.move_to(NEW)
    world.run(world.latency)
    assert active(b.peer.path.remote) == NEW
    world.run(0.1)
    assert a.peer.exchange.local_move.state is LocalState.SETTLED
    assert [event.kind.value for event in a.of(Moved)] == ["break before make"]
    assert not a.of(Prepared)


def test_a_download_goes_on_at_once_though_only_the_fixed_side_sends() -> None:
    world, a, b = connected()
    a.move_to(NEW)
    world.run(world.latency * 1.5)
    b.send("10.9.0.1", b"download")
    world.run(world.latency)
    assert a.delivered[-1][20:28] == b"download"


def test_lost_copies_of_change_are_repeated() -> None:
    world, a, b = connected()
    lost = []

    def lossy(source, destination, data):
        if str(source.host) == NEW and len(lost) < 3:  # the first, the second, that to the link
            lost.append(data)
            return []
        return [(source, destination)]

    world.tap = lossy
    a.move_to(NEW)
    world.run(0.080)
    assert active(b.peer.path.remote) == OLD
    world.run(0.030)
    assert active(b.peer.path.remote) == NEW


def test_an_unanswered_change_is_hunted_and_never_given_up() -> None:
    world, a, b = connected()
    world.tap = lambda *_: []
    a.move_to(NEW)
    world.run(300)
    assert a.peer.exchange.local_move.state is LocalState.HUNTING
    assert len(a.of(Hunting)) > 15
    world.tap = lambda source, destination, _data: [(source, destination)]
    world.run(16)
    assert active(b.peer.path.remote) == NEW
    world.run(1)
    assert a.peer.exchange.local_move.state is LocalState.SETTLED


def test_no_address_at_all_holds_packets_until_one_comes() -> None:
    world, a, b = connected()
    a.facts()
    assert a.of(Detached)
    a.send("10.9.0.2", b"held")
    world.run(5)
    assert len(b.delivered) == 1
    a.facts(NEW)
    a.flush(a.peer)
    world.run(0.1)
    assert b.delivered[-1][20:24] == b"held"
    assert active(b.peer.path.remote) == NEW


def test_the_same_address_coming_back_is_told_too() -> None:
    world, a, b = connected()
    a.facts()
    world.run(5)
    a.facts(OLD)
    world.run(0.1)
    assert a.peer.exchange.local_move.state is LocalState.SETTLED
    assert active(b.peer.path.remote) == OLD


def test_both_ends_move_one_after_the_other() -> None:
    world, a, b = connected()
    b.move_to("192.168.1.150")
    world.run(0.1)
    a.move_to(NEW)
    world.run(0.1)
    assert active(a.peer.path.remote) == "192.168.1.150"
    assert active(b.peer.path.remote) == NEW


def test_a_replayed_or_stale_change_moves_nothing() -> None:
    world, a, b = connected()
    a.move_to(NEW)
    world.run(0.2)
    a.move_to("192.168.1.3")
    world.run(0.2)
    applied = b.peer.exchange.remote_move.applied
    for _, source, destination, data in list(world.sent):
        if str(destination.host) == HUB:
            b.take(data, destination, source)
    assert active(b.peer.path.remote) == "192.168.1.3"
    assert b.peer.exchange.remote_move.applied == applied


def test_a_move_through_a_nat_is_followed_to_the_observed_address() -> None:
    world, a, b = connected()
    world.tap = nat("203.0.113.9", a)
    a.move_to("10.0.0.5")
    world.run(0.3)
    assert str(b.peer.path.remote.active) == "203.0.113.9:51820"
    assert b.peer.exchange.remote_move.state is RemoteState.SETTLED
    assert str(a.peer.path.observed) == "203.0.113.9:51820"


def nat(public: str, inside):
    """Translate what `inside` sends to come from `public`, and back."""

    def translate(source, destination, _data):
        if str(source.host) in inside.addresses:
            return [(endpoint(public), destination)]
        if str(destination.host) == public:
            return [(source, endpoint(inside.addresses[0]))]
        return []  # nobody outside reaches the private address

    return translate


def test_strict_refuses_an_address_that_is_not_the_observed_one() -> None:
    world, a, b = connected(strict=True)
    world.tap = nat("203.0.113.9", a)
    a.move_to("10.0.0.5")
    world.run(0.3)
    assert active(b.peer.path.remote) == OLD
    refused = b.of(MoveRefused)
    assert refused
    assert str(refused[0].claimed.host) == "10.0.0.5"
    assert str(refused[0].observed.host) == "203.0.113.9"


def test_an_unproven_address_gets_a_bounded_number_of_bytes() -> None:
    """A peer claims a victim: what goes there is bounded, and the old address is taken back."""
    world, a, b = connected()
    victim = endpoint("198.51.100.66")
    received = sum(len(data) for _, source, _, data in world.sent if source.host == victim.host)

    def spoof(source, destination, _data):
        if str(destination.host) == HUB:
            return [(victim, destination)]
        return [(source, destination)]

    world.tap = spoof
    a.move_to("10.0.0.5")
    start = len(world.sent)
    world.run(world.latency)
    assert b.peer.path.remote.active == victim
    for _ in range(2000):
        b.send("10.9.0.1", bytes(1000))
    world.run(world.latency)
    to_victim = sum(len(d) for _, _, to, d in world.sent[start:] if to == victim)
    from_victim = sum(len(d) for _, s, to, d in world.sent[start:] if str(to.host) == HUB)
    assert received == 0
    assert to_victim <= 3 * from_victim + 64 * 1024


def test_nat_rebinding_is_noticed_and_followed_once_the_old_address_is_silent() -> None:
    world, a, b = connected()
    world.tap = nat("203.0.113.9", a)
    a.send("10.9.0.2")
    world.run(0.3)
    assert str(b.peer.path.remote.active.host) == "203.0.113.9"
    assert "the new one answers" in b.of(PathChecked)[0].verdict


def test_a_relayed_copy_does_not_move_a_peer_that_is_still_there() -> None:
    """An off-path attacker is faster than the real path: the old address still answers."""
    world, a, b = connected()
    attacker = endpoint("198.51.100.66")

    def race(source, destination, data):
        if str(destination.host) == HUB and str(source.host) == OLD and len(data) < 100:
            return [(attacker, destination), (source, destination)]
        return [(source, destination)]

    world.tap = race
    a.send("10.9.0.2")
    world.run(1)
    assert active(b.peer.path.remote) == OLD
    assert "still answers" in b.of(PathChecked)[0].verdict


@pytest.mark.parametrize("plain", ["mover", "fixed"])
def test_with_a_plain_side_no_frame_is_ever_sent(plain: str) -> None:
    world, a, b = connected(a_sacip=plain != "mover", b_sacip=plain != "fixed")
    world.run(12)
    a.move_to(NEW)
    world.run(1)
    assert not a.of(FrameSent)
    assert not b.of(FrameSent)
    assert active(b.peer.path.remote) == NEW


def test_towards_a_plain_peer_keepalives_go_out_at_0_50_and_200_ms() -> None:
    world, a, _ = connected(b_sacip=False)
    world.run(12)
    start, before = world.now, len(world.sent)
    a.move_to(NEW)
    world.run(1)
    times = [
        round((when - start) * 1000)
        for when, source, _, data in world.sent[before:]
        if str(source.host) == NEW and len(data) == 32
    ]
    assert times == [0, 50, 200]


def test_a_plain_peers_own_roaming_follows_the_highest_counter_only() -> None:
    world, a, b = connected(a_sacip=False)
    world.run(1)
    a.send("10.9.0.2", b"late")
    late = world.sent[-1]
    world.run(0.1)
    a.move_to(NEW)
    a.send("10.9.0.2", b"new")
    world.run(0.1)
    assert active(b.peer.path.remote) == NEW
    b.take(late[3], late[2], late[1])
    assert active(b.peer.path.remote) == NEW


def test_an_expired_session_is_renewed_from_the_new_address() -> None:
    world, a, b = connected()
    world.run(200)
    a.move_to(NEW)
    world.run(0.2)
    assert active(b.peer.path.remote) == NEW
    b.send("10.9.0.1", b"again")
    world.run(0.1)
    assert a.delivered[-1][20:25] == b"again"


def test_a_planned_move_is_announced_proven_and_then_switched() -> None:
    world, a, b = connected()
    a.addresses = [OLD, NEW]
    a.peer.exchange.local_move.request(endpoint(NEW), now=world.now)
    world.settle(a)
    world.run(0.2)
    assert active(a.peer.path.local) == NEW
    assert active(b.peer.path.remote) == NEW
    (moved,) = a.of(Moved)
    assert moved.reason.text == "requested"
    assert moved.kind.value == "make before break"
    assert [event.reason.text for event in a.of(Moving)] == ["requested"]


def test_a_restarted_peer_counts_its_moves_from_one_again() -> None:
    world, a, b = connected()
    for host in (NEW, OLD, NEW):
        a.move_to(host)
        world.run(0.2)
    assert b.peer.exchange.remote_move.applied == 3
    b.peer.exchange.remote_move.restarted()
    a.peer.exchange.local_move.notices.number = 0
    a.move_to(OLD)
    world.run(0.2)
    assert active(b.peer.path.remote) == OLD
    assert b.tunnel.drops[Drop.STALE_MOVE] == 0


def test_a_hub_answers_from_the_address_that_was_contacted() -> None:
    world, a, b = connected()
    b.addresses.append("192.168.1.200")
    a.peer.path.remote = a.peer.path.remote.moved_to(endpoint("192.168.1.200"))
    a.send("10.9.0.2")
    world.run(0.1)
    b.send("10.9.0.1")
    assert str(world.sent[-1][1].host) == "192.168.1.200"
    assert b.peer.path.local.active.host == ip_address("192.168.1.200")
