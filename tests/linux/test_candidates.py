"""Where a peer may find this host: what is offered, and in which order."""

from ipaddress import ip_address

from sacip_tun.linux.addresses import SCOPE_LINK, Link
from sacip_tun.linux.candidates import MAX_CANDIDATES

from .test_sources import ETH, TUN, WLAN, address, connected, default, snapshot

DOCKER = 5


def found(addresses, routes=(), links=(), **options):
    state = snapshot(addresses, routes, links)
    return [str(host) for host in state.candidates(**options)]


def test_addresses_with_a_default_route_come_first_best_metric_before():
    addresses = [
        address("10.3.0.2/24", DOCKER),
        address("10.1.0.2/24", ETH),
        address("10.2.0.2/24", WLAN),
    ]
    routes = [default("10.1.0.1", ETH, metric=600), default("10.2.0.1", WLAN, metric=100)]
    links = [Link(DOCKER, "eth2")]
    assert found(addresses, routes, links) == ["10.2.0.2", "10.1.0.2", "10.3.0.2"]


def test_stable_ones_come_before_temporary_ones():
    addresses = [address("2001:db8::2/64", temporary=True), address("2001:db8::1/64")]
    assert found(addresses, [default("fe80::1")]) == ["2001:db8::1", "2001:db8::2"]


def test_the_families_take_turns():
    addresses = [
        *(address(f"10.1.0.{number}/24") for number in range(1, 8)),
        *(address(f"2001:db8::{number}/64") for number in range(1, 8)),
    ]
    candidates = found(addresses)
    assert candidates[:4] == ["2001:db8::1", "10.1.0.1", "2001:db8::2", "10.1.0.2"]
    assert len(candidates) == MAX_CANDIDATES


def test_only_families_that_there_is_a_socket_for():
    addresses = [address("10.1.0.2/24"), address("2001:db8::1/64")]
    assert found(addresses, versions={4}) == ["10.1.0.2"]
    assert found(addresses, versions={6}) == ["2001:db8::1"]


def test_what_no_peer_could_use_is_left_out():
    assert (
        found(
            [
                address("2001:db8::1/64", tentative=True),
                address("2001:db8::2/64", deprecated=True),
                address("fe80::5/64", scope=SCOPE_LINK),
                address("169.254.7.7/16", scope=SCOPE_LINK),
                address("224.0.0.9/32"),
            ]
        )
        == []
    )


def test_a_link_without_carrier_offers_nothing():
    addresses = [address("10.1.0.2/24"), address("10.2.0.2/24", WLAN)]
    assert found(addresses, links=[Link(ETH, "eth0", carrier=False)]) == ["10.2.0.2"]


def test_tunnels_are_left_out_ours_and_others():
    addresses = [address("10.9.0.2/24", TUN), address("10.1.0.2/24")]
    for kind in ("tun", "wireguard"):
        assert found(addresses, links=[Link(TUN, "vpn0", kind=kind)]) == ["10.1.0.2"]
    unnamed = Link(TUN, "sacip0")
    assert found(addresses, links=[unnamed], exclude={TUN}) == ["10.1.0.2"]


def test_a_default_route_into_a_tunnel_makes_no_uplink():
    addresses = [address("10.1.0.2/24"), address("172.17.0.1/16", DOCKER)]
    links = [Link(TUN, "vpn0", kind="tun"), Link(DOCKER, "docker0", kind="bridge")]
    assert found(addresses, [default("10.9.0.1", TUN)], links) == ["10.1.0.2", "172.17.0.1"]


def test_bridges_of_containers_are_left_out_where_the_host_has_an_uplink():
    addresses = [address("172.17.0.1/16", DOCKER), address("10.1.0.2/24")]
    docker = [Link(DOCKER, "docker0", kind="bridge")]
    assert found(addresses, [default("10.1.0.1")], docker) == ["10.1.0.2"]
    # A host whose uplink is a bridge, and one in a lab without any default route.
    assert found(addresses, [default("172.17.0.9", DOCKER)], docker)[0] == "172.17.0.1"
    assert found(addresses, [], docker) == ["172.17.0.1", "10.1.0.2"]


def test_one_address_on_two_interfaces_is_one_candidate():
    addresses = [address("10.1.0.2/24", ETH), address("10.1.0.2/24", WLAN)]
    routes = [connected("10.1.0.0/24", ETH), connected("10.1.0.0/24", WLAN)]
    assert snapshot(addresses, routes).candidates() == (ip_address("10.1.0.2"),)
