"""Clients of the UAPI that send nonsense, stop halfway or never read, while packets go.

bare (sacip-wg)     up (sacip-tun up)
10.9.0.2            10.9.0.1
eth0 192.168.1.2    eth0 192.168.1.101
─────┴─────────────────────┴──────────  192.168.1.0/24
"""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import pytest
from ethernet import at, ethernet
from full_tunnel import reaches
from live import resident
from plain_tunnel import SACIP_WG, PlainTunnel
from uapi_client import answer_of, ask, connected, many_allowed_ips

from sacip_tun.daemon.uapi import MAX_CLIENTS
from sacip_tun.daemon.uapi_request import MAX_LINE
from sacip_tun.lab.namespaces import Network
from sacip_tun.lab.tunnel import LabTunnel, Remote
from sacip_tun.linux.unix import UAPI_DIRECTORY

pytestmark = pytest.mark.network

# A ping that takes longer, in ms, was held up; this is no measurement.
STALLED = 1000.0
# What goes before a mistake, and would change much.
ALL_GONE = f"set=1\nprivate_key={'11' * 32}\nlisten_port=7\nreplace_peers=true\n"
REFUSED = {
    "set=1\nlisten_port=65536\n\n": -22,
    "set=1\nlisten_port\n\n": -71,
    "get=1\nlisten_port=1\n\n": 22,
    "get=2\n\n": -22,
    "nonsense\n\n": -22,
    "set=1\n=\n\n": -22,
    "set=1\nprivate_key=\xff\n\n": -22,
    f"set=1\n{'a' * (2 * MAX_LINE)}": -90,
    f"{ALL_GONE}unknown=1\n\n": -22,
    f"{ALL_GONE}public_key={'22' * 31}\n\n": -22,
    f"{ALL_GONE}public_key={'22' * 32}\nendpoint=hub.example:1\n\n": -22,
    f"{ALL_GONE}public_key={'22' * 32}\nallowed_ip=10.0.0.0/33\n\n": -22,
}
HALVES = ("g", "get=1\n", "set=1", "set=1\n", ALL_GONE, f"{ALL_GONE}public_key=22")
CONNECT = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


class Pair:
    """The two daemons, with a tunnel between them."""

    def __init__(self, network: Network) -> None:
        net = ethernet(network, "192.168.1.2/24")
        verbose = replace(SACIP_WG, environment=(("LOG_LEVEL", "verbose"),))
        self.bare = PlainTunnel(net.mover, "10.9.0.2/24", verbose)
        self.up = LabTunnel(net.peer, "10.9.0.1/24")
        self.up.up(Remote(self.bare.keys.public, allowed=("10.9.0.2/32",)))
        self.bare.up(Remote(self.up.keys.public, at("192.168.1.101"), ("10.9.0.1/32",)))
        assert reaches(net.mover, "10.9.0.1", tries=5)

    @property
    def names(self) -> tuple[str, str]:
        return self.bare.name, self.up.name

    @contextmanager
    def nothing_noticed(self) -> Iterator[None]:
        """Nothing is lost or held up meanwhile, nothing changes, and nothing is a fault."""
        before = [configured(name) for name in self.names]
        host = self.bare.host
        pings = host.start(["ping", "-n", "-i", "0.01", "10.9.0.1"])
        yield
        assert reaches(host, "10.9.0.1")
        pings.send_signal(signal.SIGINT)
        pings.wait(5)
        said = re.findall(r"icmp_seq=(\d+) .* time=([\d.]+) ms", host.log(pings))
        # The last ones may have been on their way.
        assert [int(number) for number, _ in said] == list(range(1, len(said) + 1))
        assert max(float(took) for _, took in said) < STALLED
        assert [configured(name) for name in self.names] == before
        assert self.up.status()["faults"] == 0
        assert "fault" not in self.bare.log


def configured(name: str) -> list[str]:
    """What `get` answers, without what changes by itself."""
    running = ("last_handshake", "rx_bytes", "tx_bytes", "sacip_")
    return [line for line in ask(name, "get=1\n\n").split() if not line.startswith(running)]


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with Network() as network:
        yield Pair(network)


def test_what_is_wrong_is_answered_and_changes_nothing(pair: Pair) -> None:
    with pair.nothing_noticed():
        for name in pair.names:
            for request, number in REFUSED.items():
                assert ask(name, request) == f"errno={number}\n\n", request


def test_half_a_request_changes_nothing_however_it_ends(pair: Pair) -> None:
    with pair.nothing_noticed():
        for name in pair.names:
            for half in HALVES:
                with connected(name) as client:
                    client.sendall(half.encode())
                    client.shutdown(socket.SHUT_WR)
                    assert "errno=0" not in answer_of(client)
                with connected(name) as client:
                    client.sendall(half.encode())
        with ExitStack() as waiting:
            for name in pair.names:
                for half in HALVES:
                    waiting.enter_context(connected(name)).sendall(half.encode())
            assert all(configured(name) for name in pair.names)


def test_who_never_reads_costs_little_and_holds_nobody_up(pair: Pair) -> None:
    stranger = f"set=1\npublic_key={os.urandom(32).hex()}\n"
    lines = "".join(f"allowed_ip={text}\n" for text in many_allowed_ips()[::4])
    daemons = {pair.bare.name: pair.bare.process.pid, pair.up.name: pair.up.process_id}
    for name in daemons:
        assert ask(name, f"{stranger}{lines}\n") == "errno=0\n\n"
    with pair.nothing_noticed(), ExitStack() as deaf:
        for name, number in daemons.items():
            answer, before = len(ask(name, "get=1\n\n")) / 1e6, resident(number)
            clients = [deaf.enter_context(connected(name)) for _ in range(MAX_CLIENTS - 1)]
            for client in clients:
                client.sendall(b"get=1\n\n" * 100)
            # Each has its turn before this one: it came later.
            assert len(ask(name, "get=1\n\n")) / 1e6 == pytest.approx(answer, rel=0.01)
            # What they asked for is a hundred times as much as even this.
            assert resident(number) - before < len(clients) * answer / 2
    for name in daemons:
        assert ask(name, f"{stranger}remove=true\n\n") == "errno=0\n\n"


def test_nobody_but_its_owner_gets_at_a_socket(pair: Pair) -> None:
    for end in (pair.bare, pair.up):
        path = UAPI_DIRECTORY / f"{end.name}.sock"
        status = path.stat()
        assert (status.st_mode & 0o777, status.st_uid) == (0o700, 0)
        for command in ([sys.executable, "-c", CONNECT, str(path)], ["wg", "show", end.name]):
            done = subprocess.run([*NOBODY, *command], check=False, capture_output=True, text=True)
            assert done.returncode
            assert "denied" in done.stderr or "not permitted" in done.stderr, done.stderr
