import json
import os
from ipaddress import ip_address, ip_interface, ip_network

import pytest

from sacip_tun.linux.errors import InterfaceError
from sacip_tun.linux.interface import add_routes, configure, interface_index, route_body, route_mtu
from sacip_tun.linux.messages import decoded, routes_of
from sacip_tun.linux.rtnetlink import NLMSGHDR, RTM_NEWROUTE
from sacip_tun.linux.tun import Tun

IPV4, IPV6 = ip_interface("10.9.0.1/24"), ip_interface("fd00:9::1/64")


@pytest.mark.parametrize(
    ("mtu", "addresses", "advice"),
    [
        (575, [IPV4], "576 to 65535"),
        (65536, [IPV4], "576 to 65535"),
        (1279, [IPV4, IPV6], "1280 to 65535, because there is an IPv6 address"),
        (0, [], "576 to 65535"),
    ],
)
def test_an_impossible_mtu_is_refused_first(mtu, addresses, advice):
    with pytest.raises(InterfaceError) as caught:
        configure(1, addresses, mtu)
    assert advice in caught.value.fix


def test_the_loopback_has_an_index():
    assert interface_index("lo") == 1
    with pytest.raises(OSError, match=r"No such device|no interface"):
        interface_index("no-such-link")


@pytest.fixture
def tun(namespace):  # noqa: ARG001  it is opened inside it
    opened = Tun.open("sacip0")
    yield opened
    opened.close()


def networks(*texts):
    return [ip_network(text) for text in texts]


def configure_with(index, addresses, mtu, routes, *, table=254):
    """As `up` does it with routes in one table."""
    configure(index, addresses, mtu)
    add_routes(index, routes, table, addresses if table == 254 else ())


def shown(namespace, arguments):
    return json.loads(namespace.ip(f"-j {arguments}"))


def routes(namespace, family="-4"):
    found = shown(namespace, f"{family} route show dev sacip0")
    return sorted(route["dst"] for route in found)


@pytest.mark.network
def test_addresses_mtu_queue_and_state(tun, namespace):
    configure(tun.index, [IPV4, IPV6], 1420)
    (link,) = shown(namespace, "addr show dev sacip0")
    assert (link["mtu"], link["txqlen"]) == (1420, 128)
    assert "UP" in link["flags"]
    addresses = {(entry["local"], entry["prefixlen"]) for entry in link["addr_info"]}
    assert addresses == {("10.9.0.1", 24), ("fd00:9::1", 64)}


@pytest.mark.network
def test_the_kernel_sends_nothing_of_its_own(tun):
    configure(tun.index, [IPV4, IPV6], 1420)
    with pytest.raises(BlockingIOError):
        tun.read(memoryview(bytearray(70000)))


@pytest.mark.network
def test_routes_beside_the_connected_ones(tun, namespace):
    wanted = networks("10.9.0.0/24", "10.9.0.7/32", "192.168.7.0/24", "fd00:7::/48")
    configure_with(tun.index, [IPV4, IPV6], 1420, wanted)
    assert routes(namespace) == ["10.9.0.0/24", "192.168.7.0/24"]
    assert routes(namespace, "-6") == ["fd00:7::/48", "fd00:9::/64"]


@pytest.mark.network
def test_configuring_twice_is_harmless(tun, namespace):
    for _ in range(2):
        configure_with(tun.index, [IPV4], 1420, networks("192.168.7.0/24"))
    assert routes(namespace) == ["10.9.0.0/24", "192.168.7.0/24"]


@pytest.mark.network
def test_another_table(tun, namespace):
    configure_with(tun.index, [IPV4], 1420, networks("192.168.7.0/24"), table=51820)
    (route,) = shown(namespace, "route show table 51820")
    assert route["dst"] == "192.168.7.0/24"


@pytest.mark.network
def test_a_route_that_others_have_is_not_stolen(tun, namespace):
    namespace.ip("link add eth0 type veth peer name far0")
    namespace.ip("link set eth0 up")
    namespace.ip("addr add 192.168.7.1/24 dev eth0")
    with pytest.raises(InterfaceError, match=r"another route for 192\.168\.7\.0/24"):
        configure_with(tun.index, [IPV4], 1420, networks("192.168.7.0/24"))


@pytest.mark.network
def test_an_interface_that_is_gone_says_so(tun):
    index = tun.index
    tun.close()
    with pytest.raises(InterfaceError, match="gone"):
        configure(index, [IPV4], 1420)


@pytest.mark.network
def test_without_ipv6_the_cure_is_named(namespace):
    namespace.sysctl("net.ipv6.conf.default.disable_ipv6=1")
    namespace.sysctl("net.ipv6.conf.all.disable_ipv6=1")
    tun = Tun.open("sacip0")
    with pytest.raises(InterfaceError) as caught:
        configure(tun.index, [IPV6], 1420)
    assert "disable_ipv6=0" in caught.value.fix
    configure(tun.index, [IPV4], 1420)
    tun.close()


@pytest.mark.network
def test_without_a_privilege_it_says_so(tun):
    """The child gives up root; only its exit status comes back."""
    child = os.fork()
    if child == 0:
        os.setuid(65534)
        try:
            configure(tun.index, [IPV4], 1420)
        except InterfaceError as error:
            os._exit(0 if error.missing else 1)
        os._exit(2)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


@pytest.mark.network
def test_the_mtu_of_the_route_to_the_endpoint(namespace):
    assert route_mtu([ip_address("203.0.113.9")]) == 1500
    namespace.ip("link add eth0 mtu 1400 type veth peer name far0")
    namespace.ip("link set eth0 up")
    namespace.ip("addr add 10.1.0.2/24 dev eth0")
    namespace.ip("route add 203.0.113.9 via 10.1.0.1 mtu 1300")
    assert route_mtu([ip_address("203.0.113.9")]) == 1300
    assert route_mtu([ip_address("203.0.113.9"), ip_address("10.1.0.9")]) == 1300
    assert route_mtu([ip_address("10.1.0.9")]) == 1400


@pytest.mark.network
def test_thousands_of_routes_of_both_families(tun, namespace):
    wanted = [ip_network(f"10.{n // 256}.{n % 256}.0/24") for n in range(1000)]
    wanted += [ip_network(f"fd00:{n:x}::/32") for n in range(100, 300)]
    configure_with(tun.index, [IPV4], 1420, wanted)
    assert len(routes(namespace)) == 1001  # with that of the address
    assert set(routes(namespace, "-6")) == {f"fd00:{n:x}::/32" for n in range(100, 300)}


@pytest.mark.network
def test_one_route_among_many_that_others_have(tun, namespace):
    namespace.ip("link add eth0 type veth peer name far0")
    namespace.ip("link set eth0 up")
    namespace.ip("addr add 192.168.77.1/24 dev eth0")
    wanted = [ip_network(f"192.168.{n}.0/24") for n in range(200)]
    with pytest.raises(InterfaceError, match=r"another route for 192\.168\.77\.0/24"):
        configure_with(tun.index, [IPV4], 1420, wanted)


@pytest.mark.parametrize("network", ["10.1.2.0/24", "192.0.2.7/32", "fd00:7::/48"])
@pytest.mark.parametrize(("table", "scope"), [(254, 253), (51820, 0)])
def test_a_route_is_packed_as_pyroute2_reads_it(network: str, table: int, scope: int) -> None:
    body = route_body(7, ip_network(network), table, scope)
    header = NLMSGHDR.pack(NLMSGHDR.size + len(body), RTM_NEWROUTE, 0, 1, 0)
    (message,) = decoded(header + body)
    (route,) = routes_of(message)
    assert (route.destination, route.interface, route.table) == (ip_network(network), 7, table)
    assert (route.gateway, route.metric, message["proto"]) == (None, 0, 83)
    assert route.scope == (scope if route.destination.version == 4 else 0)
