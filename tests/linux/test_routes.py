from ipaddress import ip_address, ip_network

import pytest

from sacip_tun.linux.routes import (
    DEFAULT_RULES,
    NEXTHOP_DEAD,
    NEXTHOP_LINKDOWN,
    TABLE_LOCAL,
    Route,
    RouteKind,
    RoutingTables,
    Rule,
    RuleAction,
)

REMOTE = ip_address("203.0.113.9")


def route(destination, interface, **facts):
    return Route(ip_network(destination), interface, **facts)


def interface_for(routes, remote=REMOTE, rules=DEFAULT_RULES, **question):
    found = RoutingTables.of(routes, rules).lookup(ip_address(remote), **question)
    return found and found.interface


def test_no_route_is_none():
    assert interface_for([]) is None
    assert interface_for([route("10.0.0.0/8", 1)]) is None


def test_the_longest_prefix_wins_whatever_its_metric():
    routes = [route("0.0.0.0/0", 1), route("203.0.113.0/24", 2, metric=900)]
    assert interface_for(routes) == 2
    assert interface_for(routes, "8.8.8.8") == 1


def test_the_lowest_metric_wins():
    assert (
        interface_for([route("0.0.0.0/0", 1, metric=600), route("0.0.0.0/0", 2, metric=100)]) == 2
    )


def test_router_preference_decides_between_equal_metrics():
    low = route("::/0", 1, metric=1024, preference=-1)
    high = route("::/0", 2, metric=1024, preference=1)
    assert interface_for([low, high], "2001:db8::1") == 2


def test_asking_for_an_interface_passes_over_the_others():
    routes = [route("203.0.113.0/24", 1), route("0.0.0.0/0", 2, metric=600)]
    assert interface_for(routes, interface=2) == 2
    assert interface_for(routes, interface=3) is None


@pytest.mark.parametrize("kind", [RouteKind.BLACKHOLE, RouteKind.UNREACHABLE, RouteKind.PROHIBIT])
def test_a_refusing_route_ends_the_lookup(kind):
    routes = [route("0.0.0.0/0", 1), route("203.0.113.0/24", 0, kind=kind)]
    assert interface_for(routes) is None
    assert interface_for(routes, interface=1) is None
    assert interface_for(routes, "8.8.8.8") == 1


def test_a_throwing_route_goes_on_to_the_next_rule():
    routes = [
        route("203.0.113.0/24", 0, kind=RouteKind.THROW),
        route("0.0.0.0/0", 1, table=254),
        route("0.0.0.0/0", 2, table=253),
    ]
    assert interface_for(routes) == 2


def test_a_dead_next_hop_is_passed_over_and_one_without_carrier_is_not():
    dead = route("0.0.0.0/0", 1, flags=NEXTHOP_DEAD)
    linkdown = route("0.0.0.0/0", 2, metric=1, flags=NEXTHOP_LINKDOWN)
    assert interface_for([dead, linkdown, route("0.0.0.0/0", 3, metric=2)]) == 2


def test_the_local_table_comes_first():
    routes = [
        route("203.0.113.0/24", 1),
        route("203.0.113.9/32", 2, table=TABLE_LOCAL, kind=RouteKind.LOCAL),
    ]
    assert interface_for(routes) == 2


# wg-quick's rules for AllowedIPs = 0.0.0.0/0, whose own packets carry the mark 51820.
WG_QUICK = (
    *DEFAULT_RULES,
    Rule(4, 32764, suppressed_length=0),
    Rule(4, 32765, table=51820, mark=51820, mask=0xFFFFFFFF, inverted=True),
)
FULL_TUNNEL = [
    route("0.0.0.0/0", 1),
    route("192.168.1.0/24", 1),
    route("0.0.0.0/0", 9, table=51820),
]


def test_marked_packets_leave_beside_a_full_tunnel():
    assert interface_for(FULL_TUNNEL, rules=WG_QUICK) == 9
    assert interface_for(FULL_TUNNEL, rules=WG_QUICK, mark=51820) == 1


def test_a_suppressed_prefix_length_skips_the_default_route_only():
    assert interface_for(FULL_TUNNEL, "192.168.1.7", rules=WG_QUICK) == 1


def test_a_rule_for_a_source_needs_that_source():
    rules = (*DEFAULT_RULES, Rule(4, 100, table=7, source=ip_network("10.2.0.0/24")))
    routes = [route("0.0.0.0/0", 1), route("0.0.0.0/0", 2, table=7)]
    assert interface_for(routes, rules=rules) == 1
    assert interface_for(routes, rules=rules, source=ip_address("10.1.0.2")) == 1
    assert interface_for(routes, rules=rules, source=ip_address("10.2.0.2")) == 2


def test_a_rule_for_a_destination():
    rules = (*DEFAULT_RULES, Rule(4, 9, table=7, destination=ip_network("203.0.113.0/24")))
    routes = [route("0.0.0.0/0", 1), route("0.0.0.0/0", 2, table=7)]
    assert interface_for(routes, rules=rules) == 2
    assert interface_for(routes, "8.8.8.8", rules=rules) == 1


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (Rule(4, 5, action=RuleAction.UNREACHABLE), None),
        (Rule(4, 5, action=RuleAction.NOTHING), 1),
        (Rule(4, 5, action=RuleAction.UNREACHABLE, exotic=True), 1),
        (Rule(4, 5, action=RuleAction.GOTO, target=32767), 3),
    ],
)
def test_actions_of_rules(rule, expected):
    routes = [route("0.0.0.0/0", 1), route("0.0.0.0/0", 3, table=253)]
    assert interface_for(routes, rules=(*DEFAULT_RULES, rule)) == expected


def test_families_do_not_mix():
    routes = [route("0.0.0.0/0", 4), route("::/0", 6)]
    assert interface_for(routes) == 4
    assert interface_for(routes, "2001:db8::1") == 6
