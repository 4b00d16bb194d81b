"""The status as people read it, compared whole."""

import re

import pytest

from sacip_tun.cli.report import report
from sacip_tun.cli.terminal import Palette

from .documents import (
    KEY_A,
    KEY_B,
    MOVED_PEER,
    NOW,
    offload_document,
    peer_document,
    status_document,
)

PLAIN = Palette(coloured=False)

GOLDEN = f"""\
interface: sacip0
  public key: {KEY_A}
  listening port: 51820
  fwmark: 0xca6c
  addresses: 10.9.0.1/24, fd00:9::1/64
  mtu: 1420
  offload: tun tcp, udp receive, udp segment refused (3)
  dropped: 3 unknown peer, 1 counter seen or too old

peer: {KEY_B}
  preshared key: (hidden)
  state: connected, speaks SACIP, round trip 0.4 ms
  endpoint: hub.example:51820 (as configured)
  allowed ips: 10.9.0.2/32, fd00:9::/64
  latest handshake: 1 minute, 5 seconds ago
  transfer: 1.21 MiB received, 1023 B sent
  path mtu: 1400 bytes (searching)
  persistent keepalive: every 25 seconds
  holding: 2 inner packets
  moves: 4 of ours, 1 of the peer's, 5 inner packets waited, 12 sent again
  refused moves: 3
  relay: may hand on notices of moves
  local:    [0] 192.168.1.22:51820
          → [1] 192.168.1.2:51820  preparing
  remote: → [0] 192.168.1.1:51820
  last moves:
    12 seconds ago        local   192.168.1.22:51820 → 192.168.1.2:51820  address removed, \
make before break, 1.9 ms
    1 hour, 1 minute ago  remote  192.168.1.9:51820 → 192.168.1.1:51820   carrier lost, \
break before make, 41.3 ms, seen as 198.51.100.7:1024

peer: {KEY_B}
  state: no endpoint
  allowed ips: (none)
  latest handshake: none yet
  transfer: 0 B received, 0 B sent
  local:  → [0] (not known)
  remote: → [0] (not known)"""


def test_a_nat_is_shown_with_what_keeps_it_open():
    nat = {"nat": True, "observed": "203.0.113.1:61000", "keepalive": 37.5}
    document = status_document(peer_document(**nat, persistent_keepalive=None))
    shown = report(document, PLAIN, now=NOW)
    assert "  behind a NAT: seen as 203.0.113.1:61000, kept open every 38 seconds\n" in shown
    assert "persistent" not in shown


FULL = {
    "table": 51820,
    "fwmark": 51820,
    "ip_versions": [4, 6],
    "kill_switch": True,
    "firewall": True,
}
NAMES = {
    "resolver": "systemd-resolved",
    "servers": ["10.9.0.1", "fd00:9::1"],
    "search": ["corp.example"],
    "exclusive": True,
}
SERVERS = ", ".join(NAMES["servers"])
PUT_BACK = {
    "times": 3,
    "time_unix": NOW - 12,
    "what": "rules, routes",
    "culprit": "ip (process 7)",
    "why": None,
}


def host_lines(**fields):
    lines = report(status_document(**fields), PLAIN, now=NOW).splitlines()
    return [line for line in lines if re.match("  (full tunnel|name servers|put back)", line)]


def test_what_is_on_the_host_for_it_is_shown():
    assert host_lines(full_tunnel=FULL, name_servers=NAMES, put_back=PUT_BACK) == [
        "  full tunnel: IPv4 and IPv6 by table 51820, kill switch on",
        f"  name servers: {SERVERS}, search corp.example, for everything, told to systemd-resolved",
        "  put back: rules, routes, 12 seconds ago, taken away by ip (process 7), 3 times so far",
    ]
    assert host_lines(
        full_tunnel={**FULL, "ip_versions": [4], "kill_switch": False, "firewall": False},
        name_servers={**NAMES, "resolver": None, "search": [], "exclusive": False},
        put_back={**PUT_BACK, "times": 1, "what": "", "culprit": None, "why": "it cannot be: no"},
    ) == [
        "  full tunnel: IPv4 by table 51820, kill switch off, no firewall",
        f"  name servers: {SERVERS}, for its domains, nobody takes them",
        "  put back: 12 seconds ago, it cannot be: no",
    ]
    # A tunnel that has none of it, and a daemon of an older version.
    assert host_lines(full_tunnel=None, name_servers=None, put_back=None) == host_lines() == []


def golden_document():
    return status_document(
        MOVED_PEER,
        peer_document(allowed_ips=[]),
        fwmark=0xCA6C,
        addresses=["10.9.0.1/24", "fd00:9::1/64"],
        offload=offload_document(tun_udp="off", udp_segment="refused"),
        drops={"unknown peer": 3, "counter seen or too old": 1},
    )


def test_a_whole_status_reads_like_this():
    assert report(golden_document(), PLAIN, now=NOW) == GOLDEN


def test_colours_add_nothing_but_colours():
    coloured = report(golden_document(), Palette(coloured=True), now=NOW)
    assert coloured != GOLDEN
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == GOLDEN


def test_no_offload_is_said():
    names = ("tun_tcp", "tun_udp", "udp_segment", "udp_receive")
    document = status_document(offload=offload_document("off", **dict.fromkeys(names, "off")))
    assert "  offload: none\n" in report(document, PLAIN, now=NOW) + "\n"


@pytest.mark.parametrize(
    ("sacip", "words"),
    [(True, "connected, speaks SACIP"), (False, "connected, plain WireGuard"), (None, "connected")],
)
def test_whether_the_peer_speaks_sacip_is_said_once_known(sacip, words):
    document = status_document(peer_document(state="connected", sacip=sacip))
    assert f"  state: {words}\n" in report(document, PLAIN, now=NOW)


@pytest.mark.parametrize(
    ("path_mtu", "line"),
    [
        ({"bytes": 1480, "state": "found"}, "  path mtu: 1480 bytes\n"),
        ({"bytes": 768, "state": "below the base size"}, "768 bytes (below the base size)\n"),
    ],
)
def test_the_path_mtu_is_said_with_its_state(path_mtu, line):
    document = status_document(peers=[peer_document(path_mtu=path_mtu)])
    assert line in report(document, PLAIN, now=NOW)


@pytest.mark.parametrize("path_mtu", [None, {"bytes": None, "state": "not probed"}])
def test_nothing_is_said_of_a_path_that_nobody_measured(path_mtu):
    document = status_document(peers=[peer_document(path_mtu=path_mtu)])
    assert "path mtu" not in report(document, PLAIN, now=NOW)


def test_a_terminal_gets_no_control_characters():
    document = status_document(peer_document(endpoint_configured="\x1b]0;evil\x07:1"))
    assert "endpoint: ?]0;evil?:1" in report(document, PLAIN, now=NOW)
