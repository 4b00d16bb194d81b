"""The address book: all endpoints are looked up, a few at a time, and the user told what failed."""

import asyncio
import socket
from ipaddress import ip_address
from itertools import pairwise
from random import Random

import pytest
from simulation import EPOCH_NS

from sacip_tun.config import EndpointName, PeerConfig
from sacip_tun.daemon import addressbook, resolver
from sacip_tun.daemon.addressbook import TOGETHER, AddressBook
from sacip_tun.daemon.journal import Journal
from sacip_tun.protocol.address import Endpoint
from sacip_tun.protocol.keys import StaticIdentity
from sacip_tun.protocol.settings import PeerSettings
from sacip_tun.protocol.tunnel import Tunnel

pytestmark = pytest.mark.asyncio


class Bench:
    """A book of peers at 192.0.2.1 and on, or at names; who was found, in order."""

    def __init__(self, *hosts: str) -> None:
        self.found: list[bytes] = []
        self.journal = Journal("sacip0")
        self.notes: list[dict] = []
        self.journal.log = self.notes.append
        self.tunnel = Tunnel(
            StaticIdentity(b"\x77" * 32), entropy=Random(1).randbytes, unix_ns=lambda: EPOCH_NS
        )
        self.peers = [
            PeerConfig(b"%032d" % number, endpoint=EndpointName(host, 51820))
            for number, host in enumerate(hosts)
        ]
        for peer in self.peers:
            self.tunnel.add_peer(PeerSettings(peer.public_key, named=True), [], now=0.0)
        self.book = AddressBook(self.tunnel, self.journal, frozenset({4}), self.found.append)


def hosts(count: int) -> list[str]:
    return [f"192.0.{number // 250}.{number % 250 + 1}" for number in range(count)]


async def test_a_few_are_looked_up_at_once() -> None:
    bench = Bench(*hosts(TOGETHER))
    bench.book.start(bench.peers)
    await bench.book.first_lookups()
    assert bench.found == [peer.public_key for peer in bench.peers]
    assert not list(bench.book.warnings)
    bench.book.stop()


async def test_many_are_looked_up_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addressbook, "PAUSE", 0.0)
    bench = Bench(*hosts(3 * TOGETHER))
    bench.book.start(bench.peers)
    steps = [len(bench.found)]
    while len(bench.found) < len(bench.peers):
        await asyncio.sleep(0)
        steps.append(len(bench.found))
    assert max(after - before for before, after in pairwise(steps)) <= TOGETHER
    assert bench.found == [peer.public_key for peer in bench.peers]
    bench.book.stop()


async def test_who_was_not_come_to_yet_is_nothing_to_warn_of() -> None:
    bench = Bench(*hosts(2 * TOGETHER))
    bench.book.start(bench.peers)
    await asyncio.sleep(0)
    assert len(bench.found) == TOGETHER
    assert not list(bench.book.warnings)
    bench.book.stop()


async def test_a_name_that_does_not_resolve_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolve(_text: str) -> list:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(resolver, "resolve", resolve)
    bench = Bench("hub.example")
    bench.book.start(bench.peers)
    await bench.book.first_lookups()
    (warning,) = bench.book.warnings
    assert warning.startswith("hub.example:51820 does not resolve yet")
    assert [note["event"] for note in bench.notes] == ["unresolved"]
    bench.book.stop()


async def test_an_address_is_looked_up_once_and_again_when_the_network_is_another() -> None:
    bench = Bench("192.0.2.1")
    (key,) = (peer.public_key for peer in bench.peers)
    bench.book.start(bench.peers)
    await bench.book.first_lookups()
    bench.book.look_up(key)
    bench.book.look_up(b"\xff" * 32)
    await asyncio.sleep(0)
    assert bench.found == [key]
    bench.book.look_up_again()
    await asyncio.sleep(0)
    assert bench.found == [key, key]
    bench.book.look_up_again(detached=True)
    await asyncio.sleep(0)
    assert bench.found == [key, key]
    bench.book.stop()


async def test_another_endpoint_is_taken_at_once_and_the_old_name_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = {"old.example": "192.0.2.1", "new.example": "192.0.2.2"}

    async def resolve(text: str) -> list[Endpoint]:
        await asyncio.sleep(0)
        return [Endpoint(ip_address(answers[text.partition(":")[0]]), 51820)]

    monkeypatch.setattr(resolver, "resolve", resolve)
    bench = Bench("old.example")
    bench.book.start(bench.peers)
    await bench.book.first_lookups()
    key = bench.peers[0].public_key
    peer = bench.tunnel.peers[key]
    peer.last_handshake = 1.0  # it was heard at the old place, where a name alone would leave it
    bench.book.place(key, EndpointName("new.example", 51820), call=True)
    for _ in range(5):
        await asyncio.sleep(0)
    assert str(peer.path.remote.active) == "192.0.2.2:51820"
    bench.book.look_up_again()
    bench.book.place(key, EndpointName("192.0.2.9", 7), call=False)
    for _ in range(5):
        await asyncio.sleep(0)
    assert str(peer.path.remote.active) == "192.0.2.9:7"
    bench.book.forget(key)
    bench.book.look_up(key)
    bench.book.stop()
