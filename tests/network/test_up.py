"""Bringing tunnels up and down for real: what goes wrong says why, and leaves nothing behind.

a eth0 192.168.1.22        b eth0 192.168.1.101
──────┴───────────────────────┴──────  192.168.1.0/24
"""

import json
import subprocess
import time
from pathlib import Path

import pytest
from ethernet import wait_until

from sacip_tun.lab.namespaces import Host, Network, interface_name
from sacip_tun.lab.tunnel import PROGRAM, Keys, LabTunnel, Remote, interface_section
from sacip_tun.linux.unix import UAPI_DIRECTORY

pytestmark = pytest.mark.network

RUN = Path("/run/sacip-tun")
HOSTILE = """
import os, socket
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for length in range(0, 301):
    for kind in range(7):
        sock.sendto((bytes([kind, 0, 0, 0]) + os.urandom(300))[:length], ("192.168.1.101", 51820))
for length in (1000, 9000, 65507):
    sock.sendto(bytes([4, 0, 0, 0]) + os.urandom(length - 4), ("192.168.1.101", 51820))
"""


class Attempt:
    """One `up` on a host that is alone."""

    def __init__(self, network: Network) -> None:
        self.host = network.host("a")
        self.host.plug(network.segment("lan"), "eth0", "192.168.1.22/24")
        self.name = interface_name()
        self.path = network.directory / f"{self.name}.conf"
        self.keys, self.other = Keys.new(), Keys.new()
        self.text = interface_section(self.keys, ("10.9.0.1/24",))
        self.text += Remote(self.other.public, allowed=("10.9.0.2/32",)).section

    def up(self, *prefix: str, mode: int = 0o600) -> subprocess.CompletedProcess[str]:
        self.path.write_text(self.text)
        self.path.chmod(mode)
        return self.host.run([*prefix, *PROGRAM, "up", str(self.path)], check=False)

    def down(self) -> None:
        assert self.host.run([*PROGRAM, "down", self.name], check=False).returncode == 0

    def kill(self) -> None:
        """End the daemon as it cannot prevent, and wait until it is gone with its interface."""
        (pid,) = self.host.process_ids()
        subprocess.run(["kill", "-KILL", str(pid)], check=True)
        # Its last thread closes the TUN, a moment after the first one is gone.
        wait_until(lambda: self.name not in self.host.ip("link show"), "the interface stays")
        wait_until(lambda: not self.host.process_ids(), "it does not end")

    def assert_nothing_is_left(self) -> None:
        assert self.name not in self.host.ip("link show")
        assert not (RUN / f"{self.name}.sock").exists()
        assert self.host.run(["ss", "-ulnH"]).stdout == ""


@pytest.fixture
def attempt():
    with Network() as network:
        yield Attempt(network)


def test_up_returns_when_the_interface_is_up_and_down_undoes_it_exactly(attempt: Attempt) -> None:
    before = [attempt.host.ip(f"{what} show") for what in ("link", "address", "route", "rule")]
    assert attempt.up().returncode == 0
    assert "10.9.0.1/24" in attempt.host.ip(f"address show dev {attempt.name}")
    assert (RUN / f"{attempt.name}.sock").stat().st_mode & 0o777 == 0o600
    attempt.down()
    after = [attempt.host.ip(f"{what} show") for what in ("link", "address", "route", "rule")]
    assert after == before
    attempt.assert_nothing_is_left()


def test_a_name_can_be_used_again_at_once(attempt: Attempt) -> None:
    for _ in range(3):
        assert attempt.up().returncode == 0
        attempt.down()


def test_a_second_up_is_refused_and_does_not_touch_the_first(attempt: Attempt) -> None:
    assert attempt.up().returncode == 0
    again = attempt.up()
    assert again.returncode == 1
    assert f"{attempt.name} is up already" in again.stderr
    attempt.down()
    attempt.assert_nothing_is_left()


def test_a_daemon_that_was_killed_leaves_only_a_socket_that_the_next_up_replaces(
    attempt: Attempt,
) -> None:
    assert attempt.up().returncode == 0
    attempt.kill()
    status = attempt.host.run([*PROGRAM, "status", attempt.name], check=False)
    assert (status.returncode, "not running" in status.stderr) == (3, True)
    assert attempt.up().returncode == 0
    attempt.down()


@pytest.mark.parametrize("command", ["cleanup", "down"])
def test_what_is_said_of_one_that_was_killed_is_over_with_its_sockets(
    attempt: Attempt, command: str
) -> None:
    assert attempt.up().returncode == 0
    attempt.kill()
    sockets = [place / f"{attempt.name}.sock" for place in (RUN, UAPI_DIRECTORY)]
    assert all(path.exists() for path in sockets)
    done = attempt.host.run([*PROGRAM, command, attempt.name], check=False)
    assert (done.returncode, done.stdout) == (0, f"{attempt.name}: undone what it had left\n")
    assert not any(path.exists() for path in sockets)
    assert attempt.name not in attempt.host.run([*PROGRAM, "status"], check=False).stderr


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (("PrivateKey = ", "PrivateKey = x"), 5, "line 2"),
        (("PrivateKey", "PrivatKey"), 5, "PrivateKey"),
        (("AllowedIPs", "AlowedIPs"), 5, "AllowedIPs"),
        (("Address = 10.9.0.1/24", "Address = 10.9.0.1/24\nMTU = 40"), 5, "MTU"),
        (("Address = 10.9.0.1/24", "Address = 10.9.0.1/24\nMTU = 70000"), 5, "MTU"),
        (("Address = 10.9.0.1/24", "Address = fd00::1/64\nMTU = 1000"), 5, "1280"),
        (("[Peer]", "nonsense\n[Peer]"), 5, "line 4"),
    ],
)
def test_a_wrong_file_names_its_line_and_leaves_nothing(
    attempt: Attempt, change: tuple[str, str], code: int, message: str
) -> None:
    attempt.text = attempt.text.replace(*change)
    done = attempt.up()
    assert (done.returncode, message in done.stderr) == (code, True), done.stderr
    assert "Traceback" not in done.stderr
    attempt.assert_nothing_is_left()


def test_a_private_key_may_come_by_postup_as_wg_quick_8_shows_it(attempt: Attempt) -> None:
    key = attempt.path.with_suffix(".key")
    key.write_text(attempt.keys.private)
    key.chmod(0o600)
    line = f"PostUp = wg set %i private-key <(cat {key})"
    attempt.text = attempt.text.replace(f"PrivateKey = {attempt.keys.private}", line)
    assert attempt.up().returncode == 0

    def public() -> str:
        return attempt.host.run(["wg", "show", attempt.name, "public-key"]).stdout.strip()

    assert public() == attempt.keys.public
    attempt.path.write_text(attempt.text.replace("10.9.0.2/32", "10.9.0.3/32"))
    shown = attempt.host.run([*PROGRAM, "reload", "--dry-run", str(attempt.path)])
    assert "PrivateKey" not in shown.stdout
    attempt.host.run([*PROGRAM, "reload", str(attempt.path)])
    assert "10.9.0.3/32" in attempt.host.run(["wg", "show", attempt.name, "allowed-ips"]).stdout
    assert public() == attempt.keys.public
    attempt.down()


def test_a_peer_twice_and_this_host_among_the_peers_are_taken_as_wg_takes_them(
    attempt: Attempt,
) -> None:
    peer = attempt.text.partition("[Peer]")[2]
    attempt.text += f"[Peer]{peer}".replace("10.9.0.2/32", "10.9.0.8/32")
    attempt.text += f"[Peer]{peer}".replace(attempt.other.public, attempt.keys.public)
    done = attempt.up()
    assert (done.returncode, "this host itself: it is left out" in done.stderr) == (0, True)
    assert "this peer is already there" in done.stderr
    assert attempt.host.run(["wg", "show", attempt.name, "allowed-ips"]).stdout.split() == [
        attempt.other.public,
        "10.9.0.8/32",
    ]
    attempt.down()


def test_a_file_that_everybody_can_read_is_refused(attempt: Attempt) -> None:
    done = attempt.up(mode=0o644)
    assert done.returncode == 5
    assert "chmod" in done.stderr
    attempt.assert_nothing_is_left()


def test_an_interface_that_exists_already_is_left_alone(attempt: Attempt) -> None:
    attempt.host.ip(f"link add {attempt.name} type bridge")
    done = attempt.up()
    assert done.returncode == 1
    assert f"{attempt.name} is taken" in done.stderr
    assert attempt.name in attempt.host.ip("link show")
    assert not (RUN / f"{attempt.name}.sock").exists()


@pytest.mark.parametrize(("family", "version"), [("AF_INET", 4), ("AF_INET6", 6)])
def test_a_port_in_use_is_named(attempt: Attempt, family: str, version: int) -> None:
    attempt.text = attempt.text.replace("Address", "ListenPort = 51999\nAddress", 1)
    # In one family only: of the other one a socket is open by then.
    bind = f"s = socket.socket(socket.{family}, socket.SOCK_DGRAM); "
    bind += "s.family == socket.AF_INET6 and s.setsockopt(socket.IPPROTO_IPV6, 26, 1); "
    holder = f"import socket, time; {bind} s.bind(('', 51999)); time.sleep(60)"
    process = attempt.host.start([PROGRAM[0], "-c", holder])
    while "51999" not in attempt.host.run(["ss", "-ulnH"]).stdout:
        time.sleep(0.02)
    done = attempt.up()
    assert done.returncode == 1
    assert f"UDP port 51999 (IPv{version}) cannot be opened" in done.stderr
    assert "`ss -ulpn`, or choose another ListenPort" in done.stderr
    process.kill()
    process.wait()
    attempt.assert_nothing_is_left()


def test_an_address_that_another_interface_routes_is_told(attempt: Attempt) -> None:
    attempt.text = attempt.text.replace("10.9.0.2/32", "192.168.7.0/24")
    attempt.host.ip("route add 192.168.7.0/24 dev eth0")
    done = attempt.up()
    assert done.returncode == 1
    assert "192.168.7.0/24" in done.stderr
    attempt.assert_nothing_is_left()


def test_without_dev_net_tun(attempt: Attempt) -> None:
    hidden = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /dev/net && exec "$@"', "sh"]
    done = attempt.up(*hidden)
    assert done.returncode == 4
    assert "/dev/net/tun" in done.stderr
    attempt.assert_nothing_is_left()


def test_without_privilege(attempt: Attempt) -> None:
    done = attempt.up("setpriv", "--bounding-set=-all", "--inh-caps=-all")
    assert done.returncode == 4
    assert "CAP_NET_ADMIN" in done.stderr
    attempt.assert_nothing_is_left()


def test_a_name_that_does_not_resolve_is_tried_again_and_said(attempt: Attempt) -> None:
    attempt.text += "Endpoint = hub.invalid:51820\n"
    done = attempt.up()
    assert (done.returncode, "hub.invalid:51820 does not resolve yet" in done.stderr) == (0, True)
    status = json.loads(attempt.host.run([*PROGRAM, "status", attempt.name, "--json"]).stdout)
    assert status["peers"][0]["state"] == "unresolved"
    watch = attempt.host.run(
        ["timeout", "4", *PROGRAM, "monitor", attempt.name, "--json"], check=False
    )
    assert "hub.invalid" in watch.stdout
    attempt.down()


def test_in_the_foreground_it_ends_cleanly_on_sigterm_and_sigint(attempt: Attempt) -> None:
    for number in ("TERM", "INT"):
        attempt.path.write_text(attempt.text)
        attempt.path.chmod(0o600)
        process = attempt.host.start([*PROGRAM, "up", "--foreground", str(attempt.path)])
        while attempt.name not in attempt.host.ip("link show"):
            assert process.poll() is None, attempt.host.log(process)
            time.sleep(0.02)
        while not (RUN / f"{attempt.name}.sock").exists():
            time.sleep(0.02)
        time.sleep(0.3)
        subprocess.run(["kill", f"-{number}", str(process.pid)], check=True)
        assert process.wait(5) == 0
        assert "Traceback" not in attempt.host.log(process)
        attempt.assert_nothing_is_left()


def test_deleting_the_interface_ends_the_daemon(attempt: Attempt) -> None:
    assert attempt.up().returncode == 0
    attempt.host.ip(f"link delete {attempt.name}")
    deadline = time.monotonic() + 5
    while attempt.host.process_ids() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert attempt.host.process_ids() == []
    attempt.assert_nothing_is_left()


def ends(network: Network) -> tuple[LabTunnel, LabTunnel]:
    segment = network.segment("lan")
    hosts: list[Host] = []
    for name, address in (("a", "192.168.1.22/24"), ("b", "192.168.1.101/24")):
        host = network.host(name)
        host.plug(segment, "eth0", address)
        hosts.append(host)
    return LabTunnel(hosts[0], "10.9.0.2/24"), LabTunnel(hosts[1], "10.9.0.1/24")


def connected(network: Network) -> tuple[LabTunnel, LabTunnel]:
    a, b = ends(network)
    b.up(Remote(a.keys.public, allowed=("10.9.0.2/32",)))
    a.up(Remote(b.keys.public, "192.168.1.101:51820", ("10.9.0.1/32",)))
    a.reach("10.9.0.1")
    return a, b


def test_datagrams_of_every_length_and_type_are_counted_and_answered_by_nothing() -> None:
    with Network() as network:
        a, b = connected(network)
        a.host.run([PROGRAM[0], "-c", HOSTILE])
        a.reach("10.9.0.1")
        status = b.status()
        assert status["faults"] == 0
        assert sum(status["drops"].values()) >= 2000
        assert "Traceback" not in b.log
        assert "fault" not in b.log


def test_an_inner_source_that_is_not_the_peers_is_dropped_and_counted() -> None:
    with Network() as network:
        a, b = connected(network)
        a.host.ip(f"address add 10.9.0.77/32 dev {a.name}")
        a.host.run(["ping", "-c", "2", "-W", "1", "-I", "10.9.0.77", "10.9.0.1"], check=False)
        assert b.status()["drops"]["inner source not allowed for this peer"] >= 2


def test_what_has_no_peer_is_counted() -> None:
    with Network() as network:
        a, _ = connected(network)
        a.host.run(["ping", "-c", "2", "-W", "1", "10.9.0.99"], check=False)
        assert a.status()["drops"]["no peer for this destination"] >= 2


def test_an_inner_address_that_another_interface_has_is_refused(attempt: Attempt) -> None:
    attempt.text = attempt.text.replace("10.9.0.1/24", "192.168.1.22/24")
    done = attempt.up()
    assert done.returncode == 1
    assert "eth0 has it" in done.stderr
    attempt.assert_nothing_is_left()


def test_routes_go_into_the_table_that_the_file_names(attempt: Attempt) -> None:
    attempt.text = attempt.text.replace("Address", "Table = 123\nAddress", 1)
    attempt.text = attempt.text.replace("10.9.0.2/32", "10.9.0.2/32, 10.66.0.0/16")
    assert attempt.up().returncode == 0
    assert "10.66.0.0/16" in attempt.host.ip("route show table 123")
    assert "10.66.0.0/16" not in attempt.host.ip("route show")
    attempt.down()
    assert attempt.host.ip("route show table all proto 83") == ""


def test_a_routing_table_that_is_not_there_is_named(attempt: Attempt) -> None:
    attempt.text = attempt.text.replace("Address", "Table = nosuchtable\nAddress", 1)
    done = attempt.up()
    assert done.returncode == 1
    assert "nosuchtable" in done.stderr
    attempt.assert_nothing_is_left()


def test_the_foreground_says_that_it_is_up_that_nobody_answers_and_that_it_is_down(
    attempt: Attempt,
) -> None:
    attempt.text += "Endpoint = 192.168.1.77:51820\n"
    attempt.path.write_text(attempt.text)
    attempt.path.chmod(0o600)
    process = attempt.host.start([*PROGRAM, "up", "--foreground", str(attempt.path)])
    deadline = time.monotonic() + 15
    while "handshake unanswered" not in attempt.host.log(process) and time.monotonic() < deadline:
        time.sleep(0.1)
    subprocess.run(["kill", "-TERM", str(process.pid)], check=True)
    assert process.wait(5) == 0
    log = attempt.host.log(process)
    words = ("  up  ", "handshake unanswered", "  down")
    assert [word for word in words if word not in log] == []


def test_a_log_that_nobody_reads_does_not_harm_the_tunnel() -> None:
    with Network() as network:
        a, b = connected(network)
        name, private = interface_name(), a.secret_file("second", Keys.new().private)
        command = f"up --foreground --interface {name} --private-key-file {private}"
        line = " ".join([*PROGRAM, command, "--address 10.8.0.1/24 2>&1 | head -0"])
        a.host.start(["sh", "-c", line])
        deadline = time.monotonic() + 10
        while a.host.run([*PROGRAM, "status", name], check=False).returncode:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert a.host.run([*PROGRAM, "down", name], check=False).returncode == 0
        b.reach("10.9.0.2")
