"""Our tunnel with other people's WireGuard: two programs, both roles, two families, two secrets.

    sacip-tun     sacip-wg      go-initiator-ipv4-plain   ...    boringtun-responder-ipv6-psk
    10.9.0.1      10.9.0.2      10.9.0.10                        10.9.0.25
    eth0          eth0          eth0                             eth0
    192.168.1.1   192.168.1.2   192.168.1.10                     192.168.1.25
    fd00::1       fd00::2       fd00::10                         fd00::25
    ───┴─────────────┴────────────┴────────────────────────────────┴──── one Ethernet segment

All sixteen are up at the same time, each with one combination, so that the one thing that takes
long has to be waited for only once: a session is replaced after 120 s (WireGuard 6.1), by the end
that initiated it. Half of them have sacip-wg as a peer too: each program in each role, with either
family and either secret.
"""

import itertools
import math
import os
import re
import time
from dataclasses import dataclass, replace

import pytest
from ethernet import at, wait_until
from plain_tunnel import BORINGTUN, SACIP_WG, WIREGUARD_GO, PlainTunnel, Program, shown

from sacip_tun.lab.connection import Connection, survived
from sacip_tun.lab.namespaces import Host, Network
from sacip_tun.lab.tunnel import LabTunnel, Remote
from sacip_tun.protocol.keys import to_base64

pytestmark = pytest.mark.network

REKEY_AFTER = 120.0
# After that time the next packet begins the handshake; a packet goes out every half a second.
MARGIN = 6.0
FIRST = 10
# Which of ours, by the last number of its addresses.
TUN, WG = 1, 2


@dataclass(frozen=True)
class Case:
    """One combination. `initiator` is whether the other program calls and we answer."""

    number: int
    program: Program
    initiator: bool
    version: int
    preshared: str | None
    ours: int = TUN

    def __str__(self) -> str:
        ours = {TUN: "sacip-tun", WG: "sacip-wg"}[self.ours]
        role = "initiator" if self.initiator else "responder"
        secret = "plain" if self.preshared is None else "psk"
        return f"{ours}-{self.program.name}-{role}-ipv{self.version}-{secret}"

    def outer(self, number: int) -> str:
        return f"192.168.1.{number}" if self.version == 4 else f"fd00::{number}"


CASES = [
    Case(number, *combination)
    for number, combination in enumerate(
        itertools.product(
            (WIREGUARD_GO, BORINGTUN),
            (True, False),
            (4, 6),
            (None, to_base64(os.urandom(32))),
        ),
        start=FIRST,
    )
]
# Any two of program, role, family and secret in all their combinations.
WG_CASES = [
    replace(case, ours=WG)
    for case in CASES
    if (case.program is BORINGTUN) ^ case.initiator ^ (case.version == 6) ^ bool(case.preshared)
]
each_case = pytest.mark.parametrize("case", CASES + WG_CASES, ids=str)


class Bench:
    """Ours and the sixteen."""

    def __init__(self, network: Network) -> None:
        self.lan = network.segment("lan")
        self.hub = LabTunnel(self._host(network, TUN), "10.9.0.1/24")
        verbose = replace(SACIP_WG, environment=(("LOG_LEVEL", "verbose"),))
        self.wg = PlainTunnel(self._host(network, WG), "10.9.0.2/24", verbose)
        self.ours = {TUN: self.hub, WG: self.wg}
        self.plain = {case.number: self._plain(network, case) for case in CASES}
        self.hub.up(*map(self._as_remote, CASES))
        self.wg.up(*map(self._as_remote, WG_CASES))
        for number, plain in self.plain.items():
            plain.up(*(self._ours_as_remote(c) for c in CASES + WG_CASES if c.number == number))

    def _host(self, network: Network, number: int) -> Host:
        host = network.host(f"host{number}")
        host.plug(self.lan, "eth0", f"192.168.1.{number}/24", f"fd00::{number}/64")
        return host

    def _plain(self, network: Network, case: Case) -> PlainTunnel:
        host = self._host(network, case.number)
        return PlainTunnel(host, f"10.9.0.{case.number}/24", case.program)

    def _as_remote(self, case: Case) -> Remote:
        plain = self.plain[case.number]
        endpoint = None if case.initiator else at(case.outer(case.number))
        return Remote(plain.keys.public, endpoint, (f"{plain.inner}/32",), case.preshared)

    def _ours_as_remote(self, case: Case) -> Remote:
        ours = self.ours[case.ours]
        endpoint = at(case.outer(case.ours)) if case.initiator else None
        return Remote(ours.keys.public, endpoint, (f"{ours.inner}/32",), case.preshared)

    def ping(self, case: Case, *options: str) -> str:
        """Ping from the end that is to begin, so that its packet asks for the handshake."""
        ends = self.plain[case.number], self.ours[case.ours]
        one, other = ends if case.initiator else ends[::-1]
        return one.host.run(["ping", "-n", *options, other.inner], check=False).stdout

    def handshakes(self, case: Case) -> list[dict]:
        public = self.plain[case.number].keys.public
        return [
            event for event in self.hub.events("handshake-completed") if event["peer"] == public
        ]

    def began(self, case: Case) -> bool:
        """Whether our end began the first handshake."""
        if case.ours == TUN:
            return self.handshakes(case)[0]["initiator"]
        public = re.escape(self.plain[case.number].keys.public)
        line = rf"handshake-completed peer={public} initiator=(True|False)"
        return re.findall(line, self.wg.log)[0] == "True"


@pytest.fixture(scope="module")
def bench():
    with Network() as network:
        bench = Bench(network)
        for case in CASES + WG_CASES:
            wait_until(
                lambda case=case: "1 received" in bench.ping(case, "-c", "1", "-W", "1"),
                f"{case}: no answer through the tunnel",
            )
        yield bench


@pytest.fixture(scope="module")
def pings_during_a_rekey(bench) -> dict[Case, str]:
    """Let all sixteen send through the time at which sessions are replaced; what ping says."""
    newest = max(bench.handshakes(case)[0]["time_unix"] for case in CASES)
    count = math.ceil((newest + REKEY_AFTER + MARGIN - time.time()) / 0.5)
    command = ["ping", "-n", "-q", "-i", "0.5", "-c", str(max(count, 4))]
    running = {}
    for case in CASES:
        plain = bench.plain[case.number]
        running[case] = plain.host, plain.host.start([*command, bench.hub.inner])
    for _, process in running.values():
        process.wait(REKEY_AFTER + 60)
    return {case: host.log(process) for case, (host, process) in running.items()}


@each_case
def test_ping(bench, case) -> None:
    said = bench.ping(case, "-c", "5", "-i", "0.05", "-W", "2")
    assert "5 received" in said, said
    assert bench.began(case) is not case.initiator
    ours, public = bench.ours[case.ours], bench.plain[case.number].keys.public
    secret = shown(ours.host, ours.name, "preshared-keys")[public]
    assert secret == (case.preshared or "(none)")


@each_case
def test_bulk_with_a_checksum(bench, case) -> None:
    """10 MB in each direction at once; both ends check the SHA-256."""
    plain, ours = bench.plain[case.number], bench.ours[case.ours]
    connection = Connection(plain.host, ours.host, ours.inner, "--rate", "160", "--seconds", "0.5")
    ends = connection.finish()
    assert survived(*ends), ends
    assert all(end["received"] >= 10_000_000 for end in ends)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_rekey(pings_during_a_rekey, bench, case) -> None:
    said = pings_during_a_rekey[case]
    sent, received = map(int, re.findall(r"(\d+) packets transmitted, (\d+) received", said)[0])
    assert received == sent, said
    first, *later = bench.handshakes(case)
    assert later, "no second handshake"
    assert REKEY_AFTER - 1 < later[0]["time_unix"] - first["time_unix"] < REKEY_AFTER + MARGIN
    assert later[0]["initiator"] is first["initiator"]
    # The new keys carry packets in both directions.
    assert "3 received" in bench.ping(case, "-c", "3", "-i", "0.05", "-W", "2")


@pytest.mark.parametrize("case", WG_CASES, ids=str)
def test_an_endpoint_is_set_while_it_runs(bench, case) -> None:
    """The peer has another address and port, of which nobody tells but `wg set`."""
    plain, host = bench.plain[case.number], case.outer(case.number + 100)
    length = {4: 24, 6: 64}[case.version]
    plain.host.ip(f"addr del {case.outer(case.number)}/{length} dev eth0")
    plain.host.ip(f"addr add {host}/{length} dev eth0 nodad")
    # And boringtun leaves its sockets, which are bound to the address that is gone.
    plain.set("listen-port", "51821")
    new = at(host, 51821)
    bench.wg.set("peer", plain.keys.public, "endpoint", new)
    assert bench.wg.endpoint(plain.keys.public) == new
    ping = ["ping", "-n", "-c", "3", "-i", "0.05", "-W", "2", plain.inner]
    said = bench.wg.host.run(ping, check=False).stdout
    assert "3 received" in said, said
    assert bench.wg.endpoint(plain.keys.public) == new
