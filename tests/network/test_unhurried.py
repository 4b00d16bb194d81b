"""Programs that change the host take their time, and no packet waits. See full_tunnel.py."""

import shutil
import time

import pytest
from full_tunnel import INNER, SITE, Laptop, hub_for, is_there, reaches
from one_way import Stream

pytestmark = pytest.mark.network

# What each of them takes, in seconds, and the longest that a stream may be silent meanwhile.
DELAY, MOST = 0.5, 0.4


@pytest.fixture
def slow(there):
    """Programs that take their time while the file that this returns is there."""
    directory = there.laptop.network.directory / "slow"
    directory.mkdir()
    flag = directory / "flag"
    for name, work in {"nft": f'exec {shutil.which("nft")} "$@"', "resolvconf": "exit 0"}.items():
        program = directory / name
        program.write_text(f"#!/bin/sh\n! test -e {flag} || sleep {DELAY}\n{work}\n")
        program.chmod(0o755)
    return flag


def test_a_stream_goes_on_while_rules_firewall_and_name_servers_change(there, slow) -> None:
    before = is_there(there.laptop)
    path = f"PATH={slow.parent}:/usr/sbin:/usr/bin:/sbin:/bin"
    laptop = Laptop(there.laptop, ("DNS = 10.9.0.1",), inside=("env", path))
    hub_for(there, laptop)
    laptop.up()
    assert reaches(there.laptop, SITE, tries=5), laptop.status()
    slow.touch()
    stream = Stream(there.hub, there.laptop, INNER, 6)
    began = time.monotonic()
    laptop.lines = ("DNS = 10.9.0.3", "KillSwitch = yes")
    laptop.addresses += ", 10.9.0.22/24"
    laptop.write()
    done = laptop.run("reload", laptop.name)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - began > 3 * DELAY, "nothing was slow"
    for setting in (("listen-port", "51999"), ("fwmark", "0x1234")):
        there.laptop.run(["wg", "set", laptop.name, *setting])
    heard = stream.finish()
    assert heard.gap_ms < MOST * 1000, heard
    assert laptop.status()["problem"] is None, "datagrams of its own came back to it"
    slow.unlink()
    assert laptop.status()["drops"] == {}, "something was refused"
    assert "32099:" not in there.laptop.ip("rule")
    assert "not from all fwmark 0x1234 lookup 51820" in there.laptop.ip("rule")
    assert "udp dport 51999" in there.laptop.run(["nft", "list", "ruleset"]).stdout
    laptop.down()
    assert is_there(there.laptop) == before
