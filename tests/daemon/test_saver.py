"""Saving: what runs goes into the file, and nothing that nobody took away goes out of it."""

import asyncio
import fcntl
import os
from ipaddress import ip_address
from types import SimpleNamespace

import pytest

from sacip_tun.config import ConfigError, editing, load, parse
from sacip_tun.config.model import Config, EndpointName, PeerConfig
from sacip_tun.daemon import saver
from sacip_tun.daemon.saver import Saver
from sacip_tun.linux.addresses import Address, Link
from sacip_tun.linux.snapshot import Snapshot
from sacip_tun.protocol.keys import clamped, to_base64

pytestmark = pytest.mark.asyncio

PRIVATE, PHONE, LAPTOP = (clamped(bytes([number]) * 32) for number in (1, 2, 3))
FILE = f"""\
[Interface]
PrivateKey = {to_base64(PRIVATE)}
Address = 10.9.0.1/24, 10.8.0.1/24
SaveConfig = true

[Peer]
# Name = phone
PublicKey = {to_base64(PHONE)}
Endpoint = phone.example:7
"""
INDEX = 7
HERE = Snapshot(
    {INDEX: Link(INDEX, "hub")}, (Address(ip_address("10.8.0.1"), 24, INDEX),)
)  # somebody has deleted 10.9.0.1
GONE = Snapshot({1: Link(1, "lo")}, (Address(ip_address("127.0.0.1"), 8, 1),))


class Bench:
    """A saver of what runs: `peers`, where they are now."""

    def __init__(self, path) -> None:
        self.path = path
        path.write_text(FILE)
        path.chmod(0o600)
        config = load(str(path))
        self.peers = list(config.peers)
        self.reconfigurer = SimpleNamespace(
            busy=asyncio.Lock(),
            peers={peer.public_key: peer for peer in config.peers},
            current=lambda: Config(config.interface, tuple(self.peers)),
        )
        surroundings = SimpleNamespace(policy=None)
        self.quick = SimpleNamespace(
            config=config, index=INDEX, commands={}, surroundings=surroundings
        )
        self.saver = Saver(self.reconfigurer, self.quick)

    def add(self, peer: PeerConfig) -> None:
        self.peers.append(peer)
        self.reconfigurer.peers[peer.public_key] = peer

    @property
    def saved(self) -> Config:
        return parse(self.path.read_text(), "hub")


@pytest.fixture
def bench(tmp_path, monkeypatch):
    monkeypatch.setattr(saver, "Snapshot", SimpleNamespace(taken=lambda: HERE))
    return Bench(tmp_path / "hub.conf")


async def test_addresses_are_those_of_the_interface(bench):
    assert await bench.saver.command({}) == {"path": str(bench.path), "warnings": []}
    assert [str(address) for address in bench.saved.interface.addresses] == ["10.8.0.1/24"]


async def test_an_interface_that_somebody_deleted_is_not_saved_by_itself(bench, monkeypatch):
    monkeypatch.setattr(saver, "Snapshot", SimpleNamespace(taken=lambda: GONE))
    with pytest.raises(ConfigError, match="deleted"):
        await bench.saver.save_if_asked()
    assert bench.path.read_text() == FILE


async def test_an_interface_that_is_not_there_keeps_the_addresses_of_the_file(bench, monkeypatch):
    monkeypatch.setattr(saver, "Snapshot", SimpleNamespace(taken=lambda: GONE))
    await bench.saver.command({})
    assert bench.saved.interface.addresses == bench.quick.config.interface.addresses


async def test_names_of_peers_stay_and_so_do_those_of_endpoints(bench):
    bench.add(PeerConfig(LAPTOP, endpoint=EndpointName("192.0.2.7", 9)))
    await bench.saver.save_if_asked()
    text = bench.path.read_text()
    assert [place.name for place in editing.places(text)] == ["phone", ""]
    assert editing.named(text, "phone").key == PHONE
    assert [str(peer.endpoint) for peer in bench.saved.peers] == [
        "phone.example:7",
        "192.0.2.7:9",
    ]


async def test_what_others_add_while_it_waits_for_the_file_is_saved(bench):
    directory = os.open(bench.path.parent, os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        saving = asyncio.ensure_future(bench.saver.command({}))
        await asyncio.sleep(0.05)
        assert not saving.done()
        bench.add(PeerConfig(LAPTOP))
        section = f"\n[Peer]\n# Name = laptop\nPublicKey = {to_base64(LAPTOP)}\n"
        bench.path.write_text(FILE + section)
    finally:
        os.close(directory)
    await saving
    assert [place.name for place in editing.places(bench.path.read_text())] == ["phone", "laptop"]
