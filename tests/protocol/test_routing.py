"""Allowed IPs: the longest prefix wins, one owner a network, the same as a naive list."""

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sacip_tun.protocol.routing import AllowedIPs, Network


def table(*entries: tuple[str, str]) -> AllowedIPs[str]:
    allowed = AllowedIPs[str]()
    for network, owner in entries:
        allowed.insert(ip_network(network), owner)
    return allowed


def packed(text: str) -> bytes:
    return ip_address(text).packed


def test_the_longest_prefix_wins_in_any_order() -> None:
    entries = [
        ("0.0.0.0/0", "all"),
        ("10.0.0.0/8", "ten"),
        ("10.1.0.0/16", "net"),
        ("10.1.2.3/32", "host"),
    ]
    for allowed in (table(*entries), table(*reversed(entries))):
        assert allowed.lookup(packed("10.1.2.3")) == "host"
        assert allowed.lookup(packed("10.1.2.4")) == "net"
        assert allowed.lookup(packed("10.2.0.0")) == "ten"
        assert allowed.lookup(packed("192.0.2.1")) == "all"


def test_families_are_apart() -> None:
    allowed = table(("0.0.0.0/0", "four"))
    assert allowed.lookup(packed("::")) is None
    assert allowed.lookup(packed("::ffff:10.0.0.1")) is None
    allowed.insert(ip_network("::/0"), "six")
    assert allowed.lookup(packed("::ffff:10.0.0.1")) == "six"
    assert allowed.lookup(packed("0.0.0.1")) == "four"


def test_edges_of_prefixes() -> None:
    allowed = table(("192.168.4.0/22", "a"), ("2001:db8::/33", "b"))
    assert allowed.lookup(packed("192.168.3.255")) is None
    assert allowed.lookup(packed("192.168.4.0")) == "a"
    assert allowed.lookup(packed("192.168.7.255")) == "a"
    assert allowed.lookup(packed("192.168.8.0")) is None
    assert allowed.lookup(packed("2001:db8:7fff:ffff:ffff:ffff:ffff:ffff")) == "b"
    assert allowed.lookup(packed("2001:db8:8000::")) is None


@pytest.mark.parametrize("length", [0, 1, 3, 5, 15, 17, 300])
def test_addresses_of_other_lengths_belong_to_nobody(length: int) -> None:
    assert table(("0.0.0.0/0", "a"), ("::/0", "b")).lookup(bytes(length)) is None


def test_a_network_moves_to_its_new_owner() -> None:
    allowed = table(("10.0.0.0/8", "a"), ("10.0.0.0/16", "a"))
    allowed.insert(ip_network("10.0.0.0/8"), "b")
    assert allowed.lookup(packed("10.9.9.9")) == "b"
    assert allowed.lookup(packed("10.0.9.9")) == "a"
    assert allowed.networks_of("a") == [ip_network("10.0.0.0/16")]
    assert allowed.networks_of("b") == [ip_network("10.0.0.0/8")]


def test_a_part_of_somebodys_network_is_not_his() -> None:
    allowed = table(("10.0.0.0/8", "a"), ("10.1.0.0/16", "b"))
    assert allowed.lookup(packed("10.1.0.1")) == "b"


def test_the_last_network_may_move_away() -> None:
    allowed = table(("10.0.0.0/8", "a"), ("10.0.0.0/8", "b"))
    assert allowed.networks_of("a") == []
    allowed.remove_value("a")
    assert allowed.lookup(packed("10.0.0.1")) == "b"


def test_inserting_twice_is_inserting_once() -> None:
    allowed = table(("10.0.0.0/8", "a"), ("10.0.0.0/8", "a"))
    assert allowed.networks_of("a") == [ip_network("10.0.0.0/8")]
    allowed.remove_value("a")
    assert allowed.lookup(packed("10.0.0.1")) is None


def test_removal_uncovers_the_shorter_prefix() -> None:
    allowed = table(("10.0.0.0/8", "a"), ("10.1.0.0/16", "b"), ("::/0", "b"))
    allowed.remove_value("b")
    assert allowed.lookup(packed("10.1.0.1")) == "a"
    assert allowed.lookup(packed("::1")) is None
    assert allowed.networks_of("b") == []


def test_removing_nobody_does_no_harm() -> None:
    allowed = table(("10.0.0.0/8", "a"))
    allowed.remove_value("nobody")
    assert allowed.networks_of("nobody") == []
    assert allowed.lookup(packed("10.0.0.1")) == "a"


def test_owners_that_are_false_are_owners() -> None:
    allowed = AllowedIPs[int]()
    allowed.insert(ip_network("10.0.0.0/8"), 0)
    assert allowed.lookup(packed("10.0.0.1")) == 0
    allowed.insert(ip_network("10.0.0.0/8"), 1)
    assert allowed.networks_of(0) == []


def narrow_v4(number: int, length: int) -> Network:
    """Networks that differ in few bits, so that they do overlap."""
    return IPv4Network((0x0A000000 | number << 12, length), strict=False)


def narrow_v6(number: int, length: int) -> Network:
    return IPv6Network((0x20010DB8 << 96 | number << 100, length), strict=False)


networks = st.one_of(
    st.builds(narrow_v4, st.integers(0, 255), st.integers(0, 32)),
    st.builds(narrow_v6, st.integers(0, 255), st.integers(0, 128)),
)
owners = st.sampled_from("abc")
steps = st.lists(st.one_of(st.tuples(networks, owners), owners), max_size=40)


@given(steps, st.lists(st.integers(0, 255), min_size=1))
def test_against_a_naive_list(steps: list[tuple[Network, str] | str], probes: list[int]) -> None:
    allowed, model = AllowedIPs[str](), dict[Network, str]()
    for step in steps:
        if isinstance(step, str):
            allowed.remove_value(step)
            model = {network: owner for network, owner in model.items() if owner != step}
        else:
            allowed.insert(*step)
            model[step[0]] = step[1]
    for probe in probes:
        for network in (narrow_v4(probe, 32), narrow_v6(probe, 128)):
            address = network.network_address
            holding = [n for n in model if n.version == address.version and address in n]
            longest = max(holding, key=lambda n: n.prefixlen, default=None)
            assert allowed.lookup(address.packed) == (longest and model[longest])
    for owner in "abc":
        expected = {network for network, has in model.items() if has == owner}
        assert set(allowed.networks_of(owner)) == expected
        assert len(allowed.networks_of(owner)) == len(expected)


def test_many_networks() -> None:
    """Insertion, lookup and removal do not go through all of them."""
    allowed = AllowedIPs[int]()
    for number in range(20_000):
        allowed.insert(IPv4Network((0x0A000000 | number << 8, 24)), number % 1000)
    assert allowed.lookup(packed("10.0.7.1")) == 7
    assert len(allowed.networks_of(7)) == 20
    for number in range(1000):
        allowed.remove_value(number)
    assert allowed.lookup(packed("10.0.7.1")) is None
