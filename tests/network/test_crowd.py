"""A hub that knows ten thousand peers, of which one calls.

laptop eth0 192.168.1.22    hub eth0 192.168.1.101
──────┴───────────────────────────┴──────  192.168.1.0/24
"""

import pytest
from crowd import crowd
from live import resident

from sacip_tun.lab.namespaces import Network
from sacip_tun.lab.tunnel import LabTunnel, Remote

pytestmark = [pytest.mark.network, pytest.mark.alone]

COUNT = 10_000


def test_a_hub_of_ten_thousand_serves_the_one_that_calls(network: Network) -> None:
    segment = network.segment("lan")
    ends = {}
    for name, last in (("hub", 101), ("laptop", 22)):
        host = network.host(name)
        host.plug(segment, "eth0", f"192.168.1.{last}/24")
        ends[name] = LabTunnel(host, f"10.9.0.{last}/24")
    hub, laptop = ends["hub"], ends["laptop"]
    hub.up_from_file(Remote(laptop.keys.public, allowed=(f"{laptop.inner}/32",)), *crowd(COUNT))
    laptop.up(Remote(hub.keys.public, "192.168.1.101:51820", (f"{hub.inner}/32",)))
    laptop.reach(hub.inner)
    hub.host.ip("addr add 192.168.1.102/24 dev eth0")
    hub.host.ip("addr del 192.168.1.101/24 dev eth0")
    laptop.reach(hub.inner)
    status = hub.status()
    states = [peer["state"] for peer in status["peers"]]
    assert states == ["connected"] + ["no endpoint"] * COUNT
    assert hub.active(laptop.keys.public, "local") == "192.168.1.102:51820"
    assert status["faults"] == 0
    assert resident(hub.process_id) < 100
