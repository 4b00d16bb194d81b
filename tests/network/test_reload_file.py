"""A running tunnel whose file is written anew, and a file that is written from a running tunnel."""

import shutil

import pytest
from ethernet import wait_until
from full_tunnel import EVERYTHING, HUB, SITE, Laptop, hub_for, is_there, reaches

from sacip_tun.lab.connection import Connection, survived
from sacip_tun.lab.tunnel import Keys

pytestmark = pytest.mark.network

SPLIT = "10.9.0.0/24, fd09::/64"


def reload(laptop: Laptop, *options: str):
    laptop.write()
    return laptop.run("reload", laptop.name, *options)


def test_the_host_becomes_what_the_file_says_and_no_connection_notices(there) -> None:
    before = is_there(there.laptop)
    laptop = Laptop(there.laptop, allowed=SPLIT)
    hub = hub_for(there, laptop)
    laptop.up()
    assert reaches(there.laptop, hub.inner, tries=5)
    split = is_there(there.laptop)
    connection = Connection(there.laptop, there.hub, hub.inner, "--seconds", "4", "--rate", "4")
    connection.wait_until_established()
    laptop.allowed, laptop.lines = EVERYTHING, ("MTU = 1300", "KillSwitch = yes")
    laptop.addresses += ", 10.9.0.22/24"
    dry = reload(laptop, "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert [line for line in dry.stdout.splitlines() if line[:1] in "+-"][2:] == [
        "+Address = 10.9.0.22/24",
        "+MTU = 1300",
        "+KillSwitch = yes",
        "-AllowedIPs = 10.9.0.0/24, fd09::/64",
        "+AllowedIPs = 0.0.0.0/0, ::/0",
    ]
    assert is_there(there.laptop) == split
    assert reload(laptop).returncode == 0
    assert reaches(there.laptop, SITE, tries=3)
    assert not reaches(there.laptop, SITE, "-I", "eth0")
    shown = there.laptop.ip(f"address show dev {laptop.name}")
    assert all(word in shown for word in ("mtu 1300", "10.9.0.22/24", "10.9.0.2/24"))
    assert laptop.name not in there.laptop.ip("route show table main")
    assert laptop.run("reload", laptop.name).stdout == f"{laptop.name} is what its file says\n"
    laptop.allowed, laptop.lines = SPLIT, ()
    laptop.addresses = laptop.addresses.removesuffix(", 10.9.0.22/24")
    assert reload(laptop).returncode == 0
    assert survived(*connection.finish())
    assert is_there(there.laptop) == split
    laptop.down()
    assert is_there(there.laptop) == before


def test_a_file_that_cannot_be_changes_nothing(there) -> None:
    laptop = Laptop(there.laptop)
    hub_for(there, laptop)
    laptop.up()
    assert reaches(there.laptop, SITE, tries=5)
    state = is_there(there.laptop), there.laptop.ip(f"address show dev {laptop.name}")
    taken = ["-c", "import socket,time;s=socket.socket(2,2);s.bind(('',51999));time.sleep(60)"]
    there.laptop.start([shutil.which("python3"), *taken])
    wait_until(lambda: "51999" in there.laptop.run(["ss", "-ulnH"]).stdout, "it is not taken")
    for lines, addresses, code in (
        (("KillSwitch = perhaps",), laptop.addresses, 5),
        (("ListenPort = 51999", "MTU = 1300"), "10.9.0.2/24, fd09::2/64, 10.9.0.22/24", 1),
        ((), "10.1.0.2/24", 1),
    ):
        before, laptop.lines = laptop.lines, lines
        address, laptop.addresses = laptop.addresses, addresses
        done = reload(laptop)
        assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
        laptop.lines, laptop.addresses = before, address
        now = is_there(there.laptop), there.laptop.ip(f"address show dev {laptop.name}")
        assert now == state, done.stderr
    assert reaches(there.laptop, SITE)
    laptop.down()


def test_what_runs_is_saved_and_the_file_comes_up_again(there) -> None:
    laptop = Laptop(
        there.laptop, ("SaveConfig = true", "PostUp = true # one", "ExcludeIPs = @local")
    )
    hub_for(there, laptop)
    laptop.up()
    other = Keys.new()
    there.laptop.run(
        ["wg", "set", laptop.name, "peer", other.public, "allowed-ips", "10.77.0.0/16"]
    )
    there.laptop.ip(f"address add 10.9.0.23/24 dev {laptop.name}")
    laptop.down()
    text = laptop.path.read_text()
    assert laptop.path.stat().st_mode & 0o777 == 0o600
    for line in (
        "Address = 10.9.0.23/24",
        "PostUp = true # one",
        "ExcludeIPs = @local",
        f"PublicKey = {other.public}",
        "AllowedIPs = 10.77.0.0/16",
        f"Endpoint = {HUB}:51820",
    ):
        assert line in text.splitlines(), text
    assert "FwMark" not in text
    assert laptop.run("up", str(laptop.path)).returncode == 0
    assert reaches(there.laptop, SITE, tries=5)
    assert laptop.run("save", laptop.name).returncode == 0
    assert laptop.path.read_text() == text
    laptop.down()


def test_strip_prints_what_wg_quick_strip_prints(there) -> None:
    laptop = Laptop(there.laptop, ("DNS = 10.9.0.1", "PostUp = echo %i # x", "ListenPort = 7"))
    laptop.hub = Keys.new().public
    laptop.write()
    plain = laptop.path.read_text()
    theirs = there.laptop.run(["wg-quick", "strip", str(laptop.path)]).stdout
    ours = laptop.run("strip", str(laptop.path)).stdout
    assert ours.strip() == theirs.strip()
    laptop.lines = (*laptop.lines, "KillSwitch = yes")
    laptop.write()
    with laptop.path.open("a") as file:
        file.write("Nat = strict\n")
    assert laptop.run("strip", str(laptop.path)).stdout == ours
    assert laptop.run("strip", "--for", "wg-quick", str(laptop.path)).stdout == plain
