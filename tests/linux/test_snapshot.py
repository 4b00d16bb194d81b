from ipaddress import ip_address, ip_network

import pytest

from sacip_tun.linux import rtnetlink
from sacip_tun.linux.addresses import Link
from sacip_tun.linux.routes import DEFAULT_RULES, Route
from sacip_tun.linux.snapshot import ETHERNET_MTU, Change, Snapshot, Tables

from . import encoded

SECONDARY = 0x01


def told(message, kind, flags=0):
    message["header"]["type"] = kind
    message["header"]["flags"] = flags
    return message


def link(**facts):
    return told(encoded.link_message(**facts), rtnetlink.RTM_NEWLINK)


def address(host, *, gone=False, flags=0):
    message = encoded.address_message(ADDRESS=host, LOCAL=host, FLAGS=flags)
    return told(message, rtnetlink.RTM_DELADDR if gone else rtnetlink.RTM_NEWADDR)


def route(destination="0.0.0.0/0", *, gone=False, replace=False, **attributes):
    network = ip_network(destination)
    message = encoded.route_message(
        length=network.prefixlen, DST=str(network.network_address), OIF=2, **attributes
    )
    kind = rtnetlink.RTM_DELROUTE if gone else rtnetlink.RTM_NEWROUTE
    return told(message, kind, rtnetlink.NLM_F_REPLACE if replace else 0)


def after(*said):
    tables = Tables()
    for message in said:
        tables.apply(message)
    return Snapshot(*tables.contents())


def hosts(snapshot):
    return [str(address.host) for address in snapshot.addresses]


def test_addresses_come_and_go():
    old, new = address("192.168.1.22"), address("192.168.1.2", flags=SECONDARY)
    assert hosts(after(old, new)) == ["192.168.1.22", "192.168.1.2"]
    assert hosts(after(old, new, address("192.168.1.22", gone=True))) == ["192.168.1.2"]


def test_the_same_message_twice_changes_nothing():
    once, twice = after(address("10.0.0.1"), route()), after(*[address("10.0.0.1"), route()] * 2)
    assert not Change.between(once, twice)


def test_a_promoted_secondary_stands_behind_the_other_primaries():
    state = after(
        address("10.0.0.1"),
        address("10.0.0.2", flags=SECONDARY),
        address("172.16.0.1"),
        address("10.0.0.1", gone=True),
        address("10.0.0.2"),
    )
    assert hosts(state) == ["172.16.0.1", "10.0.0.2"]


def test_a_link_that_is_deleted_takes_its_addresses_and_routes_along():
    deletion = told(encoded.link_message(), rtnetlink.RTM_DELLINK)
    state = after(link(), address("10.0.0.1"), route(), deletion)
    assert (state.links, state.addresses, state.routes) == ({}, (), ())


def test_a_bridge_losing_a_port_is_not_a_deletion():
    message = told(encoded.link_message(family=7), rtnetlink.RTM_DELLINK)
    assert 2 in after(link(), message).links


def test_a_link_going_down_takes_its_routes_along_silently():
    state = after(link(), address("10.0.0.1"), route(), link(flags=0))
    assert state.routes == ()
    assert hosts(state) == ["10.0.0.1"]


def test_routes_of_a_deleted_source_go_silently():
    state = after(
        address("10.0.0.1"),
        address("10.0.0.2"),
        route("203.0.113.0/24", PREFSRC="10.0.0.1"),
        route("198.51.100.0/24"),
        address("10.0.0.1", gone=True),
    )
    assert [str(route.destination) for route in state.routes] == ["198.51.100.0/24"]


def test_all_routes_go_silently_with_the_last_address():
    state = after(address("10.0.0.1"), route(), address("10.0.0.1", gone=True))
    assert state.routes == ()


def test_routes_come_and_go_by_gateway_and_metric():
    one, two = {"GATEWAY": "10.0.0.1"}, {"GATEWAY": "10.0.0.9", "PRIORITY": 5}
    state = after(route(**one), route(**two), route(gone=True, **one))
    assert [str(found.gateway) for found in state.routes] == ["10.0.0.9"]


def test_a_replacing_route_takes_the_place_of_the_old_one():
    state = after(
        route(GATEWAY="10.0.0.1"),
        route(GATEWAY="10.0.0.9", PRIORITY=7),
        route(GATEWAY="10.0.0.2", replace=True),
    )
    assert sorted(str(found.gateway) for found in state.routes) == ["10.0.0.2", "10.0.0.9"]


def test_rules_come_and_go():
    rule = encoded.rule_message(TABLE=7, PRIORITY=100)
    assert len(after(told(rule, rtnetlink.RTM_NEWRULE)).rules) == 1
    there = told(encoded.rule_message(TABLE=7, PRIORITY=100), rtnetlink.RTM_NEWRULE)
    assert after(there, told(rule, rtnetlink.RTM_DELRULE)).rules == ()


def test_other_messages_change_nothing():
    assert not Change.between(after(), after(told(encoded.link_message(), 68)))


def test_hosts_holds_every_address():
    state = after(address("10.0.0.1"), address("10.0.0.2", flags=0x40))
    assert state.hosts == {ip_address("10.0.0.1"), ip_address("10.0.0.2")}


# Changes


def test_a_change_says_what_was_gained_lost_and_altered():
    before = after(address("10.0.0.1"), address("10.0.0.2"))
    now = after(address("10.0.0.2", flags=0x20), address("10.0.0.3"))
    change = Change.between(before, now)
    assert [str(address.host) for address in change.gained] == ["10.0.0.3"]
    assert [str(address.host) for address in change.lost] == ["10.0.0.1"]
    assert [str(address.host) for address in change.altered] == ["10.0.0.2"]
    assert not change.links
    assert not change.routes


def test_a_change_of_links():
    up, down = after(link()), after(link(flags=1))
    assert Change.between(up, down).links == (down.links[2],)
    assert Change.between(up, after()).links == (up.links[2],)
    assert Change.between(after(), up).links == (up.links[2],)


def test_the_order_of_routes_is_no_change():
    one, two = route(GATEWAY="10.0.0.1"), route(GATEWAY="10.0.0.2", PRIORITY=1)
    assert not Change.between(after(one, two), after(two, one))
    assert Change.between(after(one), after(one, two)).routes


# The MTU rule of wg-quick


def with_routes(*routes):
    links = {2: Link(2, "eth0", mtu=1400), 3: Link(3, "eth1", mtu=9000)}
    return Snapshot(links, (), routes, DEFAULT_RULES)


DEFAULT = Route(ip_network("0.0.0.0/0"), 2)
LAN = Route(ip_network("10.0.0.0/8"), 3)
NARROW = Route(ip_network("203.0.113.0/24"), 2, mtu=1280)


@pytest.mark.parametrize(
    ("remotes", "mtu"),
    [
        (["10.1.1.1"], 9000),
        (["10.1.1.1", "8.8.8.8"], 1400),
        (["10.1.1.1", "203.0.113.1", "8.8.8.8"], 1280),
        ([], 1400),
        (["2001:db8::1"], 1400),
    ],
)
def test_the_smallest_mtu_of_the_routes_counts_else_the_default_routes(remotes, mtu):
    state = with_routes(DEFAULT, LAN, NARROW)
    assert state.route_mtu(map(ip_address, remotes)) == mtu


def test_without_routes_the_mtu_is_ethernets():
    assert with_routes().route_mtu([ip_address("8.8.8.8")]) == ETHERNET_MTU


def test_our_own_tun_does_not_count():
    state = with_routes(DEFAULT, LAN)
    assert state.route_mtu([ip_address("10.1.1.1")], exclude={3}) == 1400


def global_ipv6(host, **options):
    message = encoded.address_message(family=10, length=64, ADDRESS=host, **options)
    return told(message, rtnetlink.RTM_NEWADDR)


def test_the_newest_global_ipv6_address_is_first_as_in_the_kernels_list():
    state = after(global_ipv6("2001:db8::1"), global_ipv6("2001:db8::2"))
    assert hosts(state) == ["2001:db8::2", "2001:db8::1"]
    again = after(
        global_ipv6("2001:db8::1"), global_ipv6("2001:db8::2"), global_ipv6("2001:db8::1")
    )
    assert hosts(again) == hosts(state)


def test_broadcasts_are_of_ipv4_networks_that_have_one():
    point_to_point = encoded.address_message(length=31, ADDRESS="10.1.0.0", LOCAL="10.1.0.0")
    state = after(address("10.0.0.1"), told(point_to_point, rtnetlink.RTM_NEWADDR))
    assert state.broadcasts == {ip_address("10.0.0.255")}
