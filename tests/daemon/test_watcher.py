"""What the watcher makes of a host's state: facts for each peer, and when they are news."""

import asyncio
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest
from simulation import connected, endpoint

from sacip_tun.daemon.watcher import PEERS_A_TURN, Outlet, Watcher
from sacip_tun.linux.addresses import Address, Link
from sacip_tun.linux.routes import DEFAULT_RULES, Route
from sacip_tun.linux.snapshot import Snapshot
from sacip_tun.protocol.facts import LocalFacts
from sacip_tun.protocol.frames import Reason
from sacip_tun.protocol.settings import PeerSettings

ETH, WLAN, TUN, DOCKER = 2, 3, 9, 12
HUB, HUB_V6 = "192.0.2.101", "2001:db8:99::101"


def address(text: str, interface: int = ETH, **flags: bool) -> Address:
    host, length = text.split("/")
    return Address(ip_address(host), int(length), interface, **flags)


def route(destination: str, interface: int = ETH, gateway: str = "", metric: int = 0) -> Route:
    via = ip_address(gateway) if gateway else None
    return Route(ip_network(destination), interface, gateway=via, metric=metric)


STATE = Snapshot(
    {ETH: Link(ETH, "eth0"), WLAN: Link(WLAN, "wlan0"), TUN: Link(TUN, "sacip0", kind="tun")},
    (
        address("10.1.0.2/24"),
        address("10.2.0.2/24", WLAN),
        address("2001:db8:1::2/64"),
        address("10.9.0.2/24", TUN),
    ),
    (
        route("10.1.0.0/24"),
        route("10.2.0.0/24", WLAN),
        route("0.0.0.0/0", ETH, "10.1.0.1", 100),
        route("0.0.0.0/0", WLAN, "10.2.0.1", 600),
        route("2001:db8:1::/64"),
        route("::/0", ETH, "fe80::1", 1024),
    ),
    DEFAULT_RULES,
)


class FakeMonitor:
    def __init__(self) -> None:
        self.state = STATE

    def snapshot(self) -> Snapshot:
        return self.state


class Bench:
    """A watcher of a host that changes as the test says, and the facts that it told."""

    def __init__(self, versions: frozenset[int] = frozenset({4, 6})) -> None:
        _, laptop, _ = connected()
        self.tunnel = laptop.tunnel
        self.peer = laptop.peer
        self.peer.path.remote = self.peer.path.remote.of(endpoint(HUB))
        self.peer.exchange.candidates = (endpoint(HUB_V6),)
        self.monitor = FakeMonitor()
        self.told: list[LocalFacts] = []
        self.tunnel.addresses_changed = self._told  # type: ignore[method-assign]
        self.watcher = Watcher(
            self.monitor,  # type: ignore[arg-type]
            self.tunnel,
            outlet=Outlet(51820, versions=versions),
            own={TUN},
            settle=lambda: None,
            retry=lambda: None,
        )
        self.watcher.look(settled=True)

    def _told(self, facts: LocalFacts, *, now: float) -> None:
        assert now > 0
        self.told.append(facts)

    def change(self, **state) -> list[LocalFacts]:
        """Change the host's state, look, and return what was told then."""
        self.monitor.state = replace(self.monitor.state, **state)
        self.told.clear()
        self.watcher.look()
        return self.told

    def sources(self) -> list[tuple[str, bool, str]]:
        return [
            (str(source.endpoint.host), source.preferred, str(source.gateway))
            for source in self.watcher.sources(self.peer.key)
        ]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def without(host: str, state: Snapshot = STATE) -> tuple[Address, ...]:
    return tuple(a for a in state.addresses if str(a.host) != host)


def routes_without(gateway: str) -> tuple[Route, ...]:
    return tuple(route for route in STATE.routes if str(route.gateway) != gateway)


def in_loop(test) -> None:
    async def body() -> None:
        test()

    asyncio.run(body())


def test_both_families_the_one_in_use_first(bench):
    assert bench.sources() == [
        ("10.1.0.2", True, "10.1.0.1"),
        ("10.2.0.2", False, "10.2.0.1"),
        ("2001:db8:1::2", False, "fe80::1"),
    ]
    bench.peer.path.remote = bench.peer.path.remote.moved_to(endpoint(HUB_V6))
    bench.watcher.forget(bench.peer.key)
    assert bench.sources() == [
        ("2001:db8:1::2", True, "fe80::1"),
        ("10.1.0.2", False, "10.1.0.1"),
        ("10.2.0.2", False, "10.2.0.1"),
    ]


def test_only_the_other_family_left_is_preferred_once_that_is_settled(bench):
    def test() -> None:
        gone = tuple(a for a in STATE.addresses if a.host.version == 6)
        (facts,) = bench.change(addresses=gone) or [None]
        assert facts is None  # the promotion of a secondary may be on its way
        bench.watcher.look(settled=True)
        assert bench.sources() == [("2001:db8:1::2", True, "fe80::1")]
        assert bench.told[-1].reasons[ip_address("2001:db8:1::2")] is Reason.ROUTE_CHANGED

    in_loop(test)


def test_a_socket_of_one_family_limits_the_sources():
    assert [host for host, *_ in Bench(frozenset({4})).sources()] == ["10.1.0.2", "10.2.0.2"]
    only_v6 = Bench(frozenset({6}))
    assert only_v6.sources() == [("2001:db8:1::2", True, "fe80::1")]
    assert only_v6.told[-1].candidates == (ip_address("2001:db8:1::2"),)


def test_a_peer_that_is_nowhere_has_candidates_only(bench):
    bench.peer.path.remote = bench.peer.path.remote.of(None)
    bench.peer.exchange.candidates = ()
    bench.peer.where.configured = ()
    bench.watcher.forget(bench.peer.key)
    assert bench.watcher.sources(bench.peer.key) == ()


def test_a_peer_without_an_active_address_is_sought_where_it_may_be(bench):
    bench.peer.path.remote = bench.peer.path.remote.of(None)
    bench.peer.where.configured = ()
    bench.watcher.forget(bench.peer.key)
    assert bench.sources() == [("2001:db8:1::2", True, "fe80::1")]


def test_a_better_default_route_by_another_interface(bench):
    (facts,) = bench.change(routes=(*STATE.routes, route("0.0.0.0/0", WLAN, "10.2.0.1", 50)))
    assert bench.sources()[:2] == [("10.2.0.2", True, "10.2.0.1"), ("10.1.0.2", False, "10.1.0.1")]
    assert facts.sources[bench.peer.key][1].endpoint.interface == ETH


def test_another_gateway_on_the_same_interface(bench):
    routes = (*routes_without("10.1.0.1"), route("0.0.0.0/0", ETH, "10.1.0.9", 100))
    (facts,) = bench.change(routes=routes)
    assert str(facts.sources[bench.peer.key][0].gateway) == "10.1.0.9"


def test_a_renamed_interface_is_no_news(bench):
    assert bench.change(links={**STATE.links, ETH: Link(ETH, "lan7")}) == []


def test_an_interface_that_is_gone_takes_its_sources_along(bench):
    in_loop(lambda: _lose_ethernet(bench))


def _lose_ethernet(bench: Bench) -> None:
    links = {index: link for index, link in STATE.links.items() if index != ETH}
    addresses = tuple(a for a in STATE.addresses if a.interface != ETH)
    routes = tuple(r for r in STATE.routes if r.interface != ETH)
    (facts,) = bench.change(links=links, addresses=addresses, routes=routes)
    assert bench.sources() == [("10.2.0.2", True, "10.2.0.1")]
    assert facts.reasons[ip_address("10.1.0.2")] is Reason.ADDRESS_REMOVED
    assert facts.candidates == (ip_address("10.2.0.2"),)


def test_containers_coming_and_going_are_no_news(bench):
    for number in range(20):
        index = DOCKER + number
        docker = {index: Link(index, f"veth{number}", kind="veth")}
        bridge = address(f"172.17.{number}.1/16", index)
        local = address(f"fe80::{number:x}/64", index, tentative=True)
        assert bench.change(links={**STATE.links, **docker}) == []
        assert bench.change(addresses=(*STATE.addresses, bridge, local)) == []
        assert bench.change(routes=(*STATE.routes, route("172.17.0.0/16", index))) == []


def test_a_tentative_address_is_no_news_before_it_is_ready(bench):
    tentative = address("2001:db8:1::7/64", tentative=True)
    assert bench.change(addresses=(*STATE.addresses, tentative)) == []
    (facts,) = bench.change(addresses=(*STATE.addresses, replace(tentative, tentative=False)))
    assert "2001:db8:1::7" in [str(s.endpoint.host) for s in facts.sources[bench.peer.key]]


def test_candidates_are_told_though_no_peers_sources_changed(bench):
    assert bench.told[-1].candidates == tuple(
        ip_address(host) for host in ("2001:db8:1::2", "10.1.0.2", "10.2.0.2")
    )
    link = {7: Link(7, "eth7")}
    (facts,) = bench.change(
        links={**STATE.links, **link}, addresses=(*STATE.addresses, address("10.7.0.2/24", 7))
    )
    assert facts.sources == {}
    assert facts.candidates[-1] == ip_address("10.7.0.2")


def test_candidates_wait_with_the_bad_news_that_is_not_settled(bench):
    def test() -> None:
        only_v4 = tuple(a for a in STATE.addresses if a.host.version == 4)
        bench.change(addresses=only_v4)
        assert bench.change(addresses=()) == []
        bench.watcher.look(settled=True)
        assert bench.told[-1].candidates == ()
        assert bench.sources() == []

    in_loop(test)


def test_a_link_local_destination_without_its_link_leads_nowhere(bench):
    bench.peer.exchange.candidates = (endpoint("fe80::9"), endpoint(HUB_V6))
    bench.watcher.forget(bench.peer.key)
    assert bench.sources()[-1] == ("2001:db8:1::2", False, "fe80::1")


def crowded(bench: Bench, count: int) -> list[bytes]:
    """Give the bench's tunnel so many more peers at the same place."""
    keys = [b"%032d" % number for number in range(count)]
    for key in keys:
        bench.tunnel.add_peer(PeerSettings(key, endpoint=endpoint(HUB)), [], now=0.0)
    return keys


def test_thousands_of_peers_are_looked_at_in_turns_of_the_loop(bench):
    keys = crowded(bench, 3 * PEERS_A_TURN)

    async def test() -> None:
        bench.told.clear()
        bench.watcher.look(settled=True)
        for turn in range(1, 4):
            assert sum(map(bool, map(bench.watcher.sources, keys))) < turn * PEERS_A_TURN
            await asyncio.sleep(0)
        assert all(map(bench.watcher.sources, keys))
        assert max(len(facts.sources) for facts in bench.told) == PEERS_A_TURN
        assert sum(len(facts.sources) for facts in bench.told) == len(keys)

    asyncio.run(test())


def test_who_was_not_come_to_is_looked_at_first_after_the_next_change(bench):
    keys = crowded(bench, 3 * PEERS_A_TURN)

    async def test() -> None:
        bench.watcher.look(settled=True)
        first = {key for key in keys if bench.watcher.sources(key)}
        bench.change(addresses=without("10.1.0.2"))
        (facts,) = bench.told
        assert not first & facts.sources.keys()
        for _ in range(3):
            await asyncio.sleep(0)
        assert all(map(bench.watcher.sources, keys))
        await bench.watcher.stop()

    asyncio.run(test())


def test_where_one_peer_is_new_no_other_is_looked_at(bench):
    keys = crowded(bench, 10)
    bench.told.clear()
    bench.watcher.look_at(keys[3])
    (facts,) = bench.told
    assert list(facts.sources) == [keys[3]]
    bench.watcher.forget(keys[3])
    assert list(bench.told[-1].sources) == [keys[3]]


def test_where_the_host_is_new_too_all_are_looked_at(bench):
    keys = crowded(bench, 10)
    bench.monitor.state = replace(STATE, addresses=without("10.2.0.2"))
    bench.told.clear()
    bench.watcher.look_at(keys[3])
    (facts,) = bench.told
    assert facts.sources.keys() == {bench.peer.key, *keys}
