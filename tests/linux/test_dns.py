"""Who is told a tunnel's name servers, and in which words."""

from ipaddress import ip_address

import pytest

from sacip_tun.linux import dns, resolv_conf, resolvconf, resolved
from sacip_tun.linux.dns import Names
from sacip_tun.linux.undo import UndoLog

NAMES = Names((ip_address("10.9.0.1"), ip_address("fd09::1")), ("corp.example",))


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """A host with no program but those that a test makes, which write down their words."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}")
    monkeypatch.setattr(resolved, "RUNTIME", tmp_path / "systemd")
    monkeypatch.setattr(resolved, "RESOLV_CONF", tmp_path / "resolv.conf")
    monkeypatch.setattr(resolved, "NSSWITCH", tmp_path / "nsswitch.conf")
    monkeypatch.setattr(resolv_conf, "PATH", tmp_path / "resolv.conf")
    monkeypatch.setattr(resolvconf, "INTERFACE_ORDER", tmp_path / "interface-order")

    def make(name, code=0):
        path = tmp_path / "bin" / name
        path.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/told\nexit {code}\n')
        path.chmod(0o755)

    return make


def told(tmp_path):
    path = tmp_path / "told"
    return path.read_text().splitlines() if path.exists() else []


def tell(tmp_path, names=NAMES):
    log = UndoLog(tmp_path, "wg0")
    return dns.tell("wg0", 7, names, log), [step["kind"] for step in log.steps()]


def test_systemd_resolved_is_told_by_its_link(tmp_path, programs):
    programs("busctl")
    programs("resolvconf")
    (tmp_path / "systemd").mkdir()
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.53\n")
    assert tell(tmp_path) == ("systemd-resolved", [])
    front = "--system --quiet call org.freedesktop.resolve1 /org/freedesktop/resolve1"
    front += " org.freedesktop.resolve1.Manager"
    zeros = " ".join(["0"] * 13)
    assert told(tmp_path) == [
        f"{front} SetLinkDNS ia(iay) 7 2 2 4 10 9 0 1 10 16 253 9 {zeros} 1",
        f"{front} SetLinkDomains ia(sb) 7 2 corp.example false . true",
        f"{front} SetLinkDefaultRoute ib 7 true",
    ]


def test_not_everything_is_asked_of_a_tunnel_to_one_network(tmp_path, programs):
    programs("busctl")
    (tmp_path / "systemd").mkdir()
    (tmp_path / "nsswitch.conf").write_text("hosts: mymachines resolve [!UNAVAIL=return] files\n")
    tell(tmp_path, Names(NAMES.servers, NAMES.search, exclusive=False))
    assert told(tmp_path)[1].endswith("7 1 corp.example false")
    assert told(tmp_path)[2].endswith("ib 7 false")


def test_a_resolved_that_nobody_asks_is_not_told(tmp_path, programs):
    programs("busctl")
    programs("resolvconf")
    (tmp_path / "systemd").mkdir()
    (tmp_path / "resolv.conf").write_text("nameserver 10.0.0.1\n")
    (tmp_path / "interface-order").write_text("# x\nlo.*\ntun*\n")
    assert tell(tmp_path) == ("resolvconf", ["resolvconf"])
    assert told(tmp_path) == ["-a tun.wg0 -m 0 -x"]


def test_where_a_program_fails_the_next_is_told(tmp_path, programs):
    programs("busctl", code=1)
    programs("resolvconf", code=1)
    (tmp_path / "systemd").mkdir()
    path = tmp_path / "resolv.conf"
    path.write_text("nameserver 127.0.0.53\n")
    assert tell(tmp_path) == (str(path), ["resolvconf", "resolv.conf"])
    assert path.read_text().splitlines()[1:] == [
        "nameserver 10.9.0.1",
        "nameserver fd09::1",
        "search corp.example",
    ]


@pytest.mark.usefixtures("programs")
def test_where_nobody_can_be_told_each_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr(resolv_conf, "PATH", tmp_path / "none" / "resolv.conf")
    with pytest.raises(OSError, match="No such file"):
        tell(tmp_path)
