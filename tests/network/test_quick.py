"""What wg-quick does around an interface, done out of the same files. See full_tunnel.py.

Where it is the measure, Debian's wg-quick does it too, with wireguard-go below.
"""

import re
import shutil
import signal
import sys
from pathlib import Path

import pytest
from ethernet import INTERRUPTIBLE, wait_until
from full_tunnel import HUB, SITE, Laptop, World, hub_for, is_there, reaches
from plain_tunnel import wg_quick, wireguard_go
from uapi_client import connected

from sacip_tun.agreement import RUN_DIRECTORY
from sacip_tun.lab.namespaces import interface_name
from sacip_tun.lab.tunnel import PROGRAM, Keys
from sacip_tun.linux.undo import UndoLog

pytestmark = pytest.mark.network

NAME_SERVER = Path(__file__).with_name("name_server.py")


@pytest.fixture
def alone(network) -> Laptop:
    """A laptop whose hub does not answer: for what needs no packet."""
    host = network.host("laptop")
    host.plug(network.segment("lan"), "eth0", "10.1.0.2/24")
    host.ip("route add default via 10.1.0.1 dev eth0")
    return Laptop(host, hub=Keys.new().public)


# Commands of the file


def logged(directory: Path, phase: str, extra: str = "") -> str:
    there = "$(ip link show dev %i >/dev/null 2>&1 && echo there || echo gone)"
    return (
        f"{phase} = echo '{phase}' %i {there} \"$(ip rule | wc -l)\" >> {directory}/log; {extra}:"
    )


def test_commands_run_in_order_with_their_interface(alone) -> None:
    directory = alone.host.network.directory
    alone.lines = tuple(
        logged(directory, phase, extra)
        for phase, extra in (
            ("PostDown", ""),
            ("PreUp", ""),
            ("PostUp", "echo of the file # is heard >&2; "),
            ("PreDown", "echo goodbye; "),
            ("PostUp", "sleep 60 >/dev/null 2>&1 & "),
        )
    )
    before = is_there(alone.host)
    up = alone.up("-v")
    assert "of the file # is heard" in up.stderr
    assert "[#] ip -4 rule add pref 32103 not fwmark 51820 table 51820" in up.stderr
    assert "goodbye" in alone.down().stderr
    name = alone.name
    assert (directory / "log").read_text().splitlines() == [
        f"PreUp {name} there 3",
        f"PostUp {name} there 4",
        f"PostUp {name} there 4",
        f"PreDown {name} there 4",
        f"PostDown {name} gone 3",
    ]
    assert is_there(alone.host) == before


def test_a_command_that_fails_ends_up_or_keeps_the_interface(alone) -> None:
    before = is_there(alone.host)
    alone.lines = ("PostUp = echo no reason >&2; exit 3", "PostDown = touch /nowhere/at-all")
    alone.write()
    done = alone.run("up", str(alone.path))
    assert done.returncode == 1
    assert "no reason" in done.stderr
    assert "PostUp failed with exit status 3" in done.stderr
    assert is_there(alone.host) == before
    assert alone.name not in alone.host.ip("link show")
    flag = alone.host.network.directory / "flag"
    alone.lines = (f"PreDown = test -e {flag}", "PostDown = false | true")
    alone.up()
    refused = alone.run("down", alone.name)
    assert (refused.returncode, "PreDown failed" in refused.stderr) == (1, True)
    assert alone.name in alone.host.ip("link show")
    flag.touch()
    refused = alone.run("down", alone.name)
    assert (refused.returncode, "PostDown failed" in refused.stderr) == (1, True)
    assert is_there(alone.host) == before
    assert alone.name not in alone.host.ip("link show")


def test_postdown_of_a_killed_one_is_run_once_by_who_finds_it(alone) -> None:
    directory = alone.host.network.directory
    made, log = directory / "made", directory / "log"
    before = is_there(alone.host)
    alone.allowed = "10.9.0.0/24"
    alone.lines = (
        f"PostUp = mkdir {made}",
        f"PostDown = ! ip link show %i 2>/dev/null; rmdir {made}; echo %i >> {log}",
    )
    alone.up()
    for times, command in enumerate((("up", str(alone.path)), ("down", alone.name)), start=1):
        alone.kill()
        assert made.exists()
        done = alone.run(*command)
        assert (done.returncode, done.stderr) == (0, ""), done
        assert log.read_text().split() == times * [alone.name]
    assert not made.exists()
    alone.up()
    alone.kill()
    assert f"is not run: ! ip link show {alone.name}" in alone.up("--no-hooks").stderr
    alone.down()
    made.rmdir()
    alone.lines = (*alone.lines, "PostDown = exit 7")
    alone.up()
    alone.kill()
    done = alone.run("down", alone.name)
    assert (done.returncode, "failed with exit status 7" in done.stderr) == (1, True), done
    assert alone.run("down", alone.name).returncode == 3  # nothing is left
    assert is_there(alone.host) == before


def test_who_interrupts_up_ends_the_start_and_all_is_undone(alone) -> None:
    directory = alone.host.network.directory
    began = directory / "began"
    before = is_there(alone.host)
    alone.lines = (f"PostUp = touch {began}; sleep 20",)
    alone.write()
    up = alone.host.start([*INTERRUPTIBLE, *PROGRAM, "up", str(alone.path)])
    wait_until(began.exists, "PostUp does not begin")
    up.send_signal(signal.SIGINT)
    assert up.wait(10) == 1
    assert "interrupted" in alone.host.log(up)
    assert not alone.host.process_ids(), "something goes on"
    assert is_there(alone.host) == before


def test_no_command_of_a_file_that_others_can_write(alone) -> None:
    alone.lines = ("PreUp = false",)
    alone.write()
    alone.path.chmod(0o620)
    done = alone.run("up", str(alone.path))
    assert (done.returncode, "PreUp is left out: others can write it" in done.stderr) == (0, True)
    alone.down()
    assert alone.up("--no-hooks").returncode == 0
    alone.down()


def test_what_is_asked_while_it_comes_up_waits_and_erases_nothing(alone) -> None:
    directory = alone.host.network.directory
    began, go = directory / "began", directory / "go"
    alone.lines = (
        f"PreUp = touch {began}; while ! test -e {go}; do sleep 0.05; done",
        f"PostUp = {' '.join(PROGRAM)} status %i --json >/dev/null",
        "SaveConfig = true",
    )
    alone.write()
    text = alone.path.read_text()
    alone.host.start([*PROGRAM, "up", str(alone.path)])
    wait_until(began.exists, "PreUp did not run")
    for command in ("status", "save", "reload"):
        done = alone.run(command, alone.name)
        assert (done.returncode, "it is still coming up" in done.stderr) == (3, True), done.stderr
    assert alone.path.read_text() == text
    go.touch()
    assert alone.run("wait", alone.name).returncode == 0
    alone.host.ip(f"link del {alone.name}")
    wait_until(lambda: alone.run("status", alone.name).returncode == 3, "it did not end")
    assert alone.path.read_text() == text


def test_nothing_comes_back_while_it_goes_down(alone) -> None:
    """Whoever watches sees the rules go, and PostDown gives it time."""
    before = is_there(alone.host)
    alone.lines = ("KillSwitch = yes", "PostDown = sleep 0.5")
    alone.up()
    with connected(alone.name) as client:
        client.sendall(b"set=1\n")
        alone.down()
    assert is_there(alone.host) == before


def test_sigterm_ends_a_start_that_is_under_way_and_undoes_it(alone) -> None:
    before = is_there(alone.host)
    flag = alone.host.network.directory / "flag"
    alone.lines = ("KillSwitch = yes", f"PostUp = touch {flag}; sleep 60")
    alone.write()
    command = [*PROGRAM, "up", "--foreground", str(alone.path)]
    process = alone.host.start(command)
    wait_until(flag.exists, "no PostUp")
    assert is_there(alone.host) != before
    process.send_signal(signal.SIGTERM)
    assert process.wait(5) == 0
    assert is_there(alone.host) == before
    assert alone.name not in alone.host.ip("link show")
    assert not (RUN_DIRECTORY / f"{alone.name}.undo").exists()


# The same file, with Debian's wg-quick


def as_wg_quick_has_it(host, name: str) -> list[str]:
    """What is on the host, without what is each program's own: priorities, protocol, names."""
    shown = [host.ip(line) for line in ("rule", "-6 rule", f"-br address show dev {name}")]
    shown += [host.ip(f"{family} route show table all dev {name}") for family in ("-4", "-6")]
    shown += [str(re.findall(r"mtu \d+", host.ip(f"link show dev {name}")))]
    # wireguard-go has a link-local address, which stands alone in a line or behind the others.
    text = re.sub(r"(?m)^fe80.*\n|fe80\S+", "", "\n".join(shown).replace(name, "NAME"))
    kept = (
        re.sub(r"^\d+:\s*|proto (83|kernel) ?|UNKNOWN|pref medium| +$", "", x)
        for x in text.splitlines()
    )
    return sorted(
        re.sub(r"\s+", " ", line).strip()
        for line in kept
        if line.strip() and not re.search("multicast|anycast|table local", line)
    )


FILES = {
    "full": ((), "0.0.0.0/0, ::/0, 10.66.0.0/16"),
    "marked": (("FwMark = 0x1234", "MTU = 1300"), "0.0.0.0/0"),
    "split": ((), "10.66.0.0/16, 10.9.0.0/24, fd66::/48"),
    "table": (("Table = 777",), "0.0.0.0/0, 10.66.0.0/16"),
    "off": (("Table = off",), "0.0.0.0/0, ::/0"),
}


@pytest.mark.alone  # see wg_quick
@pytest.mark.parametrize("kind", FILES)
def test_the_host_is_as_wg_quick_has_it(alone, kind) -> None:
    lines, alone.allowed = FILES[kind]
    before = is_there(alone.host)
    alone.lines = lines
    alone.write()
    wg_quick(alone.host, "up", alone.path, wireguard_go())
    theirs = as_wg_quick_has_it(alone.host, alone.name)
    wg_quick(alone.host, "down", alone.path, wireguard_go())
    wait_until(lambda: alone.name not in alone.host.ip("link show"), "wireguard-go stays")
    # Its src_valid_mark stays; ours does not.
    alone.host.write_sysctl("ipv4/conf/all/src_valid_mark", 0)
    assert is_there(alone.host) == before
    alone.lines = (*lines, "LeakProtection = compat")
    alone.up()
    assert as_wg_quick_has_it(alone.host, alone.name) == theirs
    alone.down()
    assert is_there(alone.host) == before


# Name servers


@pytest.fixture
def resolv_conf(there):
    """A file that `ip netns exec` mounts over /etc/resolv.conf for the laptop."""
    directory = Path("/etc/netns") / there.laptop.namespace
    made = not directory.parent.exists()
    directory.mkdir(parents=True)
    path = directory / "resolv.conf"
    path.write_text("# of the network\nnameserver 10.1.0.1\n")
    yield path
    path.unlink()
    directory.rmdir()
    if made:
        directory.parent.rmdir()


def inside(there: World) -> tuple[str, ...]:
    return ("ip", "netns", "exec", there.laptop.namespace)


def test_name_servers_are_the_tunnels_and_come_back_after_a_kill_too(there, resolv_conf) -> None:
    before, there_before = resolv_conf.read_text(), is_there(there.laptop)
    laptop = Laptop(there.laptop, ("DNS = 10.9.0.1, corp.example",), inside=inside(there))
    laptop.hub = Keys.new().public
    laptop.up()
    assert resolv_conf.read_text().splitlines()[1:] == [
        "nameserver 10.9.0.1",
        "search corp.example",
    ]
    assert laptop.status()["name_servers"] == {
        "resolver": "/etc/resolv.conf",
        "servers": ["10.9.0.1"],
        "search": ["corp.example"],
        "exclusive": True,
    }
    resolv_conf.write_text("nameserver 10.2.0.1\n")  # another network, another DHCP
    there.laptop.ip("addr add 10.1.0.77/24 dev eth0")
    wait_until(lambda: "10.9.0.1" in resolv_conf.read_text(), "not put back")
    laptop.kill()
    assert laptop.run("cleanup", laptop.name).returncode == 0
    assert resolv_conf.read_text() == "nameserver 10.2.0.1\n"
    resolv_conf.write_text(before)
    laptop.up()
    laptop.down()
    assert resolv_conf.read_text() == before
    there.laptop.ip("addr del 10.1.0.77/24 dev eth0")
    assert is_there(there.laptop) == there_before


def test_resolvconf_is_told_where_it_is_there(there) -> None:
    directory = there.laptop.network.directory
    program = directory / "resolvconf"
    program.write_text(
        f'#!/bin/sh\necho "$@" >> {directory}/told\n[ "$1" = -d ] || cat >> {directory}/told\n'
    )
    program.chmod(0o755)
    path = f"PATH={directory}:/usr/sbin:/usr/bin:/sbin:/bin"
    laptop = Laptop(there.laptop, ("DNS = 10.9.0.1",), inside=("env", path))
    laptop.hub = Keys.new().public
    laptop.up()
    laptop.down()
    assert (directory / "told").read_text().splitlines() == [
        f"-a {laptop.name} -m 0 -x",
        "nameserver 10.9.0.1",
        f"-d {laptop.name} -f",
    ]


@pytest.mark.usefixtures("resolv_conf")
def test_a_hub_is_found_by_name_when_the_network_comes_after_the_tunnel(there) -> None:
    """All name servers are inside the tunnel, which is not there before the hub's name is known."""
    there.laptop.ip("link set eth0 down")
    there.laptop.ip("link set wlan0 down")
    there.router.start([sys.executable, str(NAME_SERVER), "10.1.0.1", "hub.example", HUB])
    lines = ("DNS = 10.9.0.1",)
    laptop = Laptop(there.laptop, lines, endpoint="hub.example:51820", inside=inside(there))
    hub_for(there, laptop)
    laptop.up("--kill-switch")
    there.laptop.ip("link set eth0 up")
    there.laptop.ip("route add default via 10.1.0.1 dev eth0")
    assert reaches(there.laptop, SITE, tries=15), laptop.status()
    laptop.down()


# What cannot be


def test_what_cannot_be_undone_is_told_and_kept_and_all_else_is_undone(alone) -> None:
    before = is_there(alone.host)
    directory = alone.host.network.directory / "bin"
    directory.mkdir()
    told, broken = directory / "told", directory / "broken"
    programs = {
        "nft": f'! test -e {broken} && exec {shutil.which("nft")} "$@"; echo no way >&2; exit 1',
        "resolvconf": f'echo "$1" >> {told}',
    }
    for name, text in programs.items():
        (directory / name).write_text(f"#!/bin/sh\n{text}\n")
        (directory / name).chmod(0o755)
    alone.inside = ("env", f"PATH={directory}:/usr/sbin:/usr/bin:/sbin:/bin")
    alone.lines = ("KillSwitch = yes", "DNS = 10.9.0.1", f"PostDown = echo goodbye >> {told}")
    alone.up()
    broken.touch()
    done = alone.run("down", alone.name)
    assert done.returncode == 1
    assert "kill-switch of" in done.stderr
    assert "no way" in done.stderr
    assert f"fix: 'sacip-tun cleanup {alone.name}' undoes what is left" in done.stderr
    assert told.read_text().split() == ["-a", "-d", "goodbye"]
    assert alone.name not in alone.host.ip("link show")
    now = is_there(alone.host)
    assert {what for what in now if now[what] != before[what]} == {"nft list ruleset"}
    log = UndoLog(RUN_DIRECTORY, alone.name)
    assert [step["kind"] for step in log.steps()] == ["kill-switch"]
    assert alone.run("cleanup", alone.name).returncode == 1  # as long as it is so
    broken.unlink()
    assert alone.run("cleanup", alone.name).returncode == 0
    assert is_there(alone.host) == before


def test_a_sysctl_that_is_read_only_is_a_warning(alone) -> None:
    read_only = 'mount -o bind,ro /proc/sys /proc/sys && exec "$@"'
    alone.inside = ("unshare", "--mount", "sh", "-c", read_only, "sh")
    done = alone.up()
    assert "src_valid_mark cannot be set" in done.stderr
    alone.inside = ()
    alone.down()


def test_where_ipv6_is_off_the_rest_goes_through_the_tunnel(alone) -> None:
    for which in ("all", "default"):
        alone.host.write_sysctl(f"ipv6/conf/{which}/disable_ipv6", 1)
    before = is_there(alone.host)
    alone.addresses = "10.9.0.2/24"
    assert "IPv6 is off on this host" in alone.up("--kill-switch").stderr
    assert "default dev" in alone.host.ip("route show table 51820")
    alone.down()
    assert is_there(alone.host) == before


def test_without_nft_there_is_a_full_tunnel_and_no_kill_switch(alone) -> None:
    directory = alone.host.network.directory / "bin"
    directory.mkdir()
    alone.inside = ("env", f"PATH={directory}")
    assert "there is no firewall program" in alone.up().stderr
    alone.down()
    done = alone.run("up", str(alone.path), "--kill-switch")
    assert (done.returncode, "install nftables" in done.stderr) == (4, True)
    assert alone.name not in alone.host.ip("link show")
    assert "fwmark" not in alone.host.ip("rule")


def test_a_file_with_a_wrong_line_changes_nothing(alone) -> None:
    before = is_there(alone.host)
    never = alone.host.network.directory / "never"
    for line in (
        "KillSwitch = maybe",
        "LeakProtection = some",
        "ExcludeIPs = 0.0.0.0/0",
        "ExcludeIPs = @lan",
        "Table = 0",
        "FwMark = 0xfffffffff",
        "DNS = 10.9.0.300",
        "SaveConfig = yes",
        "PostUp =",
        "PostUpp = true",
    ):
        alone.lines = (f"PreUp = touch {never}", line)
        alone.write()
        done = alone.run("up", str(alone.path))
        assert (done.returncode, "line 5" in done.stderr) == (5, True), (line, done.stderr)
        assert "Traceback" not in done.stderr
    assert is_there(alone.host) == before
    assert not never.exists()


def test_the_second_tunnel_on_a_host_has_a_table_of_its_own(alone) -> None:
    before = is_there(alone.host)
    other = Laptop(alone.host, hub=alone.hub, addresses="10.8.0.2/24", name=interface_name())
    other.allowed = "::/0"
    alone.allowed = "0.0.0.0/0"
    alone.up()
    other.up()
    assert "not from all fwmark 0xca6d lookup 51821" in alone.host.ip("-6 rule")
    alone.down()
    assert alone.host.run(["cat", "/proc/sys/net/ipv4/conf/all/src_valid_mark"]).stdout == "1\n"
    other.down()
    assert is_there(alone.host) == before
