"""The lab itself: what it builds is there, what it leaves is nothing, and its demo tells the truth.

mover                 peer              router
eth0 192.168.1.22     eth0 .101         eth0 .4
──────┴─────────────────┴─────────────────┴──────  192.168.1.0/24
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ethernet import INTERRUPTIBLE, ethernet, wait_until

from sacip_tun.lab.namespaces import NETNS, Network
from sacip_tun.lab.scenario import SCENARIOS
from sacip_tun.lab.tunnel import PROGRAM

pytestmark = pytest.mark.network

NOBODY = "65534"
# A program with a lab in it that waits to be ended; a process in the lab does not want to end.
VICTIM = """
import sys, time
from sacip_tun.lab.namespaces import Network
with Network() as network:
    host = network.host("a")
    child = host.start(["sh", "-c", "trap '' TERM; while :; do sleep 1; done"])
    print(host.namespace, child.pid, network.directory, flush=True)
    time.sleep(60)
"""


def test_hosts_of_a_segment_reach_each_other(network) -> None:
    net = ethernet(network, "192.168.1.22/24")
    assert "1 received" in net.mover.run(["ping", "-c", "1", "-W", "2", "192.168.1.101"]).stdout
    assert "1 received" in net.mover.run(["ping", "-c", "1", "-W", "2", "192.168.1.4"]).stdout


def test_two_networks_do_not_meet(network) -> None:
    net = ethernet(network, "192.168.1.22/24")
    with Network() as other:
        ethernet(other, "192.168.1.23/24")
        lost = net.mover.run(["ping", "-c", "1", "-W", "1", "192.168.1.23"], check=False)
        assert lost.returncode == 1


def test_a_failure_leaves_nothing_behind() -> None:
    seen = {}

    def fail() -> None:
        with Network() as network:
            host = network.host("a")
            seen.update(namespace=NETNS / host.namespace, directory=network.directory)
            seen["sleeper"] = host.start(["sleep", "60"])
            assert seen["namespace"].exists()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert seen["sleeper"].returncode == -signal.SIGTERM
    assert not seen["namespace"].exists()
    assert not seen["directory"].exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_leaves_nothing_behind(number) -> None:
    command = [*INTERRUPTIBLE, sys.executable, "-c", VICTIM]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as p:
        namespace, child, directory = p.stdout.readline().split()
        p.send_signal(number)
        p.wait(20)
    assert not (NETNS / namespace).exists()
    assert not Path("/proc", child).exists()
    assert not Path(directory).exists()


def run_demo(*words: str, prefix: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*prefix, *PROGRAM, "lab", *words],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        cwd="/",
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_demo_shows_the_move_and_loses_nothing(name) -> None:
    done = run_demo(name)
    assert done.returncode == 0, done.stdout + done.stderr
    scenario = SCENARIOS[name]
    assert re.search(r"mover   \$ (ip addr add|sacip-tun move)", done.stdout)
    assert re.search(rf"mover   sends CHANGE +{re.escape(scenario.new_host)}:", done.stdout)
    assert re.search(r"peer    has moved +remote: ", done.stdout)
    assert re.search(r"mover   has moved +local: ", done.stdout)
    assert len(re.findall(r"bytes intact, longest silence [\d.]+ ms, \d+ retr", done.stdout)) == 2
    assert f"  peer   {scenario.new_host}:" in done.stdout
    assert done.stdout.rstrip().endswith("nothing was lost")


def test_the_demo_needs_no_root() -> None:
    setpriv = shutil.which("setpriv")
    # Where udev does not run, nobody but root may open /dev/net/tun: here everybody may.
    device = "mount -t tmpfs tmpfs /dev/net && mknod -m 0666 /dev/net/tun c 10 200"
    prefix = (
        *("unshare", "--mount", "sh", "-c", f'{device} && exec "$@"', "sh"),
        *(setpriv, "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"),
    )
    if subprocess.run([*prefix, "unshare", "--user", "true"], check=False).returncode:
        pytest.skip("this machine forbids user namespaces")
    if subprocess.run([*prefix, *PROGRAM, "--version"], check=False, cwd="/").returncode:
        pytest.skip("another user cannot read this installation")
    done = run_demo(prefix=prefix)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.rstrip().endswith("nothing was lost")


def test_the_demo_says_what_it_needs() -> None:
    hidden = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs tmpfs /dev/net && exec "$@"', "sh")
    done = run_demo(prefix=hidden)
    assert done.returncode == 4
    assert "/dev/net/tun does not exist" in done.stderr
    assert "--device /dev/net/tun" in done.stderr


def test_keep_stays_until_it_is_told_to_go() -> None:
    command = [*INTERRUPTIBLE, *PROGRAM, "lab", "planned", "--keep"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as demo:
        lines = []
        deadline = time.monotonic() + 60
        while "(tunnel" not in "".join(lines[-1:]):
            assert time.monotonic() < deadline
            lines.append(demo.stdout.readline())
        shown = re.search(r"nsenter --net=(\S+)", lines[-1])[1]
        assert Path(shown).exists()
        demo.send_signal(signal.SIGINT)
        assert demo.wait(20) == 0
    wait_until(lambda: not Path(shown).exists(), "the network is still there")
