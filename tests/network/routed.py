"""Two hosts with one router between them.

mover                     router                     hub
eth0 192.168.1.22   .1 eth0   eth1 .1    192.168.2.101 eth0
     fd01::22     ::1               ::1         fd02::101
"""

from dataclasses import dataclass

from sacip_tun.lab.namespaces import Host, Network

OUTSIDE = {4: "192.168.2.101", 6: "fd02::101"}

# A network of the unfriendly kind. Fragments are dropped where they arrive: the router's own hooks
# see packets before it fragments them.
NO_FRAGMENTS = """
table inet hostile {
    chain early {
        type filter hook prerouting priority -450;
        iifname eth0 ip frag-off & 0x3fff != 0 drop
        iifname eth0 exthdr frag exists drop
    }
}
"""
NO_ICMP = """
table inet hostile {
    chain out {
        type filter hook output priority 0;
        icmp type destination-unreachable drop
        icmpv6 type packet-too-big drop
    }
}
"""


@dataclass(frozen=True)
class Routed:
    mover: Host
    router: Host
    hub: Host

    def narrow(self, mtu: int) -> None:
        """Let the link behind the router carry `mtu` bytes, in both directions."""
        self.router.ip(f"link set eth1 mtu {mtu}")
        self.hub.ip(f"link set eth0 mtu {mtu}")

    def be_hostile(self) -> None:
        self.router.run(["nft", NO_ICMP])
        for host in (self.mover, self.hub):
            host.run(["nft", NO_FRAGMENTS])


def routed(network: Network) -> Routed:
    near, far = network.segment("near"), network.segment("far")
    mover, router, hub = (network.host(name) for name in ("mover", "router", "hub"))
    for version, name in ((4, "ip_forward"), (6, "conf/all/forwarding")):
        router.write_sysctl(f"ipv{version}/{name}", 1)
    mover.plug(near, "eth0", "192.168.1.22/24", "fd01::22/64")
    router.plug(near, "eth0", "192.168.1.1/24", "fd01::1/64")
    router.plug(far, "eth1", "192.168.2.1/24", "fd02::1/64")
    hub.plug(far, "eth0", "192.168.2.101/24", "fd02::101/64")
    for host, net in ((mover, 1), (hub, 2)):
        host.ip(f"route add default via 192.168.{net}.1")
        host.ip(f"-6 route add default via fd0{net}::1")
    return Routed(mover, router, hub)
