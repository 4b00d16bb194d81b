"""A router that translates addresses, as a home router or a carrier does, and its bad habits.

    nat = Nat(network.host("nat1"), outside="eth1")
    nat.masquerade(61000)                  # the first mapping leaves from port 61000
    nat.rebind(62000)                      # as after a restart: every mapping is another
    nat.forward(51820, "192.168.1.101")    # a port forward to a hub behind it
    nat.forget_after(3)                    # an idle UDP mapping lives so many seconds

The mappings are those of Linux: a port is kept where it can be, unless a range is given; what comes
from outside passes only where a mapping or a forward is.
"""

from sacip_tun.lab.namespaces import Host

# Ports in the range of one masquerade: few, so that a test sees at a glance which range it was.
PORTS = 100
TABLE = "lab_nat"


class Nat:
    """The translation on one router; its interfaces and addresses are made by whoever builds it."""

    def __init__(self, host: Host, outside: str) -> None:
        self.host = host
        self._outside = outside
        self._forwards: dict[int, str] = {}
        self._first_port: int | None = None
        host.write_sysctl("ipv4/ip_forward", 1)

    def masquerade(self, first_port: int | None = None) -> None:
        """Translate what leaves; to UDP ports from `first_port` on, None keeps them."""
        self._first_port = first_port
        self._load()

    def pretend(self, address: str) -> None:
        """Translate what leaves to somebody else's address, as a liar with a raw socket would."""
        self._load(f"snat to {address}")
        self.forget()

    def forward(self, port: int, inside: str) -> None:
        """Let what comes to a UDP port in to an address inside, from inside and outside."""
        self._forwards[port] = inside
        self._load()

    def rebind(self, first_port: int) -> None:
        """Forget every mapping; new ones leave from other ports. No host is told."""
        self.masquerade(first_port)
        self.forget()

    def forget(self) -> None:
        """Forget every mapping, as a restart does."""
        self.host.run(["conntrack", "-F"])

    def forget_after(self, seconds: int) -> None:
        """Let idle UDP mappings live for so long."""
        for name in ("nf_conntrack_udp_timeout", "nf_conntrack_udp_timeout_stream"):
            self.host.write_sysctl(f"netfilter/{name}", seconds)

    def mappings(self) -> list[str]:
        """Return the UDP mappings as conntrack prints them."""
        return self.host.run(["conntrack", "-L", "-p", "udp"]).stdout.splitlines()

    def _load(self, translation: str | None = None) -> None:
        if translation is None and self._first_port is not None:
            translation = f"masquerade to :{self._first_port}-{self._first_port + PORTS - 1}"
        rules = "\n".join(self._rules(translation or "masquerade"))
        self.host.run(["nft", f"add table ip {TABLE}; delete table ip {TABLE}; {rules}"])

    def _rules(self, translation: str) -> list[str]:
        # From inside too, without translating the source: the answer comes from the inside address,
        # as with many a home router.
        forwards = [
            f"fib daddr type local udp dport {port} dnat to {inside}"
            for port, inside in self._forwards.items()
        ]
        return [
            f"table ip {TABLE} {{",
            "chain arriving { type nat hook prerouting priority dstnat; policy accept;",
            *forwards,
            "}",
            "chain leaving { type nat hook postrouting priority srcnat; policy accept;",
            f"oifname {self._outside} meta l4proto udp {translation}",
            f"oifname {self._outside} masquerade",
            "}",
            # Nobody outside reaches an inside address that he guesses.
            "chain passing { type filter hook forward priority filter; policy accept;",
            f"iifname {self._outside} ct state new ct status & dnat == 0 drop",
            "}",
            "}",
        ]
