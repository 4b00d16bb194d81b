"""An uplink that is slower than what is to be sent: inner senders are told, and flows share it.

mover ── 40 Mbit/s (tbf) ──── hub
"""

import pytest
from live import counters

from sacip_tun.lab.connection import Connection, survived
from sacip_tun.lab.namespaces import Host, Network
from sacip_tun.lab.tunnel import LabTunnel, Remote
from sacip_tun.protocol.errors import Drop

pytestmark = [pytest.mark.network, pytest.mark.alone]

HUB, MOVER = "192.168.1.101", "192.168.1.22"
# Mbit/s that each flow wants, and seconds for which it could at that rate.
FLOW = ("--direction", "upload", "--rate", "40", "--seconds", "2")


def slow(network: Network, *, ecn: int) -> tuple[LabTunnel, LabTunnel]:
    """Two hosts with a tunnel, and less room than is wanted on the way out of one."""
    segment = network.segment("lan")
    hub, mover = network.host("hub"), network.host("mover")
    hub.plug(segment, "eth0", f"{HUB}/24")
    mover.plug(segment, "eth0", f"{MOVER}/24")
    for host in (hub, mover):
        host.write_sysctl("ipv4/tcp_ecn", ecn)
    ends = LabTunnel(hub, "10.9.0.1/24"), LabTunnel(mover, "10.9.0.2/24")
    ends[0].up(Remote(ends[1].keys.public, allowed=("10.9.0.2/32",)))
    ends[1].up(Remote(ends[0].keys.public, f"{HUB}:51820", ("10.9.0.1/32",)))
    ends[1].reach("10.9.0.1")
    shape = "qdisc add dev eth0 root tbf rate 40mbit burst 20kb limit 4mb"
    mover.run(["tc", *shape.split()])
    return ends


def upload_two(hub: Host, mover: Host) -> list[Connection]:
    """Two uploads at once, and what is sparse beside them."""
    flows = [Connection(mover, hub, "10.9.0.1", *FLOW, port=5000 + n) for n in (1, 2)]
    for flow in flows:
        flow.wait_until_established()
    answered = mover.run(["ping", "-c", "20", "-i", "0.1", "10.9.0.1"]).stdout
    assert "20 received" in answered
    return flows


def test_a_sender_that_knows_no_ecn_loses_a_packet_now_and_then_and_no_more(network) -> None:
    hub, mover = slow(network, ecn=0)
    for flow in upload_two(hub.host, mover.host):
        ends = flow.finish()
        assert survived(*ends), ends
    status = mover.status()
    assert status["drops"][Drop.QUEUED_LONG.value] > 0
    assert status["marked"] == 0
    assert status["send_errors"]["queue full"] > 0
    assert not counters(mover.host)["TCPTimeouts"]


def test_a_sender_that_knows_ecn_is_told_by_marks(network) -> None:
    hub, mover = slow(network, ecn=1)
    for flow in upload_two(hub.host, mover.host):
        ends = flow.finish()
        assert survived(*ends), ends
    assert mover.status()["marked"] > 0
    assert counters(mover.host)["TCPDeliveredCE"] > 0
    assert not counters(mover.host)["TCPTimeouts"]
