"""nft fails for a while: nothing stays open, nothing is half done. See full_tunnel.py."""

import shutil

import pytest
from ethernet import wait_until
from full_tunnel import SITE, Laptop, hub_for, is_there, reaches

pytestmark = pytest.mark.network


@pytest.fixture
def failing(there):
    """An `nft` that lays nothing while the file that this returns is there."""
    directory = there.laptop.network.directory / "failing"
    directory.mkdir()
    flag = directory / "flag"
    program = directory / "nft"
    refuse = f'test -e {flag} && [ "$1" = -f ] && echo "Error: busy" >&2 && exit 1'
    program.write_text(f'#!/bin/sh\n{refuse}\nexec {shutil.which("nft")} "$@"\n')
    program.chmod(0o755)
    return flag


@pytest.fixture
def laptop(there, failing):
    path = f"PATH={failing.parent}:/usr/sbin:/usr/bin:/sbin:/bin"
    laptop = Laptop(there.laptop, inside=("env", path))
    hub_for(there, laptop)
    yield laptop
    failing.unlink(missing_ok=True)
    laptop.down()


def table(laptop: Laptop) -> str:
    return f"inet sacip-tun-{laptop.name}"


def test_what_cannot_be_put_back_is_tried_until_it_can(there, laptop, failing) -> None:
    laptop.up("--kill-switch")
    before = is_there(there.laptop)
    failing.touch()
    there.laptop.run(["nft", "delete", "table", *table(laptop).split()])
    there.laptop.run(["ip", "rule", "del", "pref", "32103"])
    wait_until(lambda: laptop.status()["put_back"], "nothing is told")
    wait_until(lambda: "32103:" in there.laptop.ip("rule"), "the rules wait for the firewall")
    assert laptop.status()["put_back"]["owed"]
    said = laptop.run("status", laptop.name).stdout
    assert "kill switch not in force" in said
    assert "firewall not yet, tried again" in said
    failing.unlink()
    wait_until(lambda: is_there(there.laptop) == before, "it is not there again")
    wait_until(lambda: not laptop.status()["put_back"]["owed"], "it is owed still")
    assert "kill switch on" in laptop.run("status", laptop.name).stdout


def test_another_mark_that_cannot_be_let_out_is_refused(there, laptop, failing) -> None:
    laptop.up("--kill-switch")
    assert reaches(there.laptop, SITE, tries=5)
    before = is_there(there.laptop)
    failing.touch()
    set_mark = ["wg", "set", laptop.name, "fwmark", "0x99"]
    assert there.laptop.run(set_mark, check=False).returncode
    assert is_there(there.laptop) == before
    assert reaches(there.laptop, SITE, tries=2)
    failing.unlink()
    there.laptop.run(set_mark)
    assert reaches(there.laptop, SITE, tries=2)


def test_a_reload_that_is_refused_leaves_the_firewall_guarded(there, laptop, failing) -> None:
    laptop.up()
    before = is_there(there.laptop)
    failing.touch()
    laptop.lines = ("KillSwitch = yes",)
    laptop.write()
    done = laptop.run("reload", laptop.name)
    assert (done.returncode, "nothing was changed" in done.stderr) == (1, True), done
    assert is_there(there.laptop) == before
    failing.unlink()
    there.laptop.run(["nft", "delete", "table", *table(laptop).split()])
    wait_until(lambda: is_there(there.laptop) == before, "it is not put back")
