"""The monitor against a real kernel, under both event loops."""

import asyncio
import errno
from ipaddress import ip_address

import pytest
import uvloop

from sacip_tun.linux import netlink
from sacip_tun.linux.netlink import NetlinkMonitor
from sacip_tun.linux.snapshot import Snapshot

pytestmark = pytest.mark.network

# To end a test that waits for a change in vain, in seconds.
PATIENCE = 10


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def watch(request, namespace):
    """A function that runs a coroutine function with a monitor of a namespace with eth0."""
    namespace.ip("link add eth0 type veth peer name far0")
    namespace.ip("link set far0 up")
    namespace.ip("link set eth0 addrgenmode none up")
    namespace.sysctl("net.ipv4.conf.all.promote_secondaries=1")

    def run(test):
        async def body():
            async with asyncio.timeout(PATIENCE), NetlinkMonitor.open() as monitor:
                await test(monitor)

        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(body())

    return run


async def changes_until(monitor, reached):
    """All changes up to the one after which `reached(snapshot)` holds."""
    seen = []
    while not reached(monitor.snapshot()):
        seen.append(await anext(monitor))
    return seen


def has(host):
    return lambda snapshot: ip_address(host) in snapshot.hosts


def lacks(host):
    return lambda snapshot: ip_address(host) not in snapshot.hosts


def facts(snapshot):
    return (
        snapshot.links,
        set(snapshot.addresses),
        set(snapshot.routes),
        set(snapshot.rules),
    )


def test_the_first_snapshot_is_whole(watch):
    async def test(monitor):
        assert {link.name for link in monitor.snapshot().links.values()} == {"lo", "eth0", "far0"}
        assert facts(monitor.snapshot()) == facts(Snapshot.taken())

    watch(test)


def test_the_snapshot_is_the_same_object_while_nothing_changes(watch):
    async def test(monitor):
        assert monitor.snapshot() is monitor.snapshot()

    watch(test)


def test_the_decks_first_move(watch, namespace):
    async def test(monitor):
        namespace.ip("addr add 192.168.1.22/24 dev eth0")
        namespace.ip("addr add 192.168.1.2/24 dev eth0")
        await changes_until(monitor, has("192.168.1.2"))
        namespace.ip("addr del 192.168.1.22/24 dev eth0")
        changes = await changes_until(monitor, lacks("192.168.1.22"))
        assert [str(address.host) for address in changes[-1].lost] == ["192.168.1.22"]
        sources = monitor.snapshot().sources_towards(ip_address("192.168.1.101"))
        assert [str(source.host) for source in sources] == ["192.168.1.2"]

    watch(test)


def test_links_routes_and_rules_are_seen(watch, namespace):
    async def test(monitor):
        namespace.ip("link set eth0 name wlan0")
        await changes_until(monitor, lambda s: "wlan0" in {x.name for x in s.links.values()})
        namespace.ip("addr add 10.1.0.2/24 dev wlan0")
        namespace.ip("route add 203.0.113.0/24 via 10.1.0.1")
        await changes_until(monitor, lambda s: s.sources_towards(ip_address("203.0.113.9")))
        namespace.ip("rule add to 203.0.113.0/24 unreachable pref 9")
        await changes_until(monitor, lambda s: not s.sources_towards(ip_address("203.0.113.9")))
        namespace.ip("rule del pref 9")
        await changes_until(monitor, lambda s: s.sources_towards(ip_address("203.0.113.9")))
        namespace.ip("link set far0 down")
        await changes_until(monitor, lambda s: not s.sources_towards(ip_address("203.0.113.9")))
        namespace.ip("link del wlan0")
        await changes_until(monitor, lambda s: len(s.links) == 1)

    watch(test)


def test_duplicate_detection_is_seen_to_end(watch, namespace):
    namespace.sysctl("net.ipv6.conf.eth0.accept_dad=1")

    def tentative(snapshot):
        return [a.tentative for a in snapshot.addresses if str(a.host) == "2001:db8::1"]

    async def test(monitor):
        namespace.ip("addr add 2001:db8::1/64 dev eth0")
        await changes_until(monitor, lambda s: tentative(s) == [True])
        await changes_until(monitor, lambda s: tentative(s) == [False])

    watch(test)


def test_what_happened_without_a_message_is_found_soon(watch, namespace):
    """Linux deletes the routes of a link that goes down in silence."""
    namespace.ip("addr add 10.1.0.2/24 dev eth0")
    namespace.ip("route add 203.0.113.0/24 via 10.1.0.1")
    namespace.ip("route add 198.51.100.0/24 via 10.1.0.1 table 7")

    async def test(monitor):
        namespace.ip("link set eth0 down")
        await changes_until(monitor, lambda s: not s.links[index(s, "eth0")].up)
        kernel = Snapshot.taken()
        await changes_until(monitor, lambda s: facts(s) == facts(kernel))

    watch(test)


def index(snapshot, name):
    return next(link.index for link in snapshot.links.values() if link.name == name)


def test_a_still_network_costs_nothing(watch):
    async def test(monitor):
        task = asyncio.ensure_future(anext(monitor))
        await asyncio.sleep(0)
        assert monitor._load_handle is None
        monitor.close()
        with pytest.raises(StopAsyncIteration):
            await task

    watch(test)


def test_lost_messages_are_made_up_for(watch, namespace, monkeypatch, caplog):
    """A queue for two messages only, and the final state is exact all the same."""
    monkeypatch.setattr(netlink, "LOAD_INTERVAL", 0.05)
    commands = "".join(f"addr add 10.1.{i // 200}.{i % 200 + 1}/32 dev eth0\n" for i in range(400))

    async def test(monitor):
        monitor._socket.setsockopt(1, 8, 2048)
        batch = await asyncio.create_subprocess_exec(
            "ip", "-n", namespace.name, "-batch", "-", stdin=asyncio.subprocess.PIPE
        )
        monitor._loop.remove_reader(monitor._socket.fileno())
        await batch.communicate(commands.encode())
        monitor._loop.add_reader(monitor._socket.fileno(), monitor._readable)
        await changes_until(monitor, lambda s: len(s.addresses) >= 400)
        assert monitor.resyncs >= 1
        assert facts(monitor.snapshot()) == facts(Snapshot.taken())

    watch(test)
    assert "overflowed" in caplog.text


def test_a_flood_of_changes_is_not_followed_one_by_one(watch, namespace, monkeypatch, caplog):
    monkeypatch.setattr(netlink, "LOAD_INTERVAL", 0.05)
    monkeypatch.setattr(netlink, "MESSAGES_A_SECOND", 20)

    async def test(monitor):
        for number in range(1, 30):
            namespace.ip(f"addr add 10.1.0.{number}/32 dev eth0")
        await changes_until(monitor, has("10.1.0.29"))
        assert monitor.messages <= 20 + netlink.MESSAGES_A_WAKE
        assert monitor.resyncs >= 1
        assert facts(monitor.snapshot()) == facts(Snapshot.taken())

    watch(test)
    assert "more changes" in caplog.text


def test_a_load_that_fails_is_tried_again(watch, namespace, monkeypatch):
    monkeypatch.setattr(netlink, "LOAD_INTERVAL", 0.01)

    async def test(monitor):
        load, failures = monitor._tables.load, [OSError(errno.ENOBUFS, "for the test")]

        def failing_once():
            if failures:
                raise failures.pop()
            load()

        monkeypatch.setattr(monitor._tables, "load", failing_once)
        monitor._lose("for the test")
        namespace.ip("addr add 10.1.0.2/24 dev eth0")
        await changes_until(monitor, has("10.1.0.2"))
        assert not failures

    watch(test)


def test_close_twice_is_harmless(watch):
    async def test(monitor):
        monitor.close()
        monitor.close()

    watch(test)


def test_ipv6_addresses_keep_the_kernels_order(watch, namespace):
    """The kernel chooses the first of several that are equally good."""
    namespace.sysctl("net.ipv6.conf.eth0.accept_dad=0")

    async def test(monitor):
        for number in range(1, 4):
            namespace.ip(f"addr add 2001:db8::{number}/64 dev eth0")
        namespace.ip("addr add fe80::7/64 dev eth0")
        await changes_until(monitor, has("fe80::7"))
        eth0 = index(monitor.snapshot(), "eth0")
        ours, kernels = (
            [str(a.host) for a in snapshot.addresses if a.interface == eth0]
            for snapshot in (monitor.snapshot(), Snapshot.taken())
        )
        assert ours == kernels

    watch(test)
