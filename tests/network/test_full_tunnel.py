"""Full tunnels out of real files: what leaves, what stays, what is left behind. See full_tunnel.py.

What Debian's wg-quick does with the same file stands beside it where that is a measure.
"""

import re
import time
from pathlib import Path

import pytest
from capture import Capture
from ethernet import wait_until
from full_tunnel import (
    HUB,
    INNER,
    SITE,
    SITE_V6,
    Laptop,
    World,
    hub_for,
    in_clear,
    is_there,
    reaches,
)

from sacip_tun.lab.connection import Connection, survived
from sacip_tun.lab.timeline import records
from sacip_tun.lab.tunnel import Keys, LabTunnel, Remote, monitored

pytestmark = pytest.mark.network


def connected(there: World, laptop: Laptop, *options: str):
    hub = hub_for(there, laptop)
    laptop.up(*options)
    assert reaches(there.laptop, SITE, tries=5), laptop.status()
    return hub


def test_all_goes_through_the_tunnel_and_all_is_undone(there) -> None:
    before = is_there(there.laptop)
    main = there.laptop.ip("route show table main")
    laptop = Laptop(there.laptop)
    connected(there, laptop)
    outside = Capture(there.laptop)
    assert reaches(there.laptop, SITE, tries=3)
    assert reaches(there.laptop, SITE_V6, tries=3)
    assert in_clear(outside.stop()) == []
    assert there.laptop.ip("route show table main") == main
    laptop.down()
    assert is_there(there.laptop) == before


HOSTILE = (
    "0.0.0.0/1 via 10.1.0.1",
    "128.0.0.0/1 via 10.1.0.1",
    f"{SITE}/32 via 10.1.0.1",
    "203.0.113.0/24 dev eth0",
    f"{SITE_V6}/128 via fd01::1",
    "8000::/1 via fd01::1",
)


def attack(host) -> None:
    """What a router that hands out addresses can write into the main table (CVE-2024-3661)."""
    for route in HOSTILE:
        host.ip(f"route add {route}")


def test_no_route_in_main_pulls_anything_out(there) -> None:
    laptop = Laptop(there.laptop)
    hub = connected(there, laptop)
    connection = Connection(there.laptop, there.hub, hub.inner, "--seconds", "2", "--rate", "4")
    connection.wait_until_established()
    outside = Capture(there.laptop)
    attack(there.laptop)
    assert reaches(there.laptop, SITE, tries=2)
    assert reaches(there.laptop, SITE_V6, tries=2)
    assert survived(*connection.finish())
    assert in_clear(outside.stop()) == []


def test_a_route_by_a_gateway_alone_finds_the_link_that_it_is_on(there) -> None:
    """`ip route add ... via GATEWAY`, as people and PostUp lines write it, and not the tunnel."""
    line = "ip route add 10.77.0.0/16 via 10.1.0.1"
    laptop = Laptop(there.laptop, (f"PostUp = {line}", f"PostDown = {line.replace('add', 'del')}"))
    connected(there, laptop)
    assert "dev eth0" in there.laptop.ip("route show 10.77.0.0/16")
    laptop.down()
    laptop.lines = ()
    laptop.up()
    there.laptop.ip("route replace default via 10.2.0.1 metric 50")
    assert "dev wlan0" in there.laptop.ip("route show default metric 50")
    there.laptop.ip("-6 route add fd77::/64 via fd01::1")
    assert "dev eth0" in there.laptop.ip("-6 route show fd77::/64")
    there.laptop.ip("addr flush dev eth0")
    wait_until(lambda: reaches(there.laptop, SITE), "it does not go on over Wi-Fi")
    laptop.down()
    assert "via 10.2.0.1 dev wlan0" in there.laptop.ip("route show default metric 50")


def test_as_wg_quick_does_it_such_a_route_goes_first(there) -> None:
    laptop = Laptop(there.laptop, ("LeakProtection = compat",))
    connected(there, laptop)
    outside = Capture(there.laptop)
    attack(there.laptop)
    reaches(there.laptop, SITE)
    leaked = in_clear(outside.stop())
    assert SITE in {packet.destination for packet in leaked}


KILL_SWITCH = ("--kill-switch",)


def test_the_kill_switch_holds_while_nobody_runs_and_cleanup_opens_it(there) -> None:
    before = is_there(there.laptop)
    laptop = Laptop(there.laptop)
    connected(there, laptop, "--kill-switch")
    outside = Capture(there.laptop)
    laptop.kill()
    for address in (SITE, SITE_V6, "10.1.0.1"):
        assert not reaches(there.laptop, address)
    assert not reaches(there.laptop, SITE, "-I", "eth0")
    assert in_clear(outside.stop()) == []
    other = Laptop(there.laptop, allowed="10.8.0.2/32", addresses="10.8.0.1/24", hub=laptop.hub)
    assert "the kill switch" in other.up().stderr
    other.down()
    assert not reaches(there.laptop, SITE)
    for laptop.lines, options in ((("PreUp = false",), ()), (("PostUp = false",), KILL_SWITCH)):
        laptop.write()  # an `up` that fails opens nothing
        assert laptop.run("up", str(laptop.path), *options).returncode == 1
        assert not reaches(there.laptop, SITE)
    done = laptop.run("cleanup", laptop.name)
    assert (done.returncode, done.stderr) == (0, "")
    assert is_there(there.laptop) == before
    assert reaches(there.laptop, SITE)


def test_what_a_killed_daemon_left_is_cleaned_up_exactly(there) -> None:
    before = is_there(there.laptop)
    lines = ("LeakProtection = compat", "ExcludeIPs = 10.66.0.0/16")
    laptop = Laptop(there.laptop, lines, hub=Keys.new().public)
    for clean in ("cleanup", "down"):
        laptop.up()
        laptop.kill()
        assert is_there(there.laptop) != before
        assert laptop.run(clean, laptop.name).returncode == 0
        assert is_there(there.laptop) == before
        laptop.lines = ()
    laptop.up()
    laptop.kill()
    laptop.up()  # which cleans up first
    laptop.down()
    assert is_there(there.laptop) == before


def test_a_connection_survives_the_way_from_one_network_to_the_other(there) -> None:
    """The laptop of a full tunnel leaves the cable for the Wi-Fi: its site notices nothing."""
    laptop = Laptop(there.laptop)
    connected(there, laptop)
    options = ("--direction", "download", "--seconds", "3", "--rate", "8")
    connection = Connection(there.laptop, there.site, SITE, *options)
    connection.wait_until_established()
    time.sleep(1)
    outside = Capture(there.laptop, "wlan0")
    there.laptop.ip("link set eth0 down")
    near, far = connection.finish()
    assert survived(near, far)
    assert near["longest_silence_ms"] < 1000
    packets = outside.stop()
    assert in_clear(packets) == []
    assert any(packet.source == "10.2.0.2" for packet in packets)


def test_private_networks_stay_outside_where_the_laptop_is_in_them(there) -> None:
    laptop = Laptop(there.laptop, ("ExcludeIPs = @local",))
    connected(there, laptop)
    outside = Capture(there.laptop)
    assert reaches(there.laptop, "10.1.0.1", tries=2)
    assert reaches(there.laptop, "10.9.0.1", tries=2)  # the tunnel's own network is another one
    reaches(there.laptop, "10.200.0.1")  # no network of this laptop's: into the tunnel
    leaked = {packet.destination for packet in in_clear(outside.stop())} - {"10.1.0.2"}
    assert leaked == {"10.1.0.1"}


def test_an_excluded_network_goes_by_the_hosts_own_routes(there) -> None:
    laptop = Laptop(there.laptop, (f"ExcludeIPs = {SITE}/32",))
    hub_for(there, laptop)
    laptop.up("--kill-switch")
    outside = Capture(there.laptop)
    assert reaches(there.laptop, SITE, tries=2)
    assert reaches(there.laptop, "203.0.113.101", tries=2)
    leaked = {packet.destination for packet in in_clear(outside.stop())} - {"10.1.0.2"}
    assert leaked == {SITE}


def test_who_shares_the_link_gets_no_word_out_of_the_tunnels_address(there) -> None:
    """CVE-2019-14899: the router asks for the inner address over the link."""
    laptop = Laptop(there.laptop, ("ExcludeIPs = @local",))
    connected(there, laptop)
    there.router.ip(f"route add {INNER}/32 via 10.1.0.2")
    assert not reaches(there.router, INNER)
    with laptop.stopped():  # so that nobody puts back what is taken away now
        there.laptop.run(["nft", "flush", "ruleset"])
        assert reaches(there.router, INNER, tries=2)


def test_a_strict_reverse_path_filter_lets_the_hub_in(there) -> None:
    there.laptop.write_sysctl("ipv4/conf/all/rp_filter", 1)
    laptop = Laptop(there.laptop)
    connected(there, laptop)
    laptop.down()
    there.laptop.write_sysctl("ipv4/conf/all/rp_filter", 0)


TAKEN = {
    "rules": (("ip", "rule", "del", "pref", "32103"), ("ip", "-6", "rule", "del", "pref", "32103")),
    "routes": (("ip", "route", "flush", "table", "51820"),),
    "firewall": (("nft", "flush", "ruleset"),),
}


def test_what_others_take_away_is_put_back_and_they_are_named(there) -> None:
    laptop = Laptop(there.laptop)
    connected(there, laptop, "--kill-switch")
    before = is_there(there.laptop)
    monitor = monitored(there.laptop, laptop.name)
    for commands in TAKEN.values():
        for command in commands:
            there.laptop.run(command)
        began = time.monotonic()
        wait_until(lambda: is_there(there.laptop) == before, "not put back")
        assert time.monotonic() - began < 1.0
    found = [
        record
        for record in records(there.laptop.log(monitor).splitlines())
        if record["event"] == "put-back"
    ]
    assert [record["what"] for record in found] == list(TAKEN), found
    assert all("process" in record["culprit"] for record in found), found
    assert found[2]["culprit"].startswith("nft ")
    status = laptop.status()
    last = {name: found[2][name] for name in ("what", "culprit", "why")}
    when = status["put_back"]["time_unix"]
    assert status["put_back"] == {"times": 3, "time_unix": when, "owed": False, **last}
    assert status["full_tunnel"] == {
        "table": 51820,
        "fwmark": 51820,
        "ip_versions": [4, 6],
        "kill_switch": True,
        "firewall": True,
    }
    shown = laptop.run("status", laptop.name).stdout
    assert "  full tunnel: IPv4 and IPv6 by table 51820, kill switch on\n" in shown
    assert re.search(r"  put back: firewall, .*, taken away by nft \(process \d+\)", shown)
    laptop.down()


EXAMPLE = Path(__file__).parents[2] / "configs" / "laptop.conf"


def test_the_example_comes_up_as_it_is_and_with_every_line_that_it_offers(there) -> None:
    """Filled in, and then without the comment signs in front of its settings as well."""
    hub = LabTunnel(there.hub, "10.9.0.1/24", more=("fd00:9::1/64",))
    keys, shared = Keys.new(), Keys.new().private
    hub.up(Remote(keys.public, None, ("10.9.0.10/32", "fd00:9::10/128"), preshared=shared))
    there.site.ip("-6 route add fd00:9::/64 via fd03::101")
    resolv_conf = there.laptop.network.directory / "resolv.conf"
    resolv_conf.write_text("nameserver 10.1.0.1\n")
    mount = f'mount --bind {resolv_conf} /etc/resolv.conf && exec "$@"'
    laptop = Laptop(there.laptop, inside=("unshare", "--mount", "sh", "-c", mount, "sh"))
    for name, value in {
        "private key of the laptop": keys.private,
        "public key of the hub": hub.keys.public,
        "preshared key of laptop and hub": shared,
        "address or name of the hub": HUB,
    }.items():
        laptop.text = (laptop.text or EXAMPLE.read_text()).replace(f"<{name}>", value)
    plain = laptop.text
    everything = re.sub(r"(?m)^# (?=[A-Za-z]+ = )", "", plain)
    for laptop.text in (plain, everything):
        done = laptop.up()
        assert done.stderr == "", done.stderr
        for address in (SITE, SITE_V6):
            assert reaches(there.laptop, address, tries=5), laptop.status()
        assert "nameserver 10.9.0.1" in resolv_conf.read_text()
        laptop.down()
        assert resolv_conf.read_text() == "nameserver 10.1.0.1\n"
