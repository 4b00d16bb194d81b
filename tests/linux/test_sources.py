from ipaddress import ip_address, ip_network

from sacip_tun.linux.addresses import SCOPE_HOST, SCOPE_LINK, Address, Link
from sacip_tun.linux.routes import DEFAULT_RULES, TABLE_LOCAL, Route, RouteKind, Rule
from sacip_tun.linux.snapshot import Snapshot

LO, ETH, WLAN, TUN = 1, 2, 3, 9
PEER = "192.168.1.101"
FAR = "203.0.113.9"


def address(text, interface=ETH, **flags):
    host, length = text.split("/")
    return Address(ip_address(host), int(length), interface, **flags)


def connected(text, interface=ETH, source=None, **facts):
    return Route(
        ip_network(text),
        interface,
        source=source and ip_address(source),
        scope=SCOPE_LINK if ":" not in text else 0,
        **facts,
    )


def default(gateway, interface=ETH, **facts):
    gateway = ip_address(gateway)
    anywhere = ip_network("0.0.0.0/0" if gateway.version == 4 else "::/0")
    return Route(anywhere, interface, gateway=gateway, **facts)


LOOPBACK_LINK = Link(LO, "lo", loopback=True)
LOOPBACK = (
    address("127.0.0.1/8", LO, scope=SCOPE_HOST),
    address("::1/128", LO, scope=SCOPE_HOST),
)
LOOPBACK_ROUTES = (
    Route(
        ip_network("127.0.0.0/8"),
        LO,
        source=ip_address("127.0.0.1"),
        table=TABLE_LOCAL,
        kind=RouteKind.LOCAL,
        scope=SCOPE_HOST,
    ),
    Route(ip_network("::1/128"), LO, table=TABLE_LOCAL, kind=RouteKind.LOCAL),
)


def snapshot(addresses, routes, links=()):
    known = {LO: LOOPBACK_LINK, ETH: Link(ETH, "eth0"), WLAN: Link(WLAN, "wlan0")}
    known |= {link.index: link for link in links}
    return Snapshot(
        known, LOOPBACK + tuple(addresses), LOOPBACK_ROUTES + tuple(routes), DEFAULT_RULES
    )


def sources(addresses, routes, remote=PEER, links=(), exclude=(), **question):
    found = snapshot(addresses, routes, links).sources_towards(
        ip_address(remote), exclude, **question
    )
    return [(str(source.host), source.on_kernel_route) for source in found]


# The deck's first test: a new address in the same subnet, then the old one is deleted.


def test_deck_1_a_secondary_is_the_alternate():
    assert sources(
        [address("192.168.1.22/24"), address("192.168.1.2/24", secondary=True)],
        [connected("192.168.1.0/24", source="192.168.1.22")],
    ) == [("192.168.1.22", True), ("192.168.1.2", True)]


def test_deck_1_after_the_deletion_the_promoted_secondary_is_first():
    assert sources(
        [address("192.168.1.2/24")], [connected("192.168.1.0/24", source="192.168.1.2")]
    ) == [("192.168.1.2", True)]


# The deck's second test: another subnet on the same link, with a default router.

HALVES = [address("192.168.1.2/25"), address("192.168.1.222/25")]
HALF_ROUTES = [
    connected("192.168.1.0/25", source="192.168.1.2"),
    connected("192.168.1.128/25", source="192.168.1.222"),
    default("192.168.1.4"),
]


def test_deck_2_the_address_of_the_peers_subnet_is_first():
    assert sources(HALVES, HALF_ROUTES) == [("192.168.1.2", True), ("192.168.1.222", True)]


def test_deck_2_after_the_deletion_the_peer_is_reached_by_the_router():
    assert sources(HALVES[1:], HALF_ROUTES[1:]) == [("192.168.1.222", True)]


def test_the_address_in_the_gateways_subnet_is_first():
    addresses = [address("10.0.0.5/24"), address("192.168.1.5/24")]
    assert sources(addresses, [default("192.168.1.4")], FAR)[0] == ("192.168.1.5", True)
    assert sources(addresses, [default("10.0.0.1")], FAR)[0] == ("10.0.0.5", True)


# Two providers


TWO = [address("10.1.0.2/24", ETH), address("10.2.0.2/24", WLAN)]
TWO_ROUTES = [
    connected("10.1.0.0/24", ETH, "10.1.0.2"),
    connected("10.2.0.0/24", WLAN, "10.2.0.2"),
    default("10.1.0.1", ETH, metric=100),
    default("10.2.0.1", WLAN, metric=600),
]


def test_the_second_interface_is_the_alternate_and_must_be_steered_to():
    assert sources(TWO, TWO_ROUTES, FAR) == [("10.1.0.2", True), ("10.2.0.2", False)]


def test_metrics_decide_which_interface_is_first():
    routes = [*TWO_ROUTES[:2], default("10.1.0.1", ETH, metric=700), TWO_ROUTES[3]]
    assert sources(TWO, routes, FAR) == [("10.2.0.2", True), ("10.1.0.2", False)]


def test_an_interface_without_a_route_to_the_remote_is_no_alternate():
    assert sources(TWO, TWO_ROUTES[:3], FAR) == [("10.1.0.2", True)]


def test_a_link_that_is_down_or_without_carrier_is_left_out():
    for link in (Link(ETH, "eth0", up=False), Link(ETH, "eth0", carrier=False)):
        assert sources(TWO, TWO_ROUTES, FAR, [link]) == [("10.2.0.2", False)]


def test_an_interface_that_is_gone_is_left_out():
    state = snapshot(TWO, TWO_ROUTES)
    left = {index: link for index, link in state.links.items() if index != ETH}
    found = Snapshot(left, state.addresses, state.routes, state.rules).sources_towards(
        ip_address(FAR)
    )
    assert [str(source.host) for source in found] == ["10.2.0.2"]


def test_our_own_tun_is_never_a_way_out():
    addresses = [*TWO, address("10.99.0.1/24", TUN)]
    routes = [*TWO_ROUTES, Route(ip_network("203.0.113.0/24"), TUN, scope=SCOPE_LINK)]
    tun = Link(TUN, "sacip0")
    assert sources(addresses, routes, FAR, [tun])[0] == ("10.99.0.1", True)
    assert sources(addresses, routes, FAR, [tun], exclude={TUN}) == [
        ("10.1.0.2", False),
        ("10.2.0.2", False),
    ]


def test_a_route_can_prefer_a_source():
    addresses = [address("192.168.1.22/24"), address("192.168.1.2/24", secondary=True)]
    routes = [
        connected("192.168.1.0/24", source="192.168.1.22"),
        default("192.168.1.4", source=ip_address("192.168.1.2")),
    ]
    assert sources(addresses, routes, FAR) == [("192.168.1.2", True), ("192.168.1.22", True)]


def test_blackholes_leave_nothing():
    for kind in (RouteKind.BLACKHOLE, RouteKind.UNREACHABLE):
        routes = [*TWO_ROUTES, Route(ip_network("203.0.113.0/24"), 0, kind=kind)]
        assert sources(TWO, routes, FAR) == []


def test_no_route_leaves_nothing():
    assert sources(TWO, TWO_ROUTES[:2], FAR) == []


def test_the_loopback_reaches_itself():
    assert sources(TWO, TWO_ROUTES, "127.0.0.1") == [("127.0.0.1", True)]
    assert sources(TWO, TWO_ROUTES, "::1") == [("::1", True)]


def test_a_second_loopback_address_is_an_alternate_on_the_loopback():
    addresses = [address("127.0.0.2/8", LO, scope=SCOPE_HOST, secondary=True)]
    assert sources(addresses, [], "127.0.0.1") == [("127.0.0.1", True), ("127.0.0.2", True)]


def test_an_own_address_is_reached_from_itself():
    own = Route(
        ip_network("10.1.0.2/32"),
        ETH,
        source=ip_address("10.1.0.2"),
        table=TABLE_LOCAL,
        kind=RouteKind.LOCAL,
        scope=SCOPE_HOST,
    )
    assert sources(TWO, [*TWO_ROUTES, own], "10.1.0.2")[0] == ("10.1.0.2", True)


def test_link_local_ipv4_is_no_source_for_others():
    addresses = [address("169.254.7.7/16", scope=SCOPE_LINK), address("10.1.0.2/24")]
    assert sources(addresses, TWO_ROUTES[:3], FAR) == [("10.1.0.2", True)]


def test_an_interface_without_addresses_borrows_one():
    assert sources(TWO[:1], [Route(ip_network("0.0.0.0/0"), WLAN, scope=0)], FAR)[0] == (
        "10.1.0.2",
        True,
    )


# IPv6


FAR6 = "2001:db8:99::1"
ROUTES6 = [
    connected("2001:db8:1::/64", metric=256),
    connected("fe80::/64", metric=256),
    default("fe80::1", metric=1024),
]


def test_ipv6_tentative_is_excluded_and_deprecated_is_last():
    assert sources(
        [
            address("2001:db8:1::1/64", tentative=True),
            address("2001:db8:1::2/64", deprecated=True),
            address("2001:db8:1::3/64"),
        ],
        ROUTES6,
        FAR6,
    ) == [("2001:db8:1::3", True), ("2001:db8:1::2", True)]


def test_ipv6_deprecated_is_flagged():
    state = snapshot([address("2001:db8:1::2/64", deprecated=True)], ROUTES6)
    (source,) = state.sources_towards(ip_address(FAR6))
    assert source.deprecated


def test_ipv6_temporary_addresses_are_preferred():
    assert sources(
        [address("2001:db8:1::1/64"), address("2001:db8:1::2/64", temporary=True)], ROUTES6, FAR6
    ) == [("2001:db8:1::2", True), ("2001:db8:1::1", True)]


def test_ipv6_the_label_of_the_remote_decides():
    addresses = [address("fd00::1/64"), address("2001:db8:1::1/64")]
    routes = [*ROUTES6, connected("fd00::/64", metric=256)]
    assert sources(addresses, routes, FAR6)[0] == ("2001:db8:1::1", True)
    assert sources(addresses, routes, "fd00::9")[0] == ("fd00::1", True)


def test_ipv6_link_local_only_for_link_local_remotes():
    addresses = [address("fe80::5/64", scope=SCOPE_LINK), address("2001:db8:1::1/64")]
    assert sources(addresses, ROUTES6, FAR6) == [("2001:db8:1::1", True)]
    assert sources(addresses, ROUTES6, "fe80::99", interface=ETH) == [("fe80::5", True)]


def test_ipv6_link_local_stays_on_its_link():
    addresses = [
        address("fe80::5/64", scope=SCOPE_LINK),
        address("fe80::6/64", WLAN, scope=SCOPE_LINK),
    ]
    routes = [*ROUTES6, connected("fe80::/64", WLAN, metric=256)]
    assert sources(addresses, routes, "fe80::99", interface=WLAN) == [("fe80::6", True)]


def test_ipv6_the_address_of_the_outgoing_interface_is_first():
    addresses = [address("2001:db8:2::1/64", WLAN), address("2001:db8:1::1/64", ETH)]
    routes = [*ROUTES6, default("fe80::2", WLAN, metric=2048)]
    assert sources(addresses, routes, FAR6) == [("2001:db8:1::1", True), ("2001:db8:2::1", False)]


def test_families_do_not_mix():
    assert sources(TWO, [*TWO_ROUTES, *ROUTES6], FAR6) == []


# The next hop


def gateways(addresses, routes, remote, **question):
    found = snapshot(addresses, routes).sources_towards(ip_address(remote), **question)
    return [(str(source.host), source.gateway and str(source.gateway)) for source in found]


def test_each_source_knows_the_gateway_that_it_leaves_by():
    assert gateways(TWO, TWO_ROUTES, FAR) == [("10.1.0.2", "10.1.0.1"), ("10.2.0.2", "10.2.0.1")]


def test_on_the_remotes_own_link_there_is_no_gateway():
    assert gateways(HALVES, HALF_ROUTES, PEER) == [("192.168.1.2", None), ("192.168.1.222", None)]


def test_a_changed_gateway_on_the_same_interface_is_seen():
    routes = [TWO_ROUTES[0], default("10.1.0.9")]
    assert gateways(TWO[:1], routes, FAR) == [("10.1.0.2", "10.1.0.9")]


def test_ipv6_gateways_are_link_local():
    assert gateways([address("2001:db8:1::1/64")], ROUTES6, FAR6) == [("2001:db8:1::1", "fe80::1")]


def test_a_rule_for_the_source_names_another_gateway():
    state = snapshot(TWO[:1], [*TWO_ROUTES[:1], default("10.1.0.1"), default("10.1.0.7", table=7)])
    rule = Rule(4, 100, table=7, source=ip_network("10.1.0.2/32"))
    ruled = Snapshot(state.links, state.addresses, state.routes, (*DEFAULT_RULES, rule))
    (source,) = ruled.sources_towards(ip_address(FAR))
    assert str(source.gateway) == "10.1.0.7"
