"""Our tunnel with other people's WireGuard: two programs, both roles, two families, two secrets.

    hub (ours)              go-initiator-ipv4-plain     ...      boringtun-responder-ipv6-psk
    10.9.0.1                10.9.0.10                            10.9.0.25
    eth0 192.168.1.1        eth0 192.168.1.10                    eth0 192.168.1.25
    │    fd00::1            │    fd00::10                        │    fd00::25
    ──┴─────────────────────┴────────────────────────────────────┴──── one Ethernet segment

All sixteen are up at the same time, each with one combination, so that the one thing that takes
long has to be waited for only once: a session is replaced after 120 s (WireGuard 6.1), by the end
that initiated it.
"""

import itertools
import math
import os
import re
import time
from dataclasses import dataclass

import pytest
from ethernet import at, wait_until
from plain_tunnel import BORINGTUN, WIREGUARD_GO, PlainTunnel, Program

from sacip_tun.lab.connection import Connection, survived
from sacip_tun.lab.namespaces import Network
from sacip_tun.lab.tunnel import LabTunnel, Remote
from sacip_tun.protocol.keys import to_base64

pytestmark = pytest.mark.network

REKEY_AFTER = 120.0
# After that time the next packet begins the handshake; a packet goes out every half a second.
MARGIN = 6.0
FIRST = 10


@dataclass(frozen=True)
class Case:
    """One combination. `initiator` is whether the other program calls and we answer."""

    number: int
    program: Program
    initiator: bool
    version: int
    preshared: str | None

    def __str__(self) -> str:
        role = "initiator" if self.initiator else "responder"
        secret = "plain" if self.preshared is None else "psk"
        return f"{self.program.name}-{role}-ipv{self.version}-{secret}"

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
each_case = pytest.mark.parametrize("case", CASES, ids=str)


class Bench:
    """The hub and the sixteen."""

    def __init__(self, network: Network) -> None:
        lan = network.segment("lan")
        hub = network.host("hub")
        hub.plug(lan, "eth0", "192.168.1.1/24", "fd00::1/64")
        self.hub = LabTunnel(hub, "10.9.0.1/24")
        self.plain = {case: self._plain(network, lan, case) for case in CASES}
        self.hub.up(*(self._as_remote(case) for case in CASES))
        for case in CASES:
            self.plain[case].up(self._hub_as_remote(case))

    def _plain(self, network: Network, lan, case: Case) -> PlainTunnel:
        host = network.host(f"plain{case.number}")
        host.plug(lan, "eth0", f"192.168.1.{case.number}/24", f"fd00::{case.number}/64")
        return PlainTunnel(host, f"10.9.0.{case.number}/24", case.program)

    def _as_remote(self, case: Case) -> Remote:
        plain = self.plain[case]
        endpoint = None if case.initiator else at(case.outer(case.number))
        return Remote(plain.keys.public, endpoint, (f"{plain.inner}/32",), case.preshared)

    def _hub_as_remote(self, case: Case) -> Remote:
        endpoint = at(case.outer(1)) if case.initiator else None
        return Remote(self.hub.keys.public, endpoint, ("10.9.0.0/24",), case.preshared)

    def ping(self, case: Case, *options: str) -> str:
        """Ping from the end that is to begin, so that its packet asks for the handshake."""
        plain = self.plain[case]
        host, inner = (
            (plain.host, self.hub.inner) if case.initiator else (self.hub.host, plain.inner)
        )
        return host.run(["ping", "-n", *options, inner], check=False).stdout

    def handshakes(self, case: Case) -> list[dict]:
        public = self.plain[case].keys.public
        return [
            event for event in self.hub.events("handshake-completed") if event["peer"] == public
        ]


@pytest.fixture(scope="module")
def bench():
    with Network() as network:
        bench = Bench(network)
        for case in CASES:
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
        plain = bench.plain[case]
        running[case] = plain.host, plain.host.start([*command, bench.hub.inner])
    for _, process in running.values():
        process.wait(REKEY_AFTER + 60)
    return {case: host.log(process) for case, (host, process) in running.items()}


@each_case
def test_ping(bench, case) -> None:
    said = bench.ping(case, "-c", "5", "-i", "0.05", "-W", "2")
    assert "5 received" in said, said
    handshake = bench.handshakes(case)[0]
    assert handshake["initiator"] is not case.initiator
    assert bench.hub.peer(bench.plain[case].keys.public)["preshared_key"] is bool(case.preshared)


@each_case
def test_bulk_with_a_checksum(bench, case) -> None:
    """10 MB in each direction at once; both ends check the SHA-256."""
    plain = bench.plain[case]
    connection = Connection(
        plain.host, bench.hub.host, bench.hub.inner, "--rate", "160", "--seconds", "0.5"
    )
    ends = connection.finish()
    assert survived(*ends), ends
    assert all(end["received"] >= 10_000_000 for end in ends)


@each_case
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
