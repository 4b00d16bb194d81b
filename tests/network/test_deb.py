"""The Debian package: installed, used, and purged without a trace, in a copy of this system.

The copy is an overlay over `/` in a mount namespace of its own, in which dpkg really runs; what it
writes is in memory, and gone with the test. This system is only read.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sacip_tun.lab.namespaces import NETNS, Host, Network
from sacip_tun.lab.tunnel import Keys

pytestmark = pytest.mark.network

REPOSITORY = Path(__file__).parents[2]
BUILD = REPOSITORY / "distribution" / "build_deb.py"
DEB = "/sacip-tun.deb"
# In a mount namespace: a copy of / whose changes are in memory, with the kernel's file systems.
COPY = """
set -e
mount -t tmpfs none "$1"
mkdir "$1/upper" "$1/work" "$1/copy"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/copy"
for name in proc sys dev; do mount --rbind /$name "$1/copy/$name"; done
mount -t tmpfs none "$1/copy/run"
mount -t tmpfs none "$1/copy/tmp"
mkdir -p "$1/copy/run/lock"
cp "$2" "$1/copy/sacip-tun.deb"
echo ready
read -r _
"""


class Copy:
    """A copy of this system; what is run in it can be in the network of a host."""

    def __init__(self, directory: Path, deb: Path) -> None:
        directory.mkdir()
        self.root = directory / "copy"
        command = ["unshare", "--mount", "--propagation=private", "sh", "-c", COPY, "sh"]
        self._holder = subprocess.Popen(
            [*command, directory, deb],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == "ready\n"

    def run(self, *command: str, host: Host | None = None, check: bool = True) -> str:
        inside = ["nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt"]
        if host is not None:
            inside.append(f"--net={NETNS / host.namespace}")
        # Nothing of the tree must be found in place of what was installed.
        clean = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8"]
        done = subprocess.run(
            [*inside, "chroot", self.root, *clean, *command],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        assert not check or done.returncode == 0, done.stdout
        return done.stdout

    def close(self) -> None:
        self._holder.communicate()


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copy]:
    directory = tmp_path_factory.mktemp("deb")
    command = [sys.executable, str(BUILD), "--fast", "--output", str(directory)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (deb,) = directory.glob("*.deb")
    made = Copy(directory / "copy", deb)
    yield made
    made.close()


class Ends:
    """Two hosts on one segment, whose tunnel the installed program carries."""

    def __init__(self, network: Network, copy: Copy) -> None:
        segment = network.segment("lan")
        self.copy = copy
        self.hosts: list[Host] = []
        self.keys = Keys.new(), Keys.new()
        for number, name in enumerate("ab"):
            self.hosts.append(network.host(name))
            self.hosts[-1].plug(segment, "eth0", f"192.168.1.{number + 1}/24")
            self._configure(number, f"deb{os.getpid()}{name}")

    def _configure(self, number: int, name: str) -> None:
        other = 1 - number
        text = (
            f"[Interface]\nPrivateKey = {self.keys[number].private}\nListenPort = 51820\n"
            f"Address = 10.9.0.{number + 1}/24\n[Peer]\nPublicKey = {self.keys[other].public}\n"
            f"AllowedIPs = 10.9.0.{other + 1}/32\nEndpoint = 192.168.1.{other + 1}:51820\n"
        )
        command = f"umask 077; printf '%s' '{text}' > /etc/sacip-tun/{name}.conf"
        self.copy.run("sh", "-c", command)
        self.copy.run("sacip-tun", "up", name, host=self.hosts[number])

    def answer(self) -> bool:
        ping = ["ping", "-n", "-c", "3", "-W", "2", "-i", "0.2", "10.9.0.2"]
        return self.hosts[0].run(ping, check=False).returncode == 0

    def interfaces(self) -> list[str]:
        return [host.ip("-o link show type tun") for host in self.hosts]


def left(copy: Copy) -> list[str]:
    """What differs from this system but for the notes of dpkg itself, and what it cached."""
    upper = str(copy.root.parent / "upper")
    find = f"find {upper} -mindepth 1 ( -type d -empty -o -not -type d )".split()
    inside = ["nsenter", f"--mount=/proc/{copy._holder.pid}/ns/mnt"]
    done = subprocess.run([*inside, *find], check=True, capture_output=True, text=True)
    found = [line.removeprefix(upper) for line in done.stdout.splitlines()]
    notes = (DEB, "/var/lib/dpkg/", "/var/log/", "/var/cache/")
    # A directory that is there anyhow was only looked into.
    return [path for path in found if not path.startswith(notes) and not Path(path).is_dir()]


def test_it_is_installed_used_upgraded_and_purged(copy: Copy, network: Network) -> None:
    copy.run("dpkg", "--no-triggers", "-i", DEB)
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
    assert ends.answer()
    # Its scripts are called for an upgrade, though the version is the same.
    copy.run("dpkg", "--no-triggers", "-i", DEB)
    assert ends.answer(), "an upgrade cuts nothing"

    said = copy.run("dpkg", "--no-triggers", "--remove", "sacip-tun")
    assert ends.interfaces() == ["", ""], said
    said = copy.run("dpkg", "--no-triggers", "--purge", "sacip-tun")
    assert "has keys or configurations still" in said
    kept = [f"/etc/sacip-tun/deb{os.getpid()}{name}.conf" for name in "ab"]
    assert sorted(left(copy)) == kept
