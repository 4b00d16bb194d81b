"""sacip-wg keeps wireguard-go's contract with scripts, and wg-quick takes it for wireguard-go."""

import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from ethernet import at, ethernet, wait_until
from plain_tunnel import SACIP_WG, WIREGUARD_GO, PlainTunnel, wg_quick
from sacip_wg import COMMAND, SOCKETS, installed, socket_of
from uapi_client import ask

from sacip_tun.lab.namespaces import Host, interface_name
from sacip_tun.lab.tunnel import PROGRAM, LabTunnel, Remote

pytestmark = pytest.mark.network

# What WireGuard's own test sets, and a packet that fills it.
LARGEST_MTU = 34736


@pytest.fixture
def host(network):
    return network.host("alone")


def exists(host: Host, name: str) -> bool:
    return host.run(["ip", "link", "show", name], check=False).returncode == 0


def test_it_returns_when_both_are_there_and_ends_when_one_is_removed(host):
    name = interface_name()
    for remove in (lambda: host.ip(f"link delete {name}"), socket_of(name).unlink):
        # Its output is a pipe here: this would not return if the daemon kept it open.
        done = host.run([*COMMAND, name])
        assert (done.stdout, done.stderr) == ("", "")
        assert "mtu 1420" in host.ip(f"link show {name}")
        assert socket_of(name).is_socket()
        assert socket_of(name).stat().st_mode & 0o777 == 0o700
        assert f"interface: {name}" in host.run(["wg", "show", name]).stdout
        remove()
        wait_until(lambda: not host.process_ids(), "it does not end")
        assert not exists(host, name)
        assert not socket_of(name).exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it_with_nothing_left(host, number):
    name = interface_name()
    process = host.start([*COMMAND, "--foreground", name])
    wait_until(lambda: host.run(["wg", "show", name], check=False).returncode == 0, "not up")
    process.send_signal(number)
    assert process.wait(5) == 0
    assert not exists(host, name)
    assert not socket_of(name).exists()


def test_a_name_can_be_used_again_at_once(host):
    name = interface_name()
    for _ in range(3):
        assert host.run([*COMMAND, name]).returncode == 0
        host.ip(f"link delete {name}")
        wait_until(lambda: not socket_of(name).exists(), "its socket is left behind")


def test_down_is_left_to_the_program_that_set_it_up(host):
    """Rules, routes and hooks of wg-quick are known to wg-quick alone."""
    name = interface_name()
    host.run([*COMMAND, name])
    host.run(["wg", "show", name])  # is answered when all is loaded
    done = host.run([*PROGRAM, "down", name], check=False)
    assert (done.returncode, f"fix: wg-quick down {name}" in done.stderr) == (1, True)
    assert exists(host, name)


def test_a_stale_socket_is_replaced_and_a_live_one_is_an_error(host):
    name = interface_name()
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(socket_of(name)))
        stale.listen()
        done = host.run([*COMMAND, name], check=False)
        assert done.returncode == 1
        assert "in use" in done.stderr
        assert not exists(host, name)
    assert host.run([*COMMAND, name]).returncode == 0
    again = host.run([*COMMAND, name], check=False)
    assert again.returncode == 1
    assert name in again.stderr
    assert f"interface: {name}" in host.run(["wg", "show", name]).stdout


@pytest.mark.parametrize(
    ("without", "said"),
    [
        (["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /dev/net && exec "$@"', "sh"],
         "there is no /dev/net/tun; .*modprobe tun"),
        (["setpriv", "--bounding-set=-all", "--inh-caps=-all"],
         "no privilege to create .*; run as root"),
    ],
    ids=["device", "privilege"],
)  # fmt: skip
def test_what_it_lacks_is_told_and_nothing_is_left(host, without, said):
    name = interface_name()
    for foreground in ([], ["--foreground"]):
        done = host.run([*without, *COMMAND, *foreground, name], check=False)
        assert done.returncode == 1
        assert re.fullmatch(rf"ERROR: \({name}\) .*{said}.*\n", done.stderr)
        assert not exists(host, name)
        assert not socket_of(name).exists()


def test_descriptors_are_taken_from_the_environment_and_others_are_let_go(host):
    name = interface_name()
    program = (
        "import os, socket, sys; from sacip_tun.linux.tun import Tun; "
        f"tun = Tun.open({name!r}, offload=False); "
        f"listener = socket.socket(socket.AF_UNIX); listener.bind({str(socket_of(name))!r}); "
        "listener.listen(); held, _ = os.pipe(); "
        "print(os.readlink(f'/proc/self/fd/{held}'), flush=True); "
        "[os.set_inheritable(n, True) for n in (tun.fileno(), listener.fileno(), held)]; "
        "os.environ.update(WG_TUN_FD=str(tun.fileno()), WG_UAPI_FD=str(listener.fileno())); "
        f"os.execv(sys.executable, [*{COMMAND!r}, 'ignored'])"
    )
    held = host.run([sys.executable, "-c", program]).stdout.strip()
    assert held.startswith("pipe:")
    assert f"interface: {name}" in host.run(["wg", "show", name]).stdout
    (daemon,) = host.process_ids()
    assert held not in [str(entry.readlink()) for entry in Path(f"/proc/{daemon}/fd").iterdir()]
    assert not exists(host, "ignored")
    socket_of(name).unlink()
    wait_until(lambda: not host.process_ids(), "it does not end")


def test_log_level_decides_what_is_said(host):
    name = interface_name()
    process = host.start([*COMMAND, "-f", name], environment={"LOG_LEVEL": "verbose"})
    wait_until(lambda: f"DEBUG: ({name}) up" in host.log(process), "it says nothing")
    host.run(["wg", "set", name, "listen-port", "7000"])
    assert ask(name, "set=1\nlisten_port=none\n\n") == "errno=-22\n\n"
    wait_until(lambda: "ERROR: " in host.log(process), "it does not say what was refused")


def test_it_goes_on_in_another_namespace_with_any_mtu_up_and_down(network):
    net = ethernet(network, "192.168.1.2/24")
    ours = PlainTunnel(net.mover, "10.9.0.2/24", SACIP_WG)
    theirs = PlainTunnel(net.peer, "10.9.0.1/24", WIREGUARD_GO)
    theirs.up(Remote(ours.keys.public, None, ("10.9.0.2/32",)))
    ours.start()
    inner = network.host("inner")
    net.mover.ip(f"link set {ours.name} netns {inner.namespace}")
    private = ours.secret_file("private", ours.keys.private)
    ours.set("private-key", str(private), "listen-port", "51820")
    ours.set_peer(Remote(theirs.keys.public, at("192.168.1.101"), ("10.9.0.0/24",)))
    inner.ip(f"addr add {ours.address} dev {ours.name}")
    inner.ip(f"link set {ours.name} up")
    inner.run(["ping", "-n", "-c", "1", "-W", "5", "10.9.0.1"])
    assert mtu_of(ours) == 1420
    inner.ip(f"link set {ours.name} mtu {LARGEST_MTU}")
    theirs.host.ip(f"link set {theirs.name} mtu {LARGEST_MTU}")
    wait_until(lambda: mtu_of(ours) == LARGEST_MTU, "the MTU is not seen")
    inner.run(["ping", "-n", "-c", "2", "-i", "0.2", "-s", str(LARGEST_MTU - 28), "10.9.0.1"])
    for _ in range(2):
        inner.ip(f"link set {ours.name} down")
        inner.ip(f"link set {ours.name} up")
    inner.run(["ping", "-n", "-c", "1", "-W", "5", "10.9.0.1"])
    inner.ip(f"link delete {ours.name}")
    wait_until(lambda: not socket_of(ours.name).exists(), "it does not end")


def mtu_of(tunnel: PlainTunnel) -> int:
    lines = dict(line.split("=", 1) for line in ask(tunnel.name, "get=1\n\n").split())
    return int(lines["sacip_mtu"])


@pytest.mark.alone  # see wg_quick
def test_wg_quick_brings_it_up_and_takes_it_down_without_a_trace(network):
    net = ethernet(network, "192.168.1.2/24")
    theirs = PlainTunnel(net.peer, "10.9.0.1/24", WIREGUARD_GO)
    ours = LabTunnel(net.mover, "10.9.0.2/24", 51821, more=("fd00:9::2/64",))
    name = ours.name
    theirs.up(Remote(ours.keys.public, None, ("10.9.0.2/32",)))
    path = ours.configuration(
        Remote(theirs.keys.public, at("192.168.1.101"), ("0.0.0.0/0", "::/0")),
        lines=(f"PostUp = touch {network.directory}/%i-up",),
    )
    before = rules_and_routes(net.mover)
    wg_quick(net.mover, "up", path, installed(network.directory))
    assert (network.directory / f"{name}-up").exists()
    net.mover.run(["ping", "-n", "-c", "1", "-W", "5", "10.9.0.1"])
    # The whole default route is in the tunnel, and its own packets are not.
    assert f"dev {name}" in net.mover.ip("route get 198.51.100.1")
    shown = net.mover.run(["wg", "show", name, "dump"]).stdout
    assert "\t51821\t0xca6c" in shown
    wg_quick(net.mover, "down", path, installed(network.directory))
    wait_until(lambda: not socket_of(name).exists(), "it does not end")
    assert rules_and_routes(net.mover) == before


def rules_and_routes(host: Host) -> tuple[str, ...]:
    asked = ("rule", "-6 rule", "route show table all", "-6 route show table all")
    return tuple(host.ip(line) for line in asked)


def test_its_command_line_is_wireguard_gos():
    usage = subprocess.run([*COMMAND], capture_output=True, text=True, check=True)
    assert "[-f/--foreground] INTERFACE-NAME" in usage.stdout
    version = subprocess.run([*COMMAND, "--version"], capture_output=True, text=True, check=True)
    assert version.stdout.startswith("sacip-wg v")
    assert "\n\nUserspace WireGuard daemon for linux-" in version.stdout
    assert SOCKETS.is_dir()
