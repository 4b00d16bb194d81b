"""A hub with two laptops, IPv4 and IPv6 inside; each reaches the hub and, through it, the other.

phone eth0 192.168.1.30    laptop eth0 192.168.1.22    hub eth0 192.168.1.101
──────┴───────────────────────────┴───────────────────────────┴──────  192.168.1.0/24
"""

import pytest

from sacip_tun.lab.namespaces import Network
from sacip_tun.lab.tunnel import LabTunnel, Remote

pytestmark = pytest.mark.network

HUB = "192.168.1.101:51820"


class Home:
    """The hub, the laptop and the phone, connected."""

    def __init__(self, network: Network) -> None:
        segment = network.segment("lan")
        hosts = {}
        for name, address in (("hub", "101"), ("laptop", "22"), ("phone", "30")):
            hosts[name] = network.host(name)
            hosts[name].plug(segment, "eth0", f"192.168.1.{address}/24")
        hosts["hub"].write_sysctl("ipv4/ip_forward", 1)
        hosts["hub"].write_sysctl("ipv6/conf/all/forwarding", 1)
        self.hub = LabTunnel(hosts["hub"], "10.9.0.1/24", more=("fd09::1/64",))
        self.laptop = LabTunnel(hosts["laptop"], "10.9.0.2/24", more=("fd09::2/64",))
        self.phone = LabTunnel(hosts["phone"], "10.9.0.3/24", more=("fd09::3/64",))
        self.hub.up(
            Remote(self.laptop.keys.public, allowed=("10.9.0.2/32", "fd09::2/128")),
            Remote(self.phone.keys.public, allowed=("10.9.0.0/24", "fd09::/64")),
        )
        for end in (self.laptop, self.phone):
            end.up(Remote(self.hub.keys.public, HUB, ("10.9.0.0/24", "fd09::/64")))
            end.reach("10.9.0.1")
            end.reach("fd09::1")


@pytest.fixture
def home(network: Network) -> Home:
    return Home(network)


def test_two_peers_talk_through_the_hub_in_both_families(home: Home) -> None:
    for address in ("10.9.0.3", "fd09::3"):
        home.laptop.reach(address)
    for address in ("10.9.0.2", "fd09::2"):
        home.phone.reach(address)


def test_the_longest_prefix_over_all_peers_decides_in_both_directions(home: Home) -> None:
    """10.9.0.2 is the laptop's: the phone may not use it, though its 10.9.0.0/24 covers it."""
    home.phone.host.ip(f"addr add 10.9.0.2/32 dev {home.phone.name}")
    home.phone.host.run(["ping", "-c2", "-W1", "-I", "10.9.0.2", "10.9.0.1"], check=False)
    drops = home.hub.status()["drops"]
    assert drops["inner source not allowed for this peer"] >= 2
    home.laptop.reach("10.9.0.1")


def test_one_peer_moves_and_the_other_does_not_notice(home: Home) -> None:
    before = home.hub.peer(home.phone.keys.public)["remote"]
    home.laptop.host.ip("addr add 192.168.1.2/24 dev eth0")
    home.laptop.host.ip("addr del 192.168.1.22/24 dev eth0")
    home.laptop.reach("10.9.0.3")
    assert home.hub.active(home.laptop.keys.public, "remote") == "192.168.1.2:51820"
    assert home.hub.peer(home.phone.keys.public)["remote"] == before
    assert home.hub.status()["faults"] == 0
