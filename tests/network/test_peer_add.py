"""A hub lets a new peer in while it runs; what it prints is brought up by us and by wg-quick.

laptop eth0 192.168.1.22    hub eth0 192.168.1.101
──────┴────────────────────────┴──────  192.168.1.0/24
"""

from pathlib import Path

import pytest
from ethernet import ethernet
from full_tunnel import reaches
from plain_tunnel import wg_quick, wireguard_go

from sacip_tun.lab.namespaces import Network, interface_name
from sacip_tun.lab.tunnel import PROGRAM, LabTunnel

pytestmark = pytest.mark.network


class Home:
    """A hub that is up from its file with nobody in it, and a laptop."""

    def __init__(self, network: Network) -> None:
        net = ethernet(network, "192.168.1.22/24")
        self.laptop = net.mover
        self.hub = LabTunnel(net.peer, "10.9.0.1/24", more=("fd09::1/64",))
        self.path = self.hub.configuration(lines=("# of home",))
        self.up()

    def up(self) -> None:
        self.hub.command("up", str(self.path))

    def peer(self, *words: str, code: int = 0) -> str:
        done = self.hub.command("peer", *words, "--interface", str(self.path), check=False)
        assert done.returncode == code, done.stderr
        return done.stdout

    def add(self, name: str) -> Path:
        """Let a peer in, and return the file for it, which is named after an interface."""
        path = self.hub.host.network.directory / f"{interface_name()}.conf"
        self.peer("add", name, "--endpoint", "192.168.1.101", "--output", str(path))
        return path

    def names(self) -> list[str]:
        return [line.split()[0] for line in self.peer("list").splitlines()[1:]]


@pytest.fixture
def home(network: Network) -> Home:
    return Home(network)


@pytest.mark.alone  # see wg_quick
def test_what_is_printed_is_a_tunnel_for_us_and_for_wg_quick(home: Home) -> None:
    ours, theirs = home.add("ours"), home.add("theirs")
    home.laptop.run([*PROGRAM, "up", str(ours)])
    assert all(reaches(home.laptop, inner, tries=3) for inner in ("10.9.0.1", "fd09::1"))
    assert "connected, last handshake" in home.peer("list")
    home.laptop.run([*PROGRAM, "down", ours.stem])

    wg_quick(home.laptop, "up", theirs, wireguard_go())
    assert all(reaches(home.laptop, inner, tries=3) for inner in ("10.9.0.1", "fd09::1"))
    wg_quick(home.laptop, "down", theirs, wireguard_go())


def test_one_that_is_removed_is_out_at_once_and_a_restart_changes_nothing(home: Home) -> None:
    phone, laptop = home.add("phone"), home.add("laptop")
    home.laptop.run([*PROGRAM, "up", str(phone)])
    assert reaches(home.laptop, "10.9.0.1", tries=3)
    home.peer("remove", "phone")
    assert not reaches(home.laptop, "10.9.0.1", tries=2)
    home.laptop.run([*PROGRAM, "down", phone.stem])
    assert home.names() == ["laptop"]

    home.hub.command("down", home.hub.name)
    home.up()
    assert home.names() == ["laptop"]
    assert "# of home" in home.path.read_text()
    assert home.path.stat().st_mode & 0o777 == 0o600
    home.laptop.run([*PROGRAM, "up", str(laptop)])
    assert reaches(home.laptop, "10.9.0.1", tries=3)
    home.laptop.run([*PROGRAM, "down", laptop.stem])
    assert "10.9.0.2" in home.peer("add", "next", "--endpoint", "a"), "an address is free again"
    home.peer("remove", "nobody", code=5)
    home.hub.command("down", home.hub.name)
