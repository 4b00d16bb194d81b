"""Changes of a running interface: a real tunnel, and sockets and a watcher that take notes."""

import asyncio
import errno
import gc
import os
from ipaddress import ip_address, ip_network

import pytest
from simulation import endpoint

from sacip_tun.config import Config, EndpointName, InterfaceConfig, Nat, PeerConfig
from sacip_tun.daemon import clock, reconfigurer
from sacip_tun.daemon.addressbook import AddressBook
from sacip_tun.daemon.changes import Change, PeerChange
from sacip_tun.daemon.journal import Journal
from sacip_tun.daemon.outlets import Outlets
from sacip_tun.daemon.reconfigurer import PREFIXES_A_TURN, Reconfigurer, identity_of
from sacip_tun.daemon.uapi_answer import Answers
from sacip_tun.linux.errors import SocketError
from sacip_tun.protocol.initiator import MOMENT
from sacip_tun.protocol.keys import NO_PRIVATE_KEY, clamped, public_key
from sacip_tun.protocol.peer import Peer
from sacip_tun.protocol.prefix import Prefix, prefix, prefix_of
from sacip_tun.protocol.tunnel import Tunnel

pytestmark = pytest.mark.asyncio

PRIVATE = clamped(bytes(range(32)))
A, B, C = (public_key(bytes([n]) * 32) for n in (1, 2, 3))


class Ports(Outlets):
    """Sockets that are opened nowhere; `error` is what the next change fails with."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.asked: list[tuple[int | None, int | None]] = []
        self.mark = 0
        self.number = 51820

    @property
    def port(self) -> int:
        return self.number

    @property
    def versions(self) -> frozenset[int]:
        return frozenset({4, 6})

    def change(self, port: int | None, mark: int | None) -> bool:
        if self.error is not None:
            raise self.error
        self.asked.append((port, mark))
        self.mark = self.mark if mark is None else mark
        self.number = port or self.number
        return port is not None or mark is not None


class Watching:
    def __init__(self) -> None:
        self.rebinds = 0
        self.gone: list[bytes] = []

    def rebound(self, _outlet) -> None:
        self.rebinds += 1

    def removed(self, key: bytes) -> None:
        self.gone.append(key)


class Bench:
    def __init__(self, *peers: PeerConfig) -> None:
        self.config = Config(InterfaceConfig("wg0", PRIVATE), peers)
        self.tunnel = Tunnel(identity_of(PRIVATE), entropy=os.urandom, unix_ns=lambda: 1)
        self.ports, self.watcher = Ports(), Watching()
        journal = Journal("wg0")
        self.told: list[bytes] = []
        book = AddressBook(self.tunnel, journal, frozenset({4, 6}), self.told.append)
        self.reconfigurer = Reconfigurer(self.config, self.tunnel, self.ports, journal)
        self.reconfigurer.wire(book, self.watcher)

    async def apply(self, *peers: PeerChange, **others) -> None:
        await self.reconfigurer.apply(Change(peers=peers, **others))

    def networks(self, key: bytes) -> list[str]:
        return [str(network) for network in self.tunnel.networks_of(self.tunnel.peers[key])]

    def answer(self) -> str:
        answers = Answers(self.tunnel)
        return "".join(answers.parts(self.reconfigurer.config, self.ports.port, 1420))


@pytest.fixture
def bench():
    return Bench()


def steps(*texts: str) -> list[int]:
    codes = [prefix_of(ip_network(text.removeprefix("-"))) for text in texts]
    return [~c if text.startswith("-") else c for c, text in zip(codes, texts, strict=True)]


async def test_peers_come_in_order_and_go(bench):
    await bench.apply(PeerChange(B), PeerChange(A), PeerChange(C, update_only=True))
    assert list(bench.tunnel.peers) == [B, A]
    assert list(bench.reconfigurer.peers) == [B, A]
    await bench.apply(PeerChange(B, remove=True), PeerChange(C, remove=True))
    assert list(bench.tunnel.peers) == [A]
    assert bench.watcher.gone == [B]
    await bench.apply(PeerChange(C), replace_peers=True)
    assert list(bench.tunnel.peers) == [C]


async def test_allowed_ips_are_given_moved_taken_and_replaced(bench):
    await bench.apply(PeerChange(A, allowed_ips=steps("10.0.0.0/8", "10.1.0.0/16", "::/0")))
    await bench.apply(PeerChange(B, allowed_ips=steps("10.1.0.0/16", "-10.0.0.0/8")))
    assert bench.networks(A) == ["10.0.0.0/8", "::/0"]
    assert bench.networks(B) == ["10.1.0.0/16"]
    await bench.apply(
        PeerChange(A, replace_allowed_ips=True, allowed_ips=steps("::/0", "10.2.0.0/16"))
    )
    assert bench.networks(A) == ["::/0", "10.2.0.0/16"]
    assert bench.tunnel.route(ip_address("10.9.9.9").packed) is None
    await bench.apply(PeerChange(A, allowed_ips=steps("10.3.0.0/16", "-10.3.0.0/16", "-::/0")))
    assert bench.networks(A) == ["10.2.0.0/16"]


async def test_what_is_in_both_is_never_missing_while_it_is_replaced(bench):
    many = [prefix(bytes((10, 1, n >> 8, n & 255)), 32) for n in range(3 * PREFIXES_A_TURN)]
    await bench.apply(PeerChange(A, allowed_ips=many))
    address, missing, turns = ip_address("10.1.1.7").packed, 0, 0
    replacing = asyncio.ensure_future(
        bench.apply(PeerChange(A, replace_allowed_ips=True, allowed_ips=many[::-1]))
    )
    while not replacing.done():
        turns += 1
        missing += bench.tunnel.route(address) is None
        await asyncio.sleep(0)
    assert turns > 3
    assert missing == 0
    assert bench.tunnel.prefixes_of(A) == many[::-1]


async def test_the_host_is_told_of_another_mark_before_any_datagram_has_it(bench):
    told = []

    async def expect(mark):
        told.append(("expect", mark, bench.ports.mark))

    async def rebound():
        told.append(("rebound", bench.ports.mark))

    bench.reconfigurer.expect, bench.reconfigurer.rebound = expect, rebound
    await bench.apply(fwmark=7)
    await bench.apply(listen_port=51821, fwmark=7)
    bench.ports.error = SocketError("taken", "take another")
    for asked in ({"listen_port": 51822}, {"listen_port": 51822, "fwmark": 8}):
        with pytest.raises(SocketError):
            await bench.apply(**asked)
    assert told == [
        ("expect", 7, 0),
        ("rebound", 7),
        ("rebound", 7),
        ("expect", 8, 7),
        ("rebound", 7),  # as it was
    ]


async def test_the_own_key_is_nobodys(bench):
    await bench.apply(PeerChange(A), PeerChange(public_key(PRIVATE)))
    assert list(bench.tunnel.peers) == [A]
    await bench.apply(private_key=bytes([1]) * 32)
    assert list(bench.tunnel.peers) == []
    assert bench.tunnel.public_key == A
    assert bench.reconfigurer.interface.private_key == clamped(bytes([1]) * 32)


async def test_without_a_private_key_nobody_is_called(bench):
    await bench.apply(private_key=NO_PRIVATE_KEY)
    assert "private_key=" not in bench.answer()
    await bench.apply(PeerChange(A, endpoint=EndpointName("192.0.2.1", 7), keepalive=5))
    assert bench.tunnel.datagrams_to_send() == []
    await bench.apply(private_key=PRIVATE)
    assert f"private_key={PRIVATE.hex()}\n" in bench.answer()


async def test_a_keepalive_calls_at_once_an_endpoint_does_not(bench):
    await bench.apply(PeerChange(A, endpoint=EndpointName("192.0.2.1", 7)))
    assert bench.tunnel.datagrams_to_send() == []
    assert bench.told == [A]
    await bench.apply(PeerChange(A, keepalive=25))
    (datagram,) = bench.tunnel.datagrams_to_send()
    assert datagram.remote == endpoint("192.0.2.1", 7)
    await bench.apply(PeerChange(B, endpoint=EndpointName("192.0.2.2", 7), call=True))
    assert len(bench.tunnel.datagrams_to_send()) == 1


async def test_another_endpoint_is_gone_to_in_a_moment(bench):
    await bench.apply(PeerChange(A, endpoint=EndpointName("192.0.2.1", 7), keepalive=25))
    bench.tunnel.datagrams_to_send()
    await bench.apply(PeerChange(A, endpoint=EndpointName("2001:db8::1", 9)))
    assert bench.tunnel.peers[A].path.remote.active == endpoint("2001:db8::1", 9)
    # A handshake has just begun: the next one goes there, and not in the same moment.
    await asyncio.sleep(MOMENT)
    bench.tunnel.handle_timer(now=clock.now())
    places = {datagram.remote for datagram in bench.tunnel.datagrams_to_send()}
    assert endpoint("2001:db8::1", 9) in places
    assert "endpoint=[2001:db8::1]:9\n" in bench.answer()


async def test_a_port_or_mark_that_cannot_be_had_leaves_all_as_it_was(bench):
    before = bench.answer()
    for error in (SocketError("taken", "another"), PermissionError(errno.EPERM, "no")):
        bench.ports.error = error
        with pytest.raises(type(error)):
            await bench.apply(PeerChange(A), listen_port=1, fwmark=2, private_key=NO_PRIVATE_KEY)
    assert bench.answer() == before
    assert bench.watcher.rebinds == 0
    bench.ports.error = None
    await bench.apply(listen_port=1, fwmark=2)
    assert bench.ports.asked == [(1, 2)]
    assert bench.watcher.rebinds == 1
    assert (bench.reconfigurer.interface.listen_port, bench.reconfigurer.interface.fwmark) == (1, 2)


async def test_who_asked_may_go_and_it_is_done_nevertheless(bench):
    many = [prefix(bytes((10, 1, n >> 8, n & 255)), 32) for n in range(4 * PREFIXES_A_TURN)]
    asking = asyncio.ensure_future(bench.apply(PeerChange(A, allowed_ips=many)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.sleep(0)
    async with bench.reconfigurer.busy:
        assert len(bench.tunnel.prefixes_of(A)) == len(many)


async def test_one_change_after_the_other(bench):
    one = [prefix(bytes((10, 1, n >> 8, n & 255)), 32) for n in range(4 * PREFIXES_A_TURN)]
    await asyncio.gather(
        bench.apply(PeerChange(A, allowed_ips=one)), bench.apply(PeerChange(B, allowed_ips=one))
    )
    assert bench.tunnel.prefixes_of(A) == []
    assert bench.tunnel.prefixes_of(B) == one


async def test_a_configured_peer_is_made_exactly_so(bench):
    peer = PeerConfig(
        A,
        preshared_key=bytes([7]) * 32,
        allowed_ips=(ip_network("10.1.0.0/16"),),
        endpoint=EndpointName("192.0.2.1", 7),
        persistent_keepalive=25,
        nat=Nat.STRICT,
        relay=True,
    )
    await bench.apply(PeerChange(A, allowed_ips=steps("10.5.0.0/16"), keepalive=9))
    met = bench.tunnel.peers[A]
    await bench.apply(PeerChange.of(peer))
    assert bench.reconfigurer.current().peers == (peer,)
    assert bench.tunnel.peers[A].strict
    assert bench.tunnel.peers[A] is not met  # Nat was another one
    again = bench.tunnel.peers[A]
    await bench.apply(PeerChange.of(peer))
    assert bench.tunnel.peers[A] is again


@pytest.mark.parametrize("interval", [None, 0, 25])
async def test_never_and_as_needed_are_not_the_same_interval(bench, interval):
    await bench.apply(PeerChange(A, keepalive=9))
    peer = PeerConfig(A, persistent_keepalive=interval)
    await bench.apply(PeerChange.of(peer))
    assert bench.reconfigurer.peers[A] == peer
    assert bench.tunnel.peers.settings_of(A).keepalive == interval


async def test_what_wg_shows_of_a_peer_that_nobody_met(bench):
    await bench.apply(PeerChange(A, preshared_key=B, allowed_ips=steps("10.0.0.0/8")))
    assert bench.answer() == (
        f"private_key={PRIVATE.hex()}\nlisten_port=51820\nsacip_mtu=1420\n"
        f"public_key={A.hex()}\npreshared_key={B.hex()}\nprotocol_version=1\n"
        "last_handshake_time_sec=0\nlast_handshake_time_nsec=0\ntx_bytes=0\nrx_bytes=0\n"
        "persistent_keepalive_interval=0\nallowed_ip=10.0.0.0/8\n"
    )
    assert not bench.tunnel.peers.is_met(A)


async def test_an_answer_is_of_one_moment(bench):
    await bench.apply(PeerChange(A, allowed_ips=steps("10.0.0.0/8")), PeerChange(B))
    parts = Answers(bench.tunnel).parts(bench.reconfigurer.config, 51820, 1420)
    next(parts)
    await bench.apply(PeerChange(A, replace_allowed_ips=True), PeerChange(B, remove=True))
    rest = "".join(parts)
    assert "allowed_ip=10.0.0.0/8\n" in rest
    assert B.hex() not in rest


async def test_the_time_of_a_handshake_does_not_tremble(bench):
    await bench.apply(PeerChange(A))
    bench.tunnel.peers[A].last_handshake = 5.0
    answers = Answers(bench.tunnel)
    told = ["".join(answers.parts(bench.reconfigurer.config, 1, 1420)) for _ in range(5)]
    assert len(set(told)) == 1
    assert "last_handshake_time_sec=0\n" not in told[0]


async def test_many_prefixes_have_one_owner_each(bench):
    """The table's own lists become dictionaries when they grow."""
    some = [prefix(bytes((10, 0, 0, n)), 32) for n in range(64)]
    await bench.apply(PeerChange(A, allowed_ips=some), PeerChange(B, allowed_ips=some[::2]))
    assert bench.tunnel.prefixes_of(A) == some[1::2]
    assert bench.tunnel.prefixes_of(B) == some[::2]
    bench.tunnel.disallow(Prefix(some[0]), A)
    assert bench.tunnel.prefixes_of(B) == some[::2]


async def test_peers_that_were_removed_do_not_stay_in_memory(bench, monkeypatch):
    monkeypatch.setattr(reconfigurer, "MANY_REMOVED", 100)
    keys = [b"%032d" % number for number in range(101)]
    place = EndpointName("192.0.2.1", 7)
    await bench.apply(*(PeerChange(key, endpoint=place) for key in keys))
    assert gc.get_freeze_count()
    await bench.apply(replace_peers=True)
    gc.unfreeze()  # what is frozen is not listed
    left = [there for there in gc.get_objects() if isinstance(there, Peer) and there.key in keys]
    assert not left
