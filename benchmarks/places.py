"""Where the moves of the handover benchmark take place: hosts, segments and routers.

In each place the mover has the tunnel's inner address .2 and the hub, the fixed side, has .1.
"""

from dataclasses import dataclass

from sacip_tun.lab.namespaces import Host, Network, Segment


@dataclass(frozen=True)
class Place:
    """A network, built."""

    mover: Host
    hub: Host
    others: dict[str, Host]
    """Routers and segments, by their names."""
    hub_at: str
    """The address at which the mover is told to find the hub."""
    keepalive: int | None = None
    """What a user would configure there, in seconds: 25 behind a NAT (wg(8))."""

    def host(self, name: str) -> Host:
        return {**self.others, "mover": self.mover, "hub": self.hub}[name]


def lan(network: Network, address: str = "192.168.1.22/24", promote_secondaries: int = 1) -> Place:
    """The deck's Ethernet (slide 19).

    mover eth0 192.168.1.22    hub eth0 192.168.1.101    router eth0 192.168.1.4
    ──────┴──────────────────────────┴─────────────────────────┴──────  192.168.1.0/24, fd00::/64
    """
    segment = network.segment("lan")
    mover = network.host("mover", promote_secondaries=promote_secondaries)
    hub, router = network.host("hub"), network.host("router")
    router.write_sysctl("ipv4/ip_forward", 1)
    mover.plug(segment, "eth0", address)
    hub.plug(segment, "eth0", "192.168.1.101/24", "fd00::101/64")
    router.plug(segment, "eth0", "192.168.1.4/24")
    return Place(mover, hub, {"lan": segment.host, "router": router}, "192.168.1.101")


def two_subnets(network: Network) -> Place:
    """The deck's second test (slide 24): the hub is on the link of one /25, the router on none."""
    place = lan(network, "192.168.1.2/25")
    place.mover.ip("route add default via 192.168.1.4 dev eth0 onlink")
    return place


def no_promotion(network: Network) -> Place:
    """An Ethernet on which a secondary address goes with its primary (slide 7)."""
    return lan(network, promote_secondaries=0)


def two_uplinks(network: Network) -> Place:
    """A cable that is in use, and Wi-Fi; no NAT.

    mover eth0 ──── 192.168.1.0/24 ── cable-router .1 ──┐
          wlan0 ─── 192.168.2.0/24 ── wifi-router .1 ───┴── 203.0.113.0/24 ── hub .7
    """
    return _two_uplinks(network, nat=False, wifi_is_up=True)


def wifi_not_yet_up(network: Network) -> Place:
    """As `two_uplinks`; wlan0 has no address yet."""
    return _two_uplinks(network, nat=False, wifi_is_up=False)


def two_nats(network: Network) -> Place:
    """As `wifi_not_yet_up`; both routers masquerade, and the hub knows no way back."""
    return _two_uplinks(network, nat=True, wifi_is_up=False)


def nat_and_public(network: Network) -> Place:
    """The mover is behind a NAT; its wlan0 is on the hub's network, without an address yet."""
    internet, place = _uplinks(network, ("cable",), nat=True)
    place.mover.plug(internet, "wlan0")
    return place


def two_routers(network: Network) -> Place:
    """A link in the middle whose MTU can change.

    mover 192.168.1.22 ── .1 near-router .1 ── 10.1.1.0/30 ── .2 far-router .1 ── 203.0.113.7 hub
    """
    home, middle, away = (network.segment(name) for name in ("home", "middle", "away"))
    mover, hub = network.host("mover"), network.host("hub")
    near, far = network.host("near-router"), network.host("far-router")
    for router in (near, far):
        router.write_sysctl("ipv4/ip_forward", 1)
    mover.plug(home, "eth0", "192.168.1.22/24")
    near.plug(home, "eth0", "192.168.1.1/24")
    near.plug(middle, "eth1", "10.1.1.1/30")
    far.plug(middle, "eth1", "10.1.1.2/30")
    far.plug(away, "eth0", "203.0.113.1/24")
    hub.plug(away, "eth0", "203.0.113.7/24")
    mover.ip("route add default via 192.168.1.1")
    near.ip("route add default via 10.1.1.2")
    far.ip("route add default via 10.1.1.1")
    hub.ip("route add default via 203.0.113.1")
    return Place(mover, hub, {"near-router": near, "far-router": far}, "203.0.113.7")


def _two_uplinks(network: Network, *, nat: bool, wifi_is_up: bool) -> Place:
    _, place = _uplinks(network, ("cable", "wifi"), nat=nat)
    if wifi_is_up:
        place.mover.ip("addr add 192.168.2.22/24 dev wlan0")
        place.mover.ip("route add default via 192.168.2.1 dev wlan0 metric 600")
    return place


DEVICES = {"cable": "eth0", "wifi": "wlan0"}


def _uplinks(network: Network, names: tuple[str, ...], *, nat: bool) -> tuple[Segment, Place]:
    internet = network.segment("internet")
    mover, hub = network.host("mover"), network.host("hub")
    hub.plug(internet, "eth0", "203.0.113.7/24")
    others = {"internet": internet.host}
    for number, name in enumerate(names, 1):
        segment, router = network.segment(name), network.host(f"{name}-router")
        others |= {name: segment.host, router.name: router}
        mover.plug(segment, DEVICES[name])
        router.write_sysctl("ipv4/ip_forward", 1)
        router.plug(segment, "eth0", f"192.168.{number}.1/24")
        router.plug(internet, "eth1", f"203.0.113.{number}/24")
        if nat:
            router.run(["nft", masquerade("40000-49999")])
        else:
            hub.ip(f"route add 192.168.{number}.0/24 via 203.0.113.{number}")
    # A network manager prefers the cable: metrics 100 and 600 are NetworkManager's.
    mover.ip("addr add 192.168.1.22/24 dev eth0")
    mover.ip("route add default via 192.168.1.1 dev eth0 metric 100")
    return internet, Place(mover, hub, others, "203.0.113.7", keepalive=25 if nat else None)


def masquerade(ports: str) -> str:
    """Return nft's words for a home router: masquerading to these ports, silent to strangers."""
    return (
        "table ip nat {\nchain outgoing {\ntype nat hook postrouting priority srcnat\n"
        f'oifname "eth1" meta l4proto {{ tcp, udp }} masquerade to :{ports}\n}}\n'
        "chain incoming {\ntype filter hook input priority filter\n"
        'iifname "eth1" ct state new,invalid drop\n}\n}'
    )
