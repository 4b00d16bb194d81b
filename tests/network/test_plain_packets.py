"""A kernel without offloads: no virtio_net_hdr on the TUN, no UDP_SEGMENT, no UDP_GRO.

a eth0 192.168.1.22        b eth0 192.168.1.101
──────┴───────────────────────┴──────  192.168.1.0/24
"""

import pytest
from test_up import ends

from sacip_tun.lab import tunnel
from sacip_tun.lab.connection import Connection, survived

pytestmark = pytest.mark.network

# The same program on such a kernel: it refuses TUNSETOFFLOAD, and knows no UDP options.
REFUSING = """
import sys
from sacip_tun.linux import socket_options, tun
tun.OFFLOADS = ()
socket_options.UDP_SEGMENT = socket_options.UDP_GRO = 0xfff
from sacip_tun.cli import main
sys.exit(main())
"""
OFF = {"state": "off", "refusals": 0}


@pytest.mark.parametrize("plain_ends", ["ab", "a"])
def test_plain_packets_carry_the_same_bytes(network, monkeypatch, plain_ends) -> None:
    a, b = ends(network)
    for end in (b, a):
        with monkeypatch.context() as patch:
            if (end is a and "a" in plain_ends) or (end is b and "b" in plain_ends):
                patch.setattr(tunnel, "PROGRAM", (tunnel.PROGRAM[0], "-c", REFUSING))
            other = b if end is a else a
            endpoint = "192.168.1.101:51820" if end is a else None
            end.up(tunnel.Remote(other.keys.public, endpoint, (f"{other.inner}/32",)))
    a.reach(b.inner)
    names = ("tun_tcp", "tun_udp", "udp_segment", "udp_receive")
    assert a.status()["offload"] == {"mode": "auto", **dict.fromkeys(names, OFF)}
    assert b.status()["offload"]["tun_tcp"]["state"] == ("off" if "b" in plain_ends else "on")
    connection = Connection(a.host, b.host, b.inner)
    connection.wait_until_established()
    results = connection.finish()
    assert survived(*results), results
    assert a.status()["faults"] == b.status()["faults"] == 0
