"""Which addresses can be an endpoint, and that no way in leads around the answer."""

from ipaddress import ip_address, ip_network

import pytest
from simulation import connected, endpoint

from sacip_tun.protocol.errors import Drop
from sacip_tun.protocol.frames import Code, Frame
from sacip_tun.protocol.hygiene import Fault, Hygiene, is_anybodys
from sacip_tun.protocol.routing import AllowedIPs

OLD, HUB = "192.168.1.22", "192.168.1.101"
OWN, INNER = endpoint(HUB, 999), endpoint("10.9.0.1", 999)


def table(*networks) -> AllowedIPs[str]:
    allowed: AllowedIPs[str] = AllowedIPs()
    for network in networks:
        allowed.insert(ip_network(network), "peer")
    return allowed


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("203.0.113.7", None),
        ("192.168.1.7", None),
        ("2001:db8::7", None),
        ("127.0.0.1", Fault.NOBODYS),
        ("::1", Fault.NOBODYS),
        ("0.0.0.0", Fault.NOBODYS),  # noqa: S104 - judged, not bound
        ("::", Fault.NOBODYS),
        ("224.0.0.1", Fault.NOBODYS),
        ("255.255.255.255", Fault.NOBODYS),
        ("240.0.0.7", Fault.NOBODYS),
        ("0.1.2.3", Fault.NOBODYS),
        ("::ffff:203.0.113.7", Fault.NOBODYS),
        ("ff02::1", Fault.NOBODYS),
        ("192.168.1.101", Fault.OURS),
        ("10.9.0.77", Fault.INNER),
        ("fd09::77", Fault.INNER),
        ("8.8.8.8", None),
    ],
)
def test_each_kind_of_address(text, fault) -> None:
    allowed = table("10.9.0.0/24", "fd09::/64", "0.0.0.0/0", "8.0.0.0/7")
    hygiene = Hygiene(allowed.holds)
    hygiene.present = frozenset({ip_address(HUB)})
    assert hygiene.fault(endpoint(text)) is fault


def test_port_0_is_nobodys() -> None:
    assert not is_anybodys(endpoint("203.0.113.7", 0))


def from_(source):
    """A network in which what goes to the hub comes from `source`."""

    def tap(origin, destination, _data):
        return [(source if str(destination.host) == HUB else origin, destination)]

    return tap


@pytest.mark.parametrize("source", [OWN, INNER, endpoint("127.0.0.1", 999)])
@pytest.mark.parametrize("kind", ["data", "change", "handshake"])
def test_what_comes_from_there_moves_nothing(source, kind) -> None:
    world, a, b = connected()
    before = b.peer.path.remote
    if kind == "handshake":
        world.run(121)
    world.tap = from_(source)
    if kind == "change":
        frame = Frame(Code.CHANGE, number=5, new=source)
        a.peer.speech.ask(frame, a.peer.path.local.active, a.peer.path.remote.active, now=world.now)
        world.settle(a)
    else:
        a.send("10.9.0.2")
    world.run(2)
    assert b.peer.path.remote == before
    assert b.tunnel.drops[Drop.STRANGE_ENDPOINT]


def test_what_comes_from_there_is_still_delivered() -> None:
    """It is authentic: only where to answer it is not taken from it."""
    world, a, b = connected()
    world.tap = from_(OWN)
    a.send("10.9.0.2", b"all the same")
    world.run(0.1)
    assert b.delivered[-1][20:32] == b"all the same"


@pytest.mark.parametrize("source", [OWN, INNER])
def test_what_the_user_configured_may_be_there(source) -> None:
    world, a, b = connected()
    b.peer.where.configured = (source,)

    def there(origin, destination, _data):
        if destination == endpoint(HUB):
            return [(source, destination)]
        return [(origin, endpoint(OLD))] if destination == source else []

    world.tap = there
    a.send("10.9.0.2")
    world.run(1)
    assert b.peer.path.remote.active == source


@pytest.mark.parametrize("claimed", [OWN, INNER])
def test_a_private_address_that_we_have_too_is_found_by_its_challenge(claimed) -> None:
    """Two networks behind NATs may use the same addresses."""
    world, a, b = connected()
    public = endpoint("203.0.113.9", 61000)
    world.tap = from_(endpoint(OLD))
    say = Frame(Code.PREPARE, number=1, new=claimed)
    path = a.peer.path
    a.peer.speech.ask(say, path.local.active, path.remote.active, now=world.now)
    world.settle(a)
    world.run(0.1)
    assert claimed not in b.peer.path.remote
    world.tap = from_(public)
    probe = Frame(Code.PATH_CHALLENGE, number=1, new=claimed)
    a.peer.speech.ask(probe, path.local.active, path.remote.active, now=world.now)
    world.settle(a)
    world.run(0.1)
    assert b.peer.path.remote.idle == public


def test_such_candidates_are_not_kept() -> None:
    world, a, b = connected()
    good = endpoint("203.0.113.9")
    hello = Frame(Code.HELLO, candidates=(OWN, INNER, endpoint("224.0.0.1"), good))
    a.peer.speech.ask(hello, a.peer.path.local.active, a.peer.path.remote.active, now=world.now)
    world.settle(a)
    world.run(0.1)
    assert b.peer.exchange.candidates == (good,)


def test_a_broadcast_of_an_own_network_is_nobodys() -> None:
    hygiene = Hygiene(lambda _packed: False)
    hygiene.broadcasts = frozenset({ip_address("192.168.1.255")})
    assert hygiene.fault(endpoint("192.168.1.255")) is Fault.NOBODYS
    assert hygiene.fault(endpoint("192.168.2.255")) is None


def test_a_candidate_that_is_nobodys_is_never_asked() -> None:
    world, a, b = connected()
    hello = Frame(Code.HELLO, candidates=(endpoint("255.255.255.255"), endpoint("240.0.0.1")))
    b.peer.speech.ask(hello, b.peer.path.local.active, b.peer.path.remote.active, now=world.now)
    world.settle(b)
    world.run(0.1)
    world.tap = lambda *_: []
    for _ in range(50):
        a.send("10.9.0.2")
        world.run(0.1)
    asked = {str(destination.host) for _, _, destination, _ in world.sent}
    assert not asked & {"255.255.255.255", "240.0.0.1"}
