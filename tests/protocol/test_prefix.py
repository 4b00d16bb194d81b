"""Prefixes as numbers say the same as networks do."""

from ipaddress import IPv4Network, IPv6Network

from hypothesis import given
from hypothesis import strategies as st

from sacip_tun.protocol.prefix import network_of, packed, prefix, prefix_of

fours = st.builds(
    lambda bits, length: IPv4Network((bits, length), strict=False),
    st.integers(0, 2**32 - 1),
    st.integers(0, 32),
)
sixes = st.builds(
    lambda bits, length: IPv6Network((bits, length), strict=False),
    st.integers(0, 2**128 - 1),
    st.integers(0, 128),
)
networks = fours | sixes


@given(networks)
def test_a_network_comes_back(network):
    assert network_of(prefix_of(network)) == network
    assert packed(prefix_of(network)) == (network.network_address.packed, network.prefixlen)


@given(networks, networks)
def test_different_networks_are_different_numbers(one, other):
    assert (prefix_of(one) == prefix_of(other)) == (one == other)
    assert prefix_of(one) >= 0


def test_host_bits_are_cleared():
    assert network_of(prefix(bytes((10, 1, 2, 3)), 16)) == IPv4Network("10.1.0.0/16")
