"""A laptop whose whole traffic goes through a tunnel to a hub, and a site that both can reach.

laptop                                  router                    hub  10.3.0.101, 203.0.113.101
eth0  10.1.0.2, fd01::2 ─── lan1 ─────  10.1.0.1   10.3.0.1 ────── site 203.0.113.80
wlan0 10.2.0.2 ──────────── lan2 ─────  10.2.0.1   203.0.113.1     and both fd03::101, fd03::80
"""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from capture import UDP, Packet
from ethernet import wait_until

from sacip_tun.lab.namespaces import Host, Network, Segment, interface_name
from sacip_tun.lab.tunnel import PROGRAM, Keys, LabTunnel, Remote, interface_section

HUB, SITE, SITE_V6 = "10.3.0.101", "203.0.113.80", "fd03::80"
EVERYTHING = "0.0.0.0/0, ::/0"
INNER, INNER_V6 = "10.9.0.2", "fd09::2"
# What `up` may change on a host.
WHAT_IS_THERE = (
    ("ip", "rule"),
    ("ip", "-6", "rule"),
    ("ip", "route", "show", "table", "all"),
    ("ip", "-6", "route", "show", "table", "all"),
    ("nft", "list", "ruleset"),
    ("cat", "/proc/sys/net/ipv4/conf/all/src_valid_mark"),
)


@dataclass(frozen=True)
class World:
    laptop: Host
    router: Host
    hub: Host
    site: Host
    lan1: Segment
    lan2: Segment


def world(network: Network) -> World:
    lan1, lan2, far = (network.segment(name) for name in ("lan1", "lan2", "far"))
    laptop, router, hub, site = (network.host(n) for n in ("laptop", "router", "hub", "site"))
    for host in (router, hub):
        host.write_sysctl("ipv4/ip_forward", 1)
        host.write_sysctl("ipv6/conf/all/forwarding", 1)
    router.plug(lan1, "eth1", "10.1.0.1/24", "fd01::1/64")
    router.plug(lan2, "eth2", "10.2.0.1/24")
    router.plug(far, "eth3", "10.3.0.1/24", "203.0.113.1/24", "fd03::1/64")
    hub.plug(far, "eth0", f"{HUB}/24", "203.0.113.101/24", "fd03::101/64")
    site.plug(far, "eth0", f"{SITE}/24", f"{SITE_V6}/64")
    for host in (hub, site):
        host.ip("route add default via 203.0.113.1")
        host.ip("-6 route add default via fd03::1")
    site.ip("route add 10.9.0.0/24 via 203.0.113.101")
    site.ip("-6 route add fd09::/64 via fd03::101")
    laptop.plug(lan1, "eth0", "10.1.0.2/24", "fd01::2/64")
    laptop.plug(lan2, "wlan0", "10.2.0.2/24")
    laptop.ip("route add default via 10.1.0.1 dev eth0 metric 100")
    laptop.ip("route add default via 10.2.0.1 dev wlan0 metric 600")
    laptop.ip("-6 route add default via fd01::1 dev eth0")
    return World(laptop, router, hub, site, lan1, lan2)


@dataclass
class Laptop:
    """The file on the laptop, and what is done with it."""

    host: Host
    lines: tuple[str, ...] = ()
    allowed: str = EVERYTHING
    endpoint: str = f"{HUB}:51820"
    addresses: str = f"{INNER}/24, {INNER_V6}/64"
    keys: Keys = field(default_factory=Keys.new)
    name: str = field(default_factory=interface_name)
    hub: str = ""
    text: str = ""
    """What the file says, where that is not made of the rest."""
    inside: tuple[str, ...] = ()
    """What the commands run in, beside the network namespace."""

    @property
    def path(self) -> Path:
        return self.host.network.directory / f"{self.name}.conf"

    def write(self) -> None:
        own = interface_section(self.keys, (self.addresses,), self.lines)
        peer = Remote(self.hub, self.endpoint, (self.allowed,)).section
        self.path.touch(mode=0o600)
        self.path.write_text(self.text or own + peer)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.host.run([*self.inside, *PROGRAM, *words], check=False, timeout=30)

    def up(self, *options: str) -> subprocess.CompletedProcess[str]:
        self.write()
        done = self.run("up", str(self.path), *options)
        assert done.returncode == 0, done.stderr
        return done

    def down(self) -> subprocess.CompletedProcess[str]:
        done = self.run("down", self.name)
        assert done.returncode == 0, done.stderr
        return done

    def _daemons(self) -> list[int]:
        return [
            number
            for number in self.host.process_ids()
            if self.name in Path(f"/proc/{number}/cmdline").read_text()
        ]

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Let the daemon do nothing for a while, and be there."""
        daemons = self._daemons()
        for number in daemons:
            os.kill(number, signal.SIGSTOP)
        try:
            yield
        finally:
            for number in daemons:
                os.kill(number, signal.SIGCONT)

    def kill(self) -> None:
        """End the daemon as the kernel would, out of memory."""
        for number in self._daemons():
            os.kill(number, signal.SIGKILL)
        wait_until(lambda: self.name not in self.host.ip("link show"), "it stays", 5)

    def status(self) -> dict:
        return json.loads(self.run("status", self.name, "--json").stdout)


def hub_for(there: World, laptop: Laptop) -> LabTunnel:
    hub = LabTunnel(there.hub, "10.9.0.1/24", more=("fd09::1/64",))
    laptop.hub = hub.keys.public
    hub.up(Remote(laptop.keys.public, allowed=(f"{INNER}/32", f"{INNER_V6}/128")))
    return hub


def reaches(host: Host, address: str, *options: str, tries: int = 1) -> bool:
    command = ["ping", "-n", "-c", "1", "-W", "1", *options, address]
    return any(host.run(command, check=False).returncode == 0 for _ in range(tries))


def is_there(host: Host) -> dict[str, str]:
    """Everything that `up` may change, as the programs show it that users look at it with."""
    return {" ".join(command): host.run(command).stdout for command in WHAT_IS_THERE}


def in_clear(packets: list[Packet]) -> list[Packet]:
    """What is neither of the tunnel nor of the link itself (ICMPv6 of neighbours, IGMP)."""
    return [
        packet
        for packet in packets
        if not (packet.protocol == UDP and 51820 in {packet.source_port, packet.destination_port})
        and not packet.destination.startswith(("ff02:", "fe80:", "224."))
        and not (packet.protocol == 58 and packet.payload[:1] in {b"\x87", b"\x88"})
    ]
