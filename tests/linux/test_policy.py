"""The rules of a full tunnel, and which way packets take by them (RoutingTables looks them up)."""

from ipaddress import ip_address, ip_network

import pytest

from sacip_tun.daemon.wanted import described
from sacip_tun.linux.policy import FIRST_TABLE, Policy, free_table
from sacip_tun.linux.routes import DEFAULT_RULES, Route, RoutingTables, Rule
from sacip_tun.linux.snapshot import Snapshot

TUN, ETH = 9, 2
T = 51820
ANY = ip_network("0.0.0.0/0")
MAIN = (
    Route(ANY, ETH, ip_address("192.168.1.1")),
    Route(ip_network("192.168.1.0/24"), ETH),
    # What a hostile DHCP server adds.
    Route(ip_network("0.0.0.0/1"), ETH, ip_address("192.168.1.66")),
    Route(ip_network("10.0.0.0/9"), ETH, ip_address("192.168.1.66")),
)
OWN = (Route(ANY, TUN, table=T), Route(ip_network("10.9.0.0/24"), TUN, table=T))


def way(address, mark=0, passing=None, **wanted):
    policy = Policy(frozenset({4}), T, T, **wanted)
    rules = () if passing is None else policy.passing(passing)
    tables = RoutingTables.of((*MAIN, *OWN), (*DEFAULT_RULES, *policy.rules, *rules))
    route = tables.lookup(ip_address(address), mark=mark)
    return None if route is None else route.interface


@pytest.mark.parametrize("address", ["1.1.1.1", "203.0.113.9", "192.168.1.7", "10.1.1.1"])
def test_strict_leaves_nothing_to_main_but_what_is_marked(address):
    assert way(address) == TUN
    assert way(address, mark=T) == ETH


def test_while_the_mark_changes_both_leave_and_nothing_else():
    assert [way("1.1.1.1", mark, passing=7) for mark in (T, 7, 8, 0)] == [ETH, ETH, TUN, TUN]


def test_compat_lets_every_route_but_a_default_go_first():
    assert way("1.1.1.1", strict=False) == ETH
    assert way("203.0.113.9", strict=False) == TUN
    assert way("192.168.1.7", strict=False) == ETH


def test_local_lets_out_private_networks_where_the_host_is_in_them_and_not_the_tunnels_own():
    assert way("192.168.1.7", local=True) == ETH
    assert way("192.168.7.7", local=True) == TUN
    assert way("10.9.0.1", local=True) == TUN
    assert way("1.1.1.1", local=True) == TUN


def test_an_excluded_network_goes_by_main_whatever_it_says():
    excluded = (ip_network("203.0.113.0/24"),)
    assert way("203.0.113.9", excluded=excluded) == ETH
    assert way("198.51.100.1", excluded=excluded) == TUN


def test_closed_catches_the_other_version_too():
    policy = Policy(frozenset({4}), T, T, closed=True)
    assert {rule.version for rule in policy.rules} == {4, 6}
    assert [str(network) for network in policy.dead_ends] == ["0.0.0.0/0", "::/0"]
    assert Policy(frozenset({4}), T, T).dead_ends == ()


def test_rules_are_described_as_iproute2_has_them():
    policy = Policy(frozenset({4}), T, T, local=True, excluded=(ip_network("10.0.0.0/8"),))
    words = [described(rule) for rule in policy.rules]
    assert words[:3] == [
        "ip -4 rule add pref 32100 to 10.0.0.0/8 table 254",
        "ip -4 rule add pref 32101 not fwmark 51820 table 51820 suppress_prefixlength 0",
        "ip -4 rule add pref 32102 to 10.0.0.0/8 table 254 suppress_prefixlength 0",
    ]
    assert words[-1] == "ip -4 rule add pref 32103 not fwmark 51820 table 51820"


def test_the_table_is_the_mark_or_the_first_that_nobody_uses():
    assert free_table(Snapshot(), 0x1234) == 0x1234
    assert free_table(Snapshot(), 0) == FIRST_TABLE
    assert free_table(Snapshot(), 254) == FIRST_TABLE
    taken = Snapshot(
        routes=(Route(ANY, ETH, table=FIRST_TABLE),),
        rules=(Rule(4, 5, table=FIRST_TABLE + 1), Rule(4, 5, mark=FIRST_TABLE + 2)),
    )
    assert free_table(taken, 0) == FIRST_TABLE + 3
    assert free_table(taken, 0, promised=[FIRST_TABLE + 3]) == FIRST_TABLE + 4
    assert free_table(taken, 0, own=ETH) == FIRST_TABLE
    assert free_table(taken, 0, before=FIRST_TABLE + 1) == FIRST_TABLE + 1
    assert free_table(taken, 0x1234, before=FIRST_TABLE + 1) == 0x1234
