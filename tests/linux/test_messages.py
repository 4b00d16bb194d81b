"""pyroute2's messages as facts: encoded as the kernel would, decoded, read."""

import struct
from ipaddress import ip_address, ip_network

import pytest

from sacip_tun.linux import messages, rtnetlink
from sacip_tun.linux.addresses import Address, Link
from sacip_tun.linux.messages import codecs
from sacip_tun.linux.routes import Route, RouteKind, Rule

from .encoded import UP, address_message, link_message, route_message, rule_message, wire


def test_a_link():
    assert messages.link_of(link_message()) == Link(2, "eth0", mtu=1400)


@pytest.mark.parametrize(
    ("flags", "up", "carrier"),
    [
        (messages.IFF_UP, True, False),
        (messages.IFF_UP | messages.IFF_LOWER_UP | messages.IFF_DORMANT, True, False),
        (UP, True, True),
        (0, False, False),
    ],
)
def test_a_link_is_up_and_has_carrier(flags, up, carrier):
    link = messages.link_of(link_message(flags=flags))
    assert (link.up, link.carrier) == (up, carrier)


def test_the_kind_of_a_link():
    info = ["IFLA_LINKINFO", {"attrs": [["IFLA_INFO_KIND", "veth"]]}]
    assert messages.link_of(link_message(attributes=[info])).kind == "veth"


def test_a_bridge_speaking_of_its_port_deletes_no_link():
    assert messages.link_of(link_message(family=7)) is None


def test_an_address():
    message = address_message(ADDRESS="192.0.2.1", LOCAL="192.0.2.1", LABEL="eth0")
    assert messages.address_of(message) == Address(ip_address("192.0.2.1"), 24, 2, label="eth0")


def test_a_point_to_point_address():
    address = messages.address_of(
        address_message(length=32, ADDRESS="192.0.2.9", LOCAL="192.0.2.1")
    )
    assert (address.host, address.peer) == (ip_address("192.0.2.1"), ip_address("192.0.2.9"))


@pytest.mark.parametrize(
    ("family", "flags", "true"),
    [
        (2, 0x01, {"secondary"}),
        (10, 0x01, {"temporary"}),
        (10, 0x40, {"tentative"}),
        (10, 0x44, set()),
        (10, 0x08, {"tentative"}),
        (10, 0x20, {"deprecated"}),
        (10, 0x80, set()),
        (10, 0x300, set()),
    ],
)
def test_flags_of_an_address(family, flags, true):
    host = {2: "192.0.2.1", 10: "2001:db8::1"}[family]
    address = messages.address_of(address_message(family, ADDRESS=host, FLAGS=flags))
    facts = {"secondary", "temporary", "tentative", "deprecated"}
    assert {fact for fact in facts if getattr(address, fact)} == true


def test_flags_of_old_kernels_are_in_the_header():
    assert messages.address_of(address_message(flags=0x21, ADDRESS="192.0.2.1")).deprecated


def test_addresses_of_other_families_are_nothing():
    assert messages.address_of(address_message(family=7)) is None


def test_a_default_route():
    message = route_message(GATEWAY="192.0.2.254", OIF=2, PRIORITY=100, TABLE=254)
    assert messages.routes_of(message) == [
        Route(ip_network("0.0.0.0/0"), 2, gateway=ip_address("192.0.2.254"), metric=100)
    ]


def test_a_route_with_everything():
    message = route_message(
        length=24,
        DST="203.0.113.0",
        OIF=3,
        PREFSRC="192.0.2.7",
        TABLE=51820,
        METRICS={"attrs": [["RTAX_MTU", 1280]]},
    )
    (route,) = messages.routes_of(message)
    assert route.destination == ip_network("203.0.113.0/24")
    assert route.source == ip_address("192.0.2.7")
    assert (route.table, route.mtu) == (51820, 1280)


def test_a_blackhole_has_no_interface():
    (route,) = messages.routes_of(route_message(length=24, kind=6, DST="203.0.113.0"))
    assert (route.kind, route.interface) == (RouteKind.BLACKHOLE, 0)


@pytest.mark.parametrize(("wired", "preference"), [(0, 0), (1, 1), (3, -1)])
def test_router_preference(wired, preference):
    (route,) = messages.routes_of(route_message(10, GATEWAY="fe80::1", OIF=2, PREF=wired))
    assert route.preference == preference


@pytest.mark.parametrize(("family", "kind"), [(7, 1), (2, 0), (2, 11), (129, 5)])
def test_other_families_and_types_are_no_routes(family, kind):
    assert messages.routes_of(route_message(family, kind=kind)) == []


def test_cached_exceptions_are_no_routes():
    message = route_message(OIF=2)
    message["flags"] |= messages.RTM_F_CLONED
    assert messages.routes_of(message) == []


def test_a_rule():
    message = rule_message(destination=24, DST="203.0.113.0", TABLE=7, PRIORITY=100)
    assert messages.rule_of(message) == Rule(
        4, 100, table=7, destination=ip_network("203.0.113.0/24")
    )


def test_wg_quicks_rules():
    not_marked = rule_message(flags=2, FWMARK=51820, FWMASK=0xFFFFFFFF, TABLE=51820)
    rule = messages.rule_of(not_marked)
    assert (rule.inverted, rule.mark, rule.mask) == (True, 51820, 0xFFFFFFFF)
    assert messages.rule_of(rule_message(SUPPRESS_PREFIXLEN=0)).suppressed_length == 0
    assert messages.rule_of(rule_message(SUPPRESS_PREFIXLEN=0xFFFFFFFF)).suppressed_length == -1


@pytest.mark.parametrize("selector", [{"IIFNAME": "eth1"}, {"OIFNAME": "eth1"}, {"IP_PROTO": 6}])
def test_rules_that_do_not_concern_our_datagrams(selector):
    assert messages.rule_of(rule_message(**selector)).exotic


@pytest.mark.parametrize(
    ("codec", "kinds"),
    [
        ("link", (rtnetlink.RTM_NEWLINK, rtnetlink.RTM_DELLINK)),
        ("address", (rtnetlink.RTM_NEWADDR, rtnetlink.RTM_DELADDR)),
        ("route", (rtnetlink.RTM_NEWROUTE, rtnetlink.RTM_DELROUTE)),
        ("rule", (rtnetlink.RTM_NEWRULE, rtnetlink.RTM_DELRULE)),
    ],
)
def test_each_kind_that_is_followed_is_decoded_by_its_own_codec(codec, kinds):
    made = getattr(codecs(), codec)
    for kind in kinds:
        (message,) = messages.decoded(wire(made(), kind))
        assert type(message) is made


def test_several_messages_in_one_datagram():
    message = codecs().link()
    message["index"] = 5
    data = wire(message, rtnetlink.RTM_NEWLINK)
    assert len(data) == struct.unpack_from("=I", data)[0]
    assert len(list(messages.decoded(data * 3))) == 3
