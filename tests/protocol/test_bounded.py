"""Floods of handshake messages: nothing that a stranger sends makes a hub keep anything."""

from hypothesis import given, settings
from hypothesis import strategies as st
from simulation import World, acquainted, connected, endpoint

from sacip_tun.protocol import messages
from sacip_tun.protocol.cookie import CookieJar
from sacip_tun.protocol.errors import Drop
from sacip_tun.protocol.limits import UNDER_LOAD_HANDSHAKES_PER_SECOND
from sacip_tun.protocol.messages import CookieReply, Initiation, Response
from sacip_tun.protocol.tunnel import Tunnel

NUMBERS = st.integers(0, 2**32 - 1)


def size(tunnel: Tunnel) -> tuple[int, ...]:
    """How much a tunnel keeps in everything that could grow."""
    context, timers = tunnel._context, tunnel._context.timers
    return (
        len(context.owners),
        len(context.sessions),
        len(context.keyring),
        len(timers._deadlines),
        len(timers._heap),
        len(tunnel._limiter._full_at),
        len(tunnel._initiation_times),
        len(tunnel.peers.met),
        len(context.events),
    )


@st.composite
def forgeries(draw: st.DrawFn) -> bytes:
    """A message of any type, random inside; its mac1 is right or not."""
    number, noise = draw(NUMBERS), draw(st.binary(min_size=48, max_size=48))
    kind = draw(st.sampled_from([Initiation, Response, CookieReply]))
    if kind is CookieReply:
        return CookieReply(number, noise[:24], noise[:32]).encode()
    body = (
        Initiation(number, noise[:32], noise, noise[:28])
        if kind is Initiation
        else Response(number, draw(NUMBERS), noise[:32], noise[:16])
    )
    return body.encode()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(forgeries(), st.booleans()), min_size=1, max_size=40))
def test_a_forgery_leaves_nothing_behind(forged: list[tuple[bytes, bool]]) -> None:
    world, _, hub = connected()
    hub.tunnel.datagrams_to_send()
    before = size(hub.tunnel)
    jar = CookieJar(hub.tunnel.public_key)
    for number, (data, right) in enumerate(forged):
        signed = right and messages.message_type(data) != messages.COOKIE_REPLY
        sealed = jar.seal(data, now=world.now) if signed else data
        source = endpoint(f"203.0.113.{number + 1}")
        hub.tunnel.receive(sealed, endpoint("192.168.1.101"), source, now=world.now)
    assert size(hub.tunnel) == before
    assert hub.tunnel.datagrams_to_send() == []


def test_under_load_strangers_get_cookies_smaller_than_what_they_sent() -> None:
    world, _, hub = connected()
    before = size(hub.tunnel)
    jar = CookieJar(hub.tunnel.public_key)
    data = jar.seal(Initiation(7, bytes(32), bytes(48), bytes(28)).encode(), now=world.now)
    count = 4 * UNDER_LOAD_HANDSHAKES_PER_SECOND
    for number in range(count):
        source = endpoint(f"203.0.{number // 250}.{number % 250 + 1}")
        hub.tunnel.receive(data, endpoint("192.168.1.101"), source, now=world.now)
    replies = hub.tunnel.datagrams_to_send()
    assert len(replies) == hub.tunnel.drops[Drop.UNDER_LOAD] > count / 2
    assert all(len(reply.data) < len(data) for reply in replies)
    assert size(hub.tunnel) == before


def test_who_means_it_gets_in_during_a_flood_and_a_session_that_stands_goes_on() -> None:
    world, laptop, hub = connected()
    newcomer = world.host("newcomer", "10.9.0.3", "192.168.1.30")
    acquainted(world, newcomer, hub)
    acquainted(world, hub, newcomer, knows=False)
    newcomer.facts("192.168.1.30")
    jar = CookieJar(hub.tunnel.public_key)
    data = jar.seal(Initiation(7, bytes(32), bytes(48), bytes(28)).encode(), now=world.now)
    newcomer.send("10.9.0.2")
    laptops = len(hub.delivered)
    for second in range(8):
        flood(world, hub.tunnel, data)
        if not second:
            laptop.send("10.9.0.2")
        world.run(1.0)
    sources = [packet[12:16] for packet in map(bytes, hub.delivered[laptops:])]
    assert sorted(source[3] for source in sources) == [1, 3]
    assert hub.tunnel.drops[Drop.UNDER_LOAD] > 1000


def flood(world: World, tunnel: Tunnel, data: bytes) -> None:
    for number in range(3 * UNDER_LOAD_HANDSHAKES_PER_SECOND):
        source = endpoint(f"203.0.{number // 250}.{number % 250 + 1}")
        tunnel.receive(data, endpoint("192.168.1.101"), source, now=world.now)
    tunnel.datagrams_to_send()
