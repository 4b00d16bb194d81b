"""A laptop learns at home what its hub is called there, then leaves: that address must not stick.

                 nat1 .1 ── 203.0.113.1 ─────┐
hub    .101 ──────┤  (forwards 51820)        │ 203.0.113.0/24
laptop .22  eth0 ─┘                          │
laptop .22  eth1 ──── nat2 .1 ── 203.0.113.2 ┘

The laptop calls 203.0.113.1. At home nat1 forwards that to the hub, which sees the laptop itself
and answers from 192.168.1.101. Away, 192.168.1.101 is nobody, or somebody else.
"""

import time

import pytest
from behind_nat import WAN, router
from ethernet import at, wait_until
from plain_tunnel import PlainTunnel
from test_move_download import assert_prompt

from sacip_tun.lab.connection import Connection
from sacip_tun.lab.namespaces import Host
from sacip_tun.lab.tunnel import LabTunnel, Remote

pytestmark = pytest.mark.network

HUB_AT_HOME = "192.168.1.101"


@pytest.fixture
def hosts(network) -> tuple[Host, Host]:
    """The laptop, at home, and the hub."""
    wan, home, away = network.segment("wan"), network.segment("home"), network.segment("away")
    laptop, hub = network.host("laptop"), network.host("hub")
    nat1 = router(network, wan, home, "nat1", "192.168.1.1/24")
    nat2 = router(network, wan, away, "nat2", "192.168.2.1/24")
    nat1.forward(51820, HUB_AT_HOME)
    nat1.masquerade()
    # Redirects would tell the laptop another way than its router's.
    nat1.host.write_sysctl("ipv4/conf/all/send_redirects", 0)
    nat1.host.write_sysctl("ipv4/conf/eth0/send_redirects", 0)
    nat2.masquerade()
    hub.plug(home, "eth0", f"{HUB_AT_HOME}/24")
    hub.ip("route add default via 192.168.1.1")
    laptop.plug(home, "eth0", "192.168.1.22/24")
    laptop.plug(away, "eth1")
    laptop.ip("route add default via 192.168.1.1")
    return laptop, hub


def leave(laptop: Host) -> None:
    laptop.ip("link set eth0 down")
    laptop.ip("addr add 192.168.2.22/24 dev eth1")
    laptop.ip("route add default via 192.168.2.1")


def at_home(laptop: LabTunnel, hub) -> Connection:
    """Both up, the laptop at the hub's address of home, a download under way."""
    hub.up(Remote(laptop.keys.public, allowed=("10.9.0.2/32",)))
    laptop.up(Remote(hub.keys.public, at(WAN["nat1"]), ("10.9.0.1/32",)))
    laptop.reach(hub.inner)
    assert laptop.active(hub.keys.public, "remote") == at(HUB_AT_HOME)
    options = ("--direction", "download", "--seconds", "4", "--rate", "10")
    connection = Connection(laptop.host, hub.host, hub.inner, *options)
    connection.wait_until_established()
    time.sleep(1.0)
    return connection


def test_the_hub_is_found_from_elsewhere_at_once(hosts) -> None:
    laptop, hub = LabTunnel(hosts[0], "10.9.0.2/24"), LabTunnel(hosts[1], "10.9.0.1/24")
    connection = at_home(laptop, hub)
    leave(laptop.host)
    wait_until(
        lambda: laptop.active(hub.keys.public, "remote") == at(WAN["nat1"]), "the address sticks"
    )
    assert_prompt(connection)
    assert not laptop.events("hunting")


def test_a_plain_hub_is_found_from_elsewhere_at_once(hosts) -> None:
    laptop, hub = LabTunnel(hosts[0], "10.9.0.2/24"), PlainTunnel(hosts[1], "10.9.0.1/24")
    connection = at_home(laptop, hub)
    leave(laptop.host)
    wait_until(
        lambda: laptop.active(hub.keys.public, "remote") == at(WAN["nat1"]), "the address sticks"
    )
    assert_prompt(connection)
