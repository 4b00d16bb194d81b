"""Prefixes: networks as single integers. There may be a hundred thousand, and each is named twice.

An `ip_network` takes ten times the memory and ten times as long to read.
"""

from ipaddress import IPv4Network, IPv6Network
from typing import NewType

from sacip_tun.protocol.address import Host

Network = IPv4Network | IPv6Network
# (bits of the prefix) << 9 | (bits behind it) << 1 | (1 for IPv6).
Prefix = NewType("Prefix", int)


def prefix_of(network: Network) -> Prefix:
    """Return the prefix that a network is."""
    return prefix(network.network_address.packed, network.prefixlen)


def prefix(address: bytes, length: int) -> Prefix:
    """Return the prefix of `length` bits that an address of 4 or 16 bytes is in."""
    host_bits = 8 * len(address) - length
    bits = int.from_bytes(address, "big") >> host_bits
    return Prefix(bits << 9 | host_bits << 1 | (len(address) == 16))


def network_of(code: Prefix) -> Network:
    """Return the network that a prefix is."""
    address, length = packed(code)
    kind = IPv4Network if len(address) == 4 else IPv6Network
    return kind((address, length))


def packed(code: Prefix) -> tuple[bytes, int]:
    """Return the address, 4 or 16 bytes, and the length of a prefix."""
    host_bits = code >> 1 & 0xFF
    size = 16 if code & 1 else 4
    return ((code >> 9) << host_bits).to_bytes(size, "big"), 8 * size - host_bits


def within(code: Prefix, host: Host) -> bool:
    """Tell whether an address is in a prefix."""
    host_bits, ipv6 = code >> 1 & 0xFF, code & 1
    return host.version == (6 if ipv6 else 4) and int(host) >> host_bits == code >> 9
