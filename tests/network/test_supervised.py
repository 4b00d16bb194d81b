"""Under a service manager: a crash and an upgrade break no inner connection.

laptop eth0 192.168.1.22    hub eth0 192.168.1.101
──────┴────────────────────────┴──────  192.168.1.0/24
"""

import re
import signal
import time
from collections import Counter
from collections.abc import Iterator

import pytest
from capture import Capture
from ethernet import ethernet, wait_until
from full_tunnel import SITE, Laptop, hub_for, in_clear, is_there, reaches, world
from plain_tunnel import PlainTunnel
from supervisor import Supervisor

from sacip_tun.agreement import RUN_DIRECTORY
from sacip_tun.lab.connection import Connection, survived
from sacip_tun.lab.namespaces import Network
from sacip_tun.lab.tunnel import Keys, LabTunnel, Remote
from sacip_tun.linux.undo import UndoLog

pytestmark = pytest.mark.network

# WireGuard's own timer, which a peer of a hub that forgot it waits for (KEEPALIVE_TIMEOUT +
# REKEY_TIMEOUT): being called again at once must be far below. In milliseconds.
UNAIDED = 15_000


class Home:
    """A laptop, and a hub that knows no endpoint, supervised."""

    def __init__(self, network: Network) -> None:
        net = ethernet(network, "192.168.1.22/24")
        self.laptop = LabTunnel(net.mover, "10.9.0.2/24")
        self.hub = LabTunnel(net.peer, "10.9.0.1/24")
        remote = Remote(self.laptop.keys.public, allowed=("10.9.0.2/32", "10.66.0.0/16"))
        self.path = self.hub.configuration(remote)
        self.supervisor = Supervisor(net.peer, str(self.path))
        self.supervisor.start()
        self.laptop.up(Remote(self.hub.keys.public, "192.168.1.101:51820", ("10.9.0.1/32",)))
        self.laptop.reach("10.9.0.1")

    def index(self) -> str:
        return self.hub.host.ip(f"-o link show {self.hub.name}").partition(":")[0]


@pytest.fixture
def home(network: Network) -> Iterator[Home]:
    made = Home(network)
    with made.supervisor:
        yield made


def test_an_inner_connection_outlives_a_crash_and_an_upgrade(home: Home) -> None:
    index = home.index()
    assert sorted(home.supervisor.store) == ["peers", "tun", "udp4", "udp6"]
    hosts = home.laptop.host, home.hub.host
    options = ("--seconds", "6", "--direction", "both", "--rate", "4")
    connection = Connection(*hosts, "10.9.0.1", *options)
    connection.wait_until_established()
    time.sleep(0.5)
    home.supervisor.kill(signal.SIGKILL)
    assert home.index() == index, "the interface lives on while nobody runs"
    home.supervisor.start()
    assert "taken back           what=udp4, udp6, tun, peers" in home.supervisor.log
    time.sleep(1.5)
    assert home.supervisor.kill(signal.SIGTERM) == 0
    assert home.supervisor.wait_for("STOPPING") == {"STOPPING": "1"}
    home.supervisor.start()
    near, far = connection.finish()
    assert survived(near, far), (near, far)
    silences = [end["longest_silence_ms"] for end in (near, far)]
    assert max(silences) < UNAIDED / 3, silences
    assert home.index() == index
    assert home.hub.status()["faults"] == 0


def test_the_manager_is_told_how_it_stands_and_that_it_lives(home: Home) -> None:
    said = home.supervisor
    assert said.wait_for("READY")["STATUS"].startswith("connected to ")
    wait_until(lambda: said.status == "connected to 1 of 1 peers", "not all are connected")
    before = len(said.messages)
    said.wait_for("WATCHDOG", since=before)
    assert said.process is not None
    # A loop that does not move packets says nothing.
    said.process.send_signal(signal.SIGSTOP)
    time.sleep(0.2)
    before = len(said.messages)
    time.sleep(2 * said.watchdog)
    assert not any("WATCHDOG" in message for message in said.messages[before:])
    said.process.send_signal(signal.SIGCONT)
    said.wait_for("WATCHDOG", since=before)


def test_what_the_file_says_no_more_is_taken_from_an_interface_that_stays(home: Home) -> None:
    home.supervisor.kill()
    text = home.path.read_text()
    text = text.replace("10.9.0.1/24", "10.9.0.1/24, 10.8.0.1/24")
    home.path.write_text(text.replace("10.66.0.0/16", "10.67.0.0/16"))
    home.supervisor.start()
    home.laptop.reach("10.9.0.1")
    routes = home.hub.host.ip("route show")
    assert (("10.67.0.0/16" in routes), ("10.66.0.0/16" in routes)) == (True, False)
    home.supervisor.kill()
    home.path.write_text(text.replace("10.9.0.1/24, 10.8.0.1/24", "10.9.0.1/24"))
    home.supervisor.start()
    shown = home.hub.host.ip(f"-4 -o address show dev {home.hub.name}")
    assert re.findall(r"inet (\S+)", shown) == ["10.9.0.1/24"]
    home.laptop.reach("10.9.0.1")


def test_a_wireguard_peer_is_called_again_just_as_well(network: Network) -> None:
    net = ethernet(network, "192.168.1.22/24")
    plain, hub = PlainTunnel(net.mover, "10.9.0.2/24"), LabTunnel(net.peer, "10.9.0.1/24")
    path = hub.configuration(Remote(plain.keys.public, allowed=("10.9.0.2/32",)))
    with Supervisor(net.peer, str(path)) as supervisor:
        supervisor.start()
        plain.up(Remote(hub.keys.public, "192.168.1.101:51820", ("10.9.0.1/32",)))
        net.mover.run(["ping", "-n", "-c", "1", "-W", "5", "10.9.0.1"])
        supervisor.kill()
        supervisor.start()
        # The peer says nothing: only who calls it can reach it.
        hub.reach("10.9.0.2")
        assert "handshake completed" in supervisor.log
        assert "as initiator" in supervisor.log
        assert "unanswered" not in supervisor.log


def test_a_reload_changes_what_the_file_changes_and_breaks_no_session(home: Home) -> None:
    before = home.hub.peer(home.laptop.keys.public)["latest_handshake_unix"]
    home.path.write_text(home.path.read_text() + Remote(Keys.new().public).section)
    reload(home)
    assert len(home.hub.status()["peers"]) == 2
    assert home.hub.peer(home.laptop.keys.public)["latest_handshake_unix"] == pytest.approx(
        before, abs=0.01
    )

    good = home.path.read_text()
    home.path.write_text(good.replace("ListenPort", "ListenPrt") + "[Peer]\n")
    reload(home)
    assert "ListenPrt" in home.supervisor.log
    assert len(home.hub.status()["peers"]) == 2

    other = "ListenPort = 51821\nMTU = 1400\nDscp = CS1"
    home.path.write_text(good.replace("ListenPort = 51820", other))
    reload(home)
    assert "restart_for=Dscp" in home.supervisor.log
    assert home.hub.status()["mtu"] == 1400
    home.laptop.reach("10.9.0.1")
    # The sockets that are kept are the new ones, as long as the file asks for their port.
    home.supervisor.kill()
    home.supervisor.start()
    assert home.hub.status()["listen_port"] == 51821
    assert "what=udp4, udp6, tun, peers" in home.supervisor.log
    home.supervisor.kill()
    home.path.write_text(good)
    home.supervisor.start()
    assert home.hub.status()["listen_port"] == 51820
    assert "what=tun, peers" in home.supervisor.log
    assert "51821" not in home.hub.host.run(["ss", "-ulnH"]).stdout


def reload(home: Home) -> None:
    said = home.supervisor
    since, moment = len(said.messages), time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    assert said.process is not None
    said.process.send_signal(signal.SIGHUP)
    assert int(said.wait_for("RELOADING", since=since)["MONOTONIC_USEC"]) >= moment
    said.wait_for("READY", since=since)


def test_down_ends_it_for_good_also_where_a_copy_is_kept(home: Home) -> None:
    home.hub.command("down", home.hub.name)
    assert home.hub.name not in home.hub.host.ip("link show")
    assert home.supervisor.process is not None
    assert home.supervisor.process.wait(5) == 0
    assert home.supervisor.store == {}


def again(laptop: Laptop, supervisor: Supervisor, number: signal.Signals) -> None:
    """End the process, and start the next one, which finds what the first had done."""
    rules, routes = (laptop.host.ip(line) for line in ("rule", "route show table all"))
    supervisor.kill(number)
    refused = laptop.run("down", laptop.name)
    assert (refused.returncode, "systemctl stop" in refused.stderr) == (1, True), refused
    supervisor.start()
    assert [laptop.host.ip(line) for line in ("rule", "route show table all")] == [rules, routes]
    # Longer than a first call that is lost takes (REKEY_TIMEOUT).
    assert reaches(laptop.host, SITE, tries=9), supervisor.log
    assert "send refused" not in supervisor.log


@pytest.mark.parametrize("shut", [True, False])
def test_a_full_tunnel_leaks_nothing_until_the_next_process_is_up(network, shut) -> None:
    there = world(network)
    made = network.directory / "made"
    before = is_there(there.laptop)
    # What cannot be done twice.
    lines = (f"KillSwitch = {'yes' if shut else 'no'}", f"PostUp = mkdir {made}")
    laptop = Laptop(there.laptop, (*lines, f"PostDown = rmdir {made}"))
    hub_for(there, laptop)
    laptop.write()
    with Supervisor(there.laptop, str(laptop.path)) as supervisor:
        supervisor.start()
        assert reaches(there.laptop, SITE, tries=5)
        outside = Capture(there.laptop)
        there.laptop.start(["ping", "-n", "-q", "-i", "0.02", SITE])
        again(laptop, supervisor, signal.SIGKILL)
        again(laptop, supervisor, signal.SIGTERM)
        if shut:
            log = UndoLog(RUN_DIRECTORY, laptop.name)
            kinds = Counter(step["kind"] for step in log.steps())
            assert (kinds["kill-switch"], kinds["rule"], kinds["dead-end"]) == (1, 2, 2)
        assert in_clear(outside.stop()) == []
    # It is stopped for good: what is to be shut stays shut, and all else is undone.
    assert reaches(there.laptop, SITE) is not shut
    assert not made.exists()
    if shut:
        assert laptop.run("cleanup", laptop.name).returncode == 0
    assert is_there(there.laptop) == before
