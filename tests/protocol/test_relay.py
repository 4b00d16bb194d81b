"""Relaying: only for whom all three permit it, blind, rarely, and it moves nothing by itself."""

import pytest
from simulation import endpoint, triangle

from sacip_tun.protocol.errors import Drop, RemoteError
from sacip_tun.protocol.events import FrameReceived, FrameSent
from sacip_tun.protocol.frames import FRAME_SIZE, Code, Frame
from sacip_tun.protocol.relay import MIN_INTERVAL

SOMEWHERE = endpoint("198.51.100.7")


def peer_of(host, other):
    return host.tunnel.peers[other.tunnel.public_key]


def relay_of(host):
    return host.tunnel._context.relay


def sealed_notice(a, b, frame: Frame) -> bytes:
    """A frame from `a` that only `b` opens, as short as it is."""
    return peer_of(a, b).keypairs.current.seal(frame.encode_short())


def hand_over(world, a, b, c, frame: Frame, sealed: bytes | None = None) -> None:
    """The third hands a notice of `a` over to `b`."""
    data = sealed if sealed is not None else sealed_notice(a, b, frame)
    told = Frame(Code.RELAYED, observed=SOMEWHERE, peer=a.tunnel.public_key, sealed=data)
    relay_of(b).hand_over(c.tunnel.public_key, told, now=world.now)
    world.settle(b)


CHANGE = Frame(Code.CHANGE, number=9, new=endpoint("203.0.113.4"))


def test_a_notice_with_two_ipv6_addresses_fits_into_a_frame() -> None:
    notice = Frame(
        Code.CHANGE, 1, 2, 3, old=endpoint("2001:db8::1"), new=endpoint("2001:db8::2"), reason=None
    )
    sealed = bytes(32) + notice.encode_short().ljust(128, b"\0")
    asking = Frame(Code.RELAY, peer=bytes(range(32)), sealed=sealed)
    assert len(asking.encode()) == FRAME_SIZE
    assert Frame.parse(asking.encode()).sealed == sealed


def test_what_is_handed_over_is_asked_about_and_moves_nothing() -> None:
    world, a, b, c = triangle()
    before = peer_of(b, a).path.remote
    hand_over(world, a, b, c, CHANGE)
    assert peer_of(b, a).path.remote == before
    asked = {to for _, source, to, data in world.sent[-8:] if str(source.host) in b.addresses}
    assert {SOMEWHERE, endpoint("203.0.113.4")} <= asked
    assert SOMEWHERE in peer_of(b, a).exchange.candidates


def test_a_notice_is_taken_once() -> None:
    world, a, b, c = triangle()
    sealed = sealed_notice(a, b, CHANGE)
    hand_over(world, a, b, c, CHANGE, sealed)
    with pytest.raises(RemoteError) as refused:
        hand_over(world, a, b, c, CHANGE, sealed)
    assert refused.value.reason is Drop.REPLAYED


def test_other_frames_are_not_taken_from_a_relay() -> None:
    world, a, b, c = triangle()
    count = len(world.sent)
    hand_over(world, a, b, c, Frame(Code.PREPARE, number=9, new=SOMEWHERE))
    assert len(world.sent) == count
    assert SOMEWHERE not in peer_of(b, a).exchange.candidates


@pytest.mark.parametrize("sealed", [b"", bytes(16), b"\x04" + bytes(40), bytes(200)])
def test_hostile_bytes_in_it_are_refused(sealed: bytes) -> None:
    world, a, b, c = triangle()
    with pytest.raises(RemoteError):
        hand_over(world, a, b, c, CHANGE, sealed)


def test_a_forged_notice_is_refused() -> None:
    world, a, b, c = triangle()
    sealed = bytearray(sealed_notice(a, b, CHANGE))
    sealed[-1] ^= 1
    with pytest.raises(RemoteError) as refused:
        hand_over(world, a, b, c, CHANGE, bytes(sealed))
    assert refused.value.reason is Drop.BAD_TAG


def test_a_sealed_inner_packet_is_no_notice() -> None:
    world, a, b, c = triangle()
    sealed = peer_of(a, b).keypairs.current.seal(b"\x45" + bytes(39))
    with pytest.raises(RemoteError) as refused:
        hand_over(world, a, b, c, CHANGE, sealed)
    assert refused.value.reason is Drop.BAD_FRAME


@pytest.mark.parametrize("who", ["asking", "target"])
def test_who_is_unknown_to_the_relay_is_refused(who: str) -> None:
    world, a, b, c = triangle()
    known, unknown = a.tunnel.public_key, bytes(32)
    asking, target = (unknown, known) if who == "asking" else (known, unknown)
    with pytest.raises(RemoteError) as refused:
        relay_of(c).pass_on(asking, Frame(Code.RELAY, peer=target), SOMEWHERE, now=world.now)
    assert refused.value.reason is Drop.RELAY_REFUSED
    assert not any(event.code == "RELAYED" for event in c.of(FrameSent))
    assert not b.of(FrameReceived)[-1].code.startswith("RELAY")


def test_nobody_relays_to_the_one_who_asks_or_without_leave() -> None:
    world, a, b, c = triangle()
    own = Frame(Code.RELAY, peer=a.tunnel.public_key)
    with pytest.raises(RemoteError):
        relay_of(c).pass_on(a.tunnel.public_key, own, SOMEWHERE, now=world.now)
    world, a, b, c = triangle(relay=False)
    with pytest.raises(RemoteError) as refused:
        relay_of(c).pass_on(
            a.tunnel.public_key,
            Frame(Code.RELAY, peer=b.tunnel.public_key),
            SOMEWHERE,
            now=world.now,
        )
    assert refused.value.reason is Drop.RELAY_REFUSED
    with pytest.raises(RemoteError) as refused:
        hand_over(world, a, b, c, CHANGE)
    assert refused.value.reason is Drop.RELAY_REFUSED


def test_one_peer_is_relayed_for_so_often_and_no_more() -> None:
    world, a, b, c = triangle()
    asking, notice = a.tunnel.public_key, Frame(Code.RELAY, peer=b.tunnel.public_key, sealed=b"x")
    relay_of(c).pass_on(asking, notice, SOMEWHERE, now=world.now)
    with pytest.raises(RemoteError) as refused:
        relay_of(c).pass_on(asking, notice, SOMEWHERE, now=world.now + MIN_INTERVAL / 2)
    assert refused.value.reason is Drop.RATE_LIMITED
    relay_of(c).pass_on(asking, notice, SOMEWHERE, now=world.now + MIN_INTERVAL)
    world.settle(c)
    assert [event.code for event in c.of(FrameSent)].count("RELAYED") == 2
