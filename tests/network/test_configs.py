"""configs/ as a newcomer edits them: every <...> filled in, and up.

a eth0 203.0.113.1 ──── b eth0 203.0.113.2              two-hosts-*.conf

printer eth0 192.168.40.7 ──── .1 eth1 hub eth0 203.0.113.1 ──── laptop eth0 203.0.113.2   hub.conf
"""

import re
import shlex
from pathlib import Path

import pytest

from sacip_tun.lab.namespaces import Host, Network
from sacip_tun.lab.tunnel import Keys, LabTunnel, Remote

pytestmark = pytest.mark.network

CONFIGS = Path(__file__).parents[2] / "configs"


class Edited(LabTunnel):
    """A tunnel that comes from one of the files, its placeholders filled in."""

    def __init__(self, host: Host, file: str, address: str) -> None:
        super().__init__(host, address)
        self.file = file

    def fill(self, **values: str) -> None:
        """Bring it up. What is in <> is looked up by its words, joined by _."""

        def value(match: "re.Match[str]") -> str:
            return values[match[1].replace(" ", "_")]

        # An interface of its own name: control sockets are in one directory for all namespaces.
        path = self.host.network.directory / f"{self.name}.conf"
        path.touch(mode=0o600)
        lines = (CONFIGS / self.file).read_text().splitlines()
        settings = [line for line in lines if not line.startswith("#")]
        path.write_text(re.sub(r"<([^>]*)>", value, "\n".join(settings)))
        self._start(["up", str(path), "--foreground"])

    def steps(self) -> list[str]:
        """Return the commands for this host in the file's head: those that are indented."""
        lines = re.findall(r"^#        (\S.*)", (CONFIGS / self.file).read_text(), re.MULTILINE)
        return [line.replace("!= home ", f"!= {self.name} ") for line in lines]


def joined(network: Network) -> tuple[Host, Host]:
    """Return two hosts on one segment."""
    segment = network.segment("internet")
    first, second = network.host("first"), network.host("second")
    first.plug(segment, "eth0", "203.0.113.1/24")
    second.plug(segment, "eth0", "203.0.113.2/24")
    return first, second


def test_two_hosts(network) -> None:
    first, second = joined(network)
    a = Edited(first, "two-hosts-a.conf", "10.9.0.1/24")
    b = Edited(second, "two-hosts-b.conf", "10.9.0.2/24")
    a.fill(private_key_of_host_A=a.keys.private, public_key_of_host_B=b.keys.public)
    b.fill(
        private_key_of_host_B=b.keys.private,
        public_key_of_host_A=a.keys.public,
        address_or_name_of_host_A="203.0.113.1",
    )
    b.reach("10.9.0.1")
    a.reach("10.9.0.2")


def test_home_network_hub(network) -> None:
    """The printer at home has never heard of the tunnel, and has no route to it."""
    first, second = joined(network)
    home, printer = network.segment("home"), network.host("printer")
    first.plug(home, "eth1", "192.168.40.1/24")
    printer.plug(home, "eth0", "192.168.40.7/24")
    hub, laptop = Edited(first, "hub.conf", "10.9.0.1/24"), LabTunnel(second, "10.9.0.10/24")
    preshared = Keys.new().private
    assert len(hub.steps()) == 4
    for step in hub.steps():
        first.run(shlex.split(step))
    hub.fill(
        private_key_of_the_hub=hub.keys.private,
        public_key_of_the_laptop=laptop.keys.public,
        preshared_key_of_laptop_and_hub=preshared,
        public_key_of_the_office=Keys.new().public,
        address_or_name_of_the_office="203.0.113.3",
    )
    allowed = ("10.9.0.0/24", "192.168.40.0/24")
    laptop.up(Remote(hub.keys.public, "203.0.113.1:51820", allowed, preshared))
    laptop.reach("10.9.0.1")
    laptop.reach("192.168.40.7")
