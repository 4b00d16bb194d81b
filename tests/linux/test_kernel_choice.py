"""The pure lookup against the kernel's own `ip route get`, over the same tables."""

import json
from ipaddress import ip_address

import pytest

from sacip_tun.linux.snapshot import Snapshot

pytestmark = pytest.mark.network

ETH = ["link add eth0 type veth peer name far0", "link set far0 up", "link set eth0 up"]
WLAN = ["link add wlan0 type veth peer name far1", "link set far1 up", "link set wlan0 up"]
TWO_PROVIDERS = [
    *ETH,
    *WLAN,
    "addr add 10.1.0.2/24 dev eth0",
    "addr add 10.2.0.2/24 dev wlan0",
    "addr add 2001:db8:1::2/64 dev eth0 nodad",
    "addr add 2001:db8:2::2/64 dev wlan0 nodad",
    "route add default via 10.1.0.1 dev eth0 metric 100",
    "route add default via 10.2.0.1 dev wlan0 metric 600",
    "-6 route add default via 2001:db8:1::1 dev eth0 metric 100",
    "-6 route add default via 2001:db8:2::1 dev wlan0 metric 600",
]
PEER, FAR, FAR6 = "192.168.1.101", "203.0.113.9", "2001:db8:99::1"
DECK_1 = [*ETH, "addr add 192.168.1.22/24 dev eth0", "addr add 192.168.1.2/24 dev eth0"]
DECK_2 = [
    *ETH,
    "addr add 192.168.1.2/25 dev eth0",
    "addr add 192.168.1.222/25 dev eth0",
    "route add default via 192.168.1.4 dev eth0 onlink",
]

CASES = {
    "deck 1": (DECK_1, PEER),
    "deck 1, promoted": ([*DECK_1, "addr del 192.168.1.22/24 dev eth0"], PEER),
    "deck 2": (DECK_2, PEER),
    "deck 2, moved": ([*DECK_2, "addr del 192.168.1.2/25 dev eth0"], PEER),
    "deck 2, far": (DECK_2, FAR),
    "two providers": (TWO_PROVIDERS, FAR),
    "two providers, other order": (
        [*TWO_PROVIDERS, "route add default via 10.2.0.1 dev wlan0 metric 50"],
        FAR,
    ),
    "two providers, on the second's link": (TWO_PROVIDERS, "10.2.0.77"),
    "two providers, first one down": ([*TWO_PROVIDERS, "link set eth0 down"], FAR),
    "two providers, IPv6": (TWO_PROVIDERS, FAR6),
    "two providers, IPv6, first one down": ([*TWO_PROVIDERS, "link set eth0 down"], FAR6),
    "preferred source": (
        [*DECK_1, f"route add {FAR}/32 via 192.168.1.4 dev eth0 src 192.168.1.2"],
        FAR,
    ),
    "more specific route": ([*TWO_PROVIDERS, f"route add {FAR}/32 via 10.2.0.1"], FAR),
    "blackhole": ([*TWO_PROVIDERS, "route add blackhole 203.0.113.0/24"], FAR),
    "unreachable": ([*TWO_PROVIDERS, "route add unreachable 203.0.113.0/24"], FAR),
    "throw": (
        [
            *TWO_PROVIDERS,
            "route add throw 203.0.113.0/24",
            "route add 203.0.113.0/24 dev wlan0 table 253",
        ],
        FAR,
    ),
    "no route": ([*ETH, "addr add 10.1.0.2/24 dev eth0"], FAR),
    "rule to another table": (
        [
            *TWO_PROVIDERS,
            "route add default via 10.2.0.1 dev wlan0 table 7",
            f"rule add to {FAR} lookup 7 pref 100",
        ],
        FAR,
    ),
    "full tunnel seen without a mark": (
        [
            *TWO_PROVIDERS,
            "route add default dev wlan0 table 7",
            "rule add not fwmark 51820 lookup 7 pref 200",
            "rule add lookup main suppress_prefixlength 0 pref 100",
        ],
        FAR,
    ),
    "gateway in the second subnet": (
        [
            *ETH,
            "addr add 10.0.0.5/24 dev eth0",
            "addr add 192.168.1.5/24 dev eth0",
            "route add default via 192.168.1.4",
        ],
        FAR,
    ),
    "borrowed address": (
        [*ETH, *WLAN, "addr add 10.1.0.2/24 dev eth0", f"route add {FAR} dev wlan0"],
        FAR,
    ),
    "loopback": (ETH, "127.0.0.1"),
    "loopback, other": (ETH, "127.0.0.9"),
    "loopback, IPv6": (ETH, "::1"),
    "own address": (TWO_PROVIDERS, "10.2.0.2"),
    "own address, IPv6": (TWO_PROVIDERS, "2001:db8:2::2"),
    "multipath": (
        [
            *TWO_PROVIDERS,
            f"route add {FAR} nexthop via 10.1.0.1 dev eth0 nexthop via 10.1.0.7 dev eth0",
        ],
        FAR,
    ),
    "IPv6 deprecated": (
        [*TWO_PROVIDERS, "addr add 2001:db8:1::9/64 dev eth0 nodad preferred_lft 0"],
        FAR6,
    ),
    "IPv6 ULA beside global, to global": (
        [*TWO_PROVIDERS, "addr add fd00::2/64 dev eth0 nodad"],
        FAR6,
    ),
    "IPv6 ULA beside global, to ULA": (
        [*TWO_PROVIDERS, "addr add fd00::2/64 dev eth0 nodad"],
        "fd00::9",
    ),
    "IPv6 longest match": (
        [*TWO_PROVIDERS, "addr add 2001:db8:98::2/64 dev eth0 nodad"],
        FAR6,
    ),
    "IPv6 preferred source": (
        [
            *TWO_PROVIDERS,
            "addr add 2001:db8:1::9/64 dev eth0 nodad",
            f"-6 route add {FAR6} via 2001:db8:1::1 dev eth0 src 2001:db8:1::9",
        ],
        FAR6,
    ),
    "IPv6 unreachable": ([*TWO_PROVIDERS, "-6 route add unreachable 2001:db8:99::/48"], FAR6),
    "IPv6 onlink": (TWO_PROVIDERS, "2001:db8:2::77"),
}


def kernel_choice(namespace, remote):
    """The kernel's source, None where it refuses."""
    try:
        (answer,) = json.loads(namespace.ip(f"-j route get {remote}"))
    except AssertionError:
        return None
    return answer.get("prefsrc")


@pytest.mark.parametrize("case", CASES)
def test_the_first_source_is_the_kernels(case, make_namespace):
    commands, remote = CASES[case]
    namespace = make_namespace()
    namespace.sysctl("net.ipv4.conf.all.promote_secondaries=1")
    for command in commands:
        namespace.ip(command)
    with namespace.entered():
        sources = Snapshot.taken().sources_towards(ip_address(remote))
    expected = kernel_choice(namespace, remote)
    first = next((str(source.host) for source in sources if source.on_kernel_route), None)
    assert first == expected
