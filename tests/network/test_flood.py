"""A hub under a flood of handshakes from forged sources still serves those who mean it.

newcomer .30   laptop .22   attacker .66    hub eth0 192.168.1.101, default route by the attacker
─────┴──────────────┴────────────┴───────────────────┴──────  192.168.1.0/24
"""

import sys
import time
from pathlib import Path

import pytest

from sacip_tun.lab.namespaces import Host, Network
from sacip_tun.lab.tunnel import LabTunnel, Remote

pytestmark = [pytest.mark.network, pytest.mark.alone]

FLOOD = str(Path(__file__).with_name("flood.py"))
HUB = "192.168.1.101"
# Several times what means load (limits.UNDER_LOAD_HANDSHAKES_PER_SECOND), and little work.
RATE, SECONDS = 2000, 12.0
# Resident bytes that buffers and caches may take meanwhile; one byte kept for each of the 24,000
# datagrams would be nothing, a kilobyte 24 MB.
GROWTH = 8 << 20


@pytest.fixture
def hosts(network: Network) -> dict[str, Host]:
    segment = network.segment("lan")
    made = {}
    for name, last in (("hub", 101), ("laptop", 22), ("newcomer", 30), ("attacker", 66)):
        made[name] = network.host(name)
        made[name].plug(segment, "eth0", f"192.168.1.{last}/24")
    made["hub"].ip("route add default via 192.168.1.66")
    return made


def resident(tunnel: LabTunnel) -> int:
    text = Path(f"/proc/{tunnel.process_id}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0]) * 1024


def test_a_newcomer_gets_in_and_a_standing_tunnel_carries_on(hosts: dict[str, Host]) -> None:
    hub = LabTunnel(hosts["hub"], "10.9.0.1/24")
    ends = [
        LabTunnel(hosts[name], f"10.9.0.{n}/24") for n, name in ((2, "laptop"), (3, "newcomer"))
    ]
    laptop, newcomer = ends
    hub.up(*(Remote(end.keys.public, allowed=(f"{end.inner}/32",)) for end in ends))
    remote = Remote(hub.keys.public, f"{HUB}:51820", ("10.9.0.1/32",))
    laptop.up(remote)
    laptop.reach("10.9.0.1")
    before = resident(hub)
    arguments = [hub.keys.public, HUB, "51820", str(RATE), str(SECONDS)]
    flood = hosts["attacker"].start([sys.executable, FLOOD, *arguments])
    while not hub.status()["drops"].get("under load, cookie sent"):
        assert flood.poll() is None, hosts["attacker"].log(flood)
        time.sleep(0.1)
    pings = hosts["laptop"].start(["ping", "-n", "-q", "-c", "100", "-i", "0.05", "10.9.0.1"])
    newcomer.up(remote)
    newcomer.reach("10.9.0.1")
    assert flood.poll() is None, "the newcomer came too late to meet the flood"
    pings.wait(20)
    assert " 0% packet loss" in hosts["laptop"].log(pings)
    flood.wait(30)
    sent, status = int(hosts["attacker"].log(flood)), hub.status()
    assert sent >= RATE * SECONDS / 4
    assert status["drops"]["under load, cookie sent"] > sent / 2
    assert status["faults"] == 0
    assert resident(hub) - before < GROWTH
