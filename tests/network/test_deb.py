"""The Debian package: installed, used, and purged without a trace, in a copy of this system.

The copy is an overlay over `/` in a mount namespace of its own, in which dpkg really runs; what it
writes is in memory, and gone with the test. This system is only read.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from supervisor import Supervisor

from sacip_tun.lab.connection import Connection, survived
from sacip_tun.lab.namespaces import NETNS, Host, Network
from sacip_tun.lab.tunnel import Keys, Remote, interface_section

pytestmark = pytest.mark.network

REPOSITORY = Path(__file__).parents[2]
BUILD = REPOSITORY / "distribution" / "build_deb.py"
# What the copy has of the directory in which the packages are, and the version of the newer one.
DEBS, NEWER = "/mnt", "99.0"
# What systemd is asked for is noted, and nothing is done.
STUB = "/run/stub"
SYSTEMCTL = f'#!/bin/sh\necho "$*" >>{STUB}/asked\n'
PATH = f"PATH={STUB}:/usr/sbin:/usr/bin:/sbin:/bin"
# In a mount namespace: a copy of / whose changes are in memory, with the kernel's file systems.
COPY = """
set -e
mount -t tmpfs none "$1"
mkdir "$1/upper" "$1/work" "$1/copy"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/copy"
for name in proc sys dev; do mount --rbind /$name "$1/copy/$name"; done
mount -t tmpfs none "$1/copy/run"
mount -t tmpfs none "$1/copy/tmp"
mkdir -p "$1/copy/run/lock" "$1/copy/run/systemd/system" "$1/copy/run/stub"
printf "%s" "$3" >"$1/copy/run/stub/systemctl"
chmod 755 "$1/copy/run/stub/systemctl"
mount --bind "$2" "$1/copy/mnt"
echo ready
read -r _
"""


class Copy:
    """A copy of this system; what is run in it can be in the network of a host.

    To a program it looks as if systemd ran.
    """

    def __init__(self, directory: Path, debs: Path) -> None:
        directory.mkdir()
        self.root = directory / "copy"
        command = ["unshare", "--mount", "--propagation=private", "sh", "-c", COPY, "sh"]
        self._holder = subprocess.Popen(
            [*command, directory, debs, SYSTEMCTL],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == "ready\n"

    @property
    def mounted(self) -> list[str]:
        """What enters the mount namespace, in which the copy is at `root`."""
        return ["nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt"]

    @property
    def inside(self) -> list[str]:
        """What enters the copy."""
        return [*self.mounted, "chroot", str(self.root)]

    def run(self, *command: str, host: Host | None = None, check: bool = True) -> str:
        network = [] if host is None else ["nsenter", f"--net={NETNS / host.namespace}"]
        # Nothing of the tree must be found in place of what was installed.
        clean = ["env", "-i", PATH, "LC_ALL=C.UTF-8"]
        done = subprocess.run(
            [*network, *self.inside, *clean, *command],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        assert not check or done.returncode == 0, done.stdout
        return done.stdout

    def dpkg(self, *words: str, host: Host | None = None) -> tuple[str, list[str]]:
        """Run dpkg; return what it said, and what it asked of systemd."""
        said = self.run("dpkg", "--no-triggers", *words, host=host)
        asked = self.run("sh", "-c", f"touch {STUB}/asked; cat {STUB}/asked; rm {STUB}/asked")
        return said, asked.splitlines()

    def show(self, directory: Path) -> None:
        """Let the copy see a directory of this system."""
        there = self.root / directory.relative_to("/")
        subprocess.run([*self.mounted, "mkdir", "-p", there], check=True)
        subprocess.run([*self.mounted, "mount", "--bind", directory, there], check=True)

    def close(self) -> None:
        self._holder.communicate()


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copy]:
    directory = tmp_path_factory.mktemp("deb")
    debs = directory / "debs"
    command = [sys.executable, str(BUILD), "--fast", "--output", str(debs)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (deb,) = debs.glob("*.deb")
    deb = deb.rename(debs / "older.deb")
    make_newer(deb, debs / "newer.deb")
    made = Copy(directory / "copy", debs)
    yield made
    made.close()


def make_newer(deb: Path, newer: Path) -> None:
    """Pack the same files as another version."""
    tree = newer.with_suffix("")
    subprocess.run(["dpkg-deb", "--raw-extract", deb, tree], check=True)
    control = tree / "DEBIAN/control"
    control.write_text(re.sub(r"(?m)^Version: .*$", f"Version: {NEWER}", control.read_text()))
    pack = ["dpkg-deb", "--root-owner-group", "-Znone", "--build", tree, newer]
    subprocess.run(pack, check=True, stdout=subprocess.DEVNULL)
    shutil.rmtree(tree)


class Ends:
    """Two hosts on one segment, whose tunnel the installed program carries.

    The first is a service, with all its traffic in the tunnel and a kill switch; the second was
    brought up by hand.
    """

    def __init__(self, network: Network, copy: Copy) -> None:
        segment = network.segment("lan")
        self.copy = copy
        self.hosts: list[Host] = []
        self.keys = Keys.new(), Keys.new()
        self.names = [f"deb{os.getpid()}{letter}" for letter in "ab"]
        for number, name in enumerate("ab"):
            self.hosts.append(network.host(name))
            self.hosts[-1].plug(segment, "eth0", f"192.168.1.{number + 1}/24")
        self._configure(0, "KillSwitch = yes", ("0.0.0.0/0", "::/0"))
        self._configure(1, "ListenPort = 51820", ("10.9.0.1/32",))
        self.before = self.traces()
        # Its socket is where the service manager is.
        copy.show(network.directory)
        self.service = Supervisor(
            self.hosts[0],
            self.names[0],
            watchdog=15,
            inside=copy.inside,
            installed=("/usr/bin/python3", ["/usr/bin/sacip-tun"]),
        )
        copy.run("sacip-tun", "up", self.names[1], host=self.hosts[1])
        self.service.start()

    def _configure(self, number: int, line: str, allowed: tuple[str, ...]) -> None:
        other = 1 - number
        endpoint = f"192.168.1.{other + 1}:51820" if number == 0 else None
        text = interface_section(self.keys[number], (f"10.9.0.{number + 1}/24",), [line])
        text += Remote(self.keys[other].public, endpoint, allowed).section
        path = f"/etc/sacip-tun/{self.names[number]}.conf"
        self.copy.run("sh", "-c", f"umask 077; printf '%s' '{text}' > {path}")

    def traces(self) -> list[str]:
        """What `up` may have changed on the two hosts."""
        asked = ("ip -o link show type tun", "ip rule", "ip -6 rule", "nft list ruleset")
        return [host.run(line.split()).stdout for host in self.hosts for line in asked]

    def answer(self) -> bool:
        ping = ["ping", "-n", "-c", "3", "-W", "2", "-i", "0.2", "10.9.0.2"]
        return self.hosts[0].run(ping, check=False).returncode == 0

    def outdated(self) -> bool:
        """Whether the service runs a program that is there no more."""
        assert self.service.process is not None
        maps = Path(f"/proc/{self.service.process.pid}/maps").read_text().splitlines()
        return any("/usr/lib/sacip-tun/" in line and "(deleted)" in line for line in maps)


def left(copy: Copy) -> list[str]:
    """What differs from this system but for the notes of dpkg itself, and what it cached."""
    upper = str(copy.root.parent / "upper")
    find = f"find {upper} -mindepth 1 ( -type d -empty -o -not -type d )".split()
    done = subprocess.run([*copy.mounted, *find], check=True, capture_output=True, text=True)
    found = [line.removeprefix(upper) for line in done.stdout.splitlines()]
    notes = ("/var/lib/dpkg/", "/var/log/", "/var/cache/")
    # A directory that is there anyhow was only looked into.
    return [path for path in found if not path.startswith(notes) and not Path(path).is_dir()]


def test_it_is_installed_used_upgraded_and_purged(copy: Copy, network: Network) -> None:
    # With a service manager that runs, and NetworkManager too.
    reload = ["--system daemon-reload", "reload NetworkManager.service"]
    reload.insert(1, "--quiet is-active NetworkManager.service")
    assert copy.dpkg("-i", f"{DEBS}/older.deb")[1] == reload
    # systemd before 253 says so of the line that only later ones know.
    known = "Failed to parse service type, ignoring: notify-reload"
    said = copy.run("systemd-analyze", "verify", "--man=yes", "sacip-tun@x.service", check=False)
    assert [line for line in said.splitlines() if "sacip-tun" in line and known not in line] == []
    security = copy.run("systemd-analyze", "security", "--offline=yes", "sacip-tun@x.service")
    assert float(re.findall(r"level for \S+: ([0-9.]+)", security)[0]) <= 2.5
    assert "tunnel" in copy.run("man", "-P", "cat", "8", "sacip-tun")
    assert "AllowedIPs" in copy.run("man", "-P", "cat", "5", "sacip-tun.conf")
    words = "source /usr/share/bash-completion/completions/sacip-tun; complete -p sacip-tun"
    assert "_shtab_sacip_tun" in copy.run("bash", "-c", words)
    assert copy.run("sacip-tun", "--version").startswith("sacip-tun ")
    assert copy.run("sacip-wg", "--version").startswith("sacip-wg ")

    ends = Ends(network, copy)
    with ends.service:
        assert ends.answer(), ends.service.log
        connection = Connection(*ends.hosts, "10.9.0.2", "--seconds", "8", "--rate", "4")
        connection.wait_until_established()
        _, asked = copy.dpkg("-i", f"{DEBS}/newer.deb")
        assert copy.run("dpkg-query", "-W", "-f", "${Version}", "sacip-tun") == NEWER
        assert asked == [reload[0], "try-restart sacip-tun@*.service", *reload[1:]]
        # Nothing was stopped: what `try-restart` does is what ends the old program.
        assert ends.outdated()
        assert ends.service.kill(signal.SIGTERM) == 0
        ends.service.start()
        assert "what=udp4, udp6, tun, peers" in ends.service.log
        assert not ends.outdated()
        assert not connection.ends_within(0), "it was over before the upgrade was"
        near, far = connection.finish()
        assert survived(near, far), (near, far)
        # `systemctl stop` leaves a host that has a kill switch shut.
        ends.service.stop()
        assert not ends.answer()

    # The first `sacip-tun` has its network; that of the second is told over its socket.
    said, asked = copy.dpkg("--remove", "sacip-tun", host=ends.hosts[0])
    assert asked == ["stop sacip-tun@*.service", reload[0]]
    assert ends.traces() == ends.before, said
    said, asked = copy.dpkg("--purge", "sacip-tun")
    assert asked == []
    assert "has keys or configurations still" in said
    assert "sacip-tun" not in copy.run("ls", "/run")
    # And where no systemd runs.
    copy.run("rm", "-r", "/run/systemd")
    for words in (["-i", f"{DEBS}/older.deb"], ["--purge", "sacip-tun"]):
        assert copy.dpkg(*words)[1] == []
    assert sorted(left(copy)) == [f"/etc/sacip-tun/{name}.conf" for name in ends.names]
