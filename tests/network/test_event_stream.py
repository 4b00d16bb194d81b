"""Both applications are told (deck, slide 26): by the Python interface, by hooks, by the status.

mover                                  peer
10.9.0.2 ◄════════ tunnel ═══════════► 10.9.0.1
eth0 192.168.1.22 → 192.168.1.2        eth0 192.168.1.101
"""

import json
import sys
import time
from pathlib import Path

import pytest
from ethernet import at, ethernet, wait_until

import sacip_tun
from sacip_tun.lab.connection import Connection, survived
from sacip_tun.lab.namespaces import Host, Network, interface_name
from sacip_tun.lab.tunnel import PROGRAM, Keys, Remote, interface_section

pytestmark = [pytest.mark.network, pytest.mark.alone]

OLD, NEW = "192.168.1.22/24", "192.168.1.2/24"
EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
TELL = [sys.executable, str(EXAMPLES / "tell.py")]
# A program by its path finds what is installed, and not always what stands here.
HERE = {"PYTHONPATH": str(Path(sacip_tun.__file__).parents[1])}
LISTEN = """
import asyncio, json, sys, sacip_tun

async def main():
    async with sacip_tun.events(sys.argv[1]) as stream:
        print("listening", flush=True)
        async for event in stream:
            print(json.dumps({name: getattr(event, name) for name in event.__slots__
                              if name != "raw"}), flush=True)

try:
    asyncio.run(main())
except sacip_tun.TunnelDown as ended:
    print(ended)
"""


class End:
    """One end out of a file, with a hook, and a program that listens."""

    def __init__(self, host: Host, inner: str, *more: str) -> None:
        self.host = host
        self.inner = inner
        self.name = interface_name()
        self.keys = Keys.new()
        self.hooked = host.network.directory / f"{self.name}-hooked"
        self.more = more

    def up(self, other: "End", endpoint: str | None = None, *options: str) -> None:
        hook = f"EventHook = {EXAMPLES / 'tell.sh'} {self.hooked}-%i"
        peer = Remote(other.keys.public, endpoint, (f"{other.inner}/32",))
        path = self.write("ListenPort = 51820", hook, *self.more, peer.section)
        self.host.run([*PROGRAM, "up", str(path), *options])

    def write(self, *lines: str) -> Path:
        """Write its file, and return where it is."""
        path = self.host.network.directory / f"{self.name}.conf"
        path.touch(0o600)
        path.write_text(interface_section(self.keys, (f"{self.inner}/24",), lines))
        return path

    def listen(self) -> None:
        self._listener = self.host.start([sys.executable, "-c", LISTEN, self.name])
        wait_until(lambda: "listening" in self.heard, f"no listener: {self.heard}")

    @property
    def heard(self) -> str:
        return self.host.log(self._listener)

    def events(self, kind: str) -> list[dict]:
        found = [json.loads(line) for line in self.heard.splitlines() if line.startswith("{")]
        return [event for event in found if event["kind"] == kind]

    def told(self) -> list[tuple[str, dict]]:
        """What the hook was given: the kind from its environment, the record from its stdin."""
        path = Path(f"{self.hooked}-{self.name}")
        lines = path.read_text().splitlines() if path.exists() else []
        return [(kind, json.loads(rest)) for kind, _, rest in (x.partition(": ") for x in lines)]

    def state(self) -> str:
        said = self.command("status", self.name, "--json").stdout
        return json.loads(said)["peers"][0]["state"]

    def command(self, *words: str, check: bool = True):
        return self.host.run([*PROGRAM, *words], check=check)


def two_ends(network: Network) -> tuple[End, End]:
    net = ethernet(network, OLD)
    mover, peer = End(net.mover, "10.9.0.2"), End(net.peer, "10.9.0.1")
    peer.up(mover)
    mover.up(peer, at("192.168.1.101"))
    for end in (mover, peer):
        end.command("wait", end.name, "--for", "peer", "--timeout", "10")
        end.listen()
    wait_until(lambda: speaks(mover) and speaks(peer), "HELLO was not exchanged")
    return mover, peer


def speaks(end: End) -> bool:
    said = end.command("status", end.name, "--json").stdout
    return bool(json.loads(said)["peers"][0]["sacip"])


def listeners(end: End) -> int:
    """How many connections the control socket has."""
    connections = end.host.run(["ss", "-xH", "state", "established"]).stdout
    return connections.count(f"/{end.name}.sock")


def test_a_move_is_told_to_programs_and_hooks_on_both_ends(network) -> None:
    mover, peer = two_ends(network)
    handover = peer.host.start([*PROGRAM, "wait", peer.name, "--for", "handover"])
    wait_until(lambda: listeners(peer) == 2, "it does not listen")
    mover.host.ip(f"addr add {NEW} dev eth0")
    for end in (mover, peer):
        wait_until(lambda end=end: end.events("prepared"), f"not told: {end.heard}")
    mover.host.ip(f"addr del {OLD} dev eth0")
    wait_until(lambda: mover.events("moved"), f"not told: {mover.heard}")
    wait_until(lambda: peer.events("peer moved"), f"not told: {peer.heard}")

    there = {"old": at("192.168.1.22"), "new": at("192.168.1.2")}
    for end, other, side, kind in (
        (mover, peer, "local", "moved"),
        (peer, mover, "remote", "peer moved"),
    ):
        (prepared,), (moved,) = end.events("prepared"), end.events(kind)
        for event in (prepared, moved):
            assert {key: event[key] for key in there} == there
            assert (event["interface"], event["side"]) == (end.name, side)
            assert event["peer"] == other.keys.public
            assert event["time_unix"] > 1.7e9
            assert event["milliseconds"] >= 0
        assert moved["observed"] == at("192.168.1.2")
        assert moved["reason"] == "address removed"
        assert moved["make_before_break"] is True
        wait_until(lambda end=end: len(end.told()) >= 2, "the hook was not run")
        kinds = [kind for kind, _ in end.told()]
        assert kinds[:2] == ["prepared", kind]
        record = end.told()[1][1]
        assert record["schema"] == "sacip-tun/event/1"
        assert {key: record[key] for key in there} == there
        assert record["reason"] == "address removed"
    assert handover.wait(10) == 0
    assert "peer moved" in peer.host.log(handover)
    assert (mover.state(), peer.state()) == ("connected", "connected")


def test_an_outage_is_told_to_programs_and_hooks_on_both_ends(network) -> None:
    mover, peer = two_ends(network)
    options = ("--direction", "both", "--seconds", "4", "--rate", "10")
    connection = Connection(mover.host, peer.host, peer.inner, *options)
    connection.wait_until_established()
    time.sleep(0.5)
    mover.host.ip(f"addr del {OLD} dev eth0")
    time.sleep(2.0)
    mover.host.ip(f"addr add {NEW} dev eth0")
    assert survived(*connection.finish())
    # The mover knows at once why, the fixed side only that nothing comes: that costs it a while.
    for end, why, milliseconds in (
        (mover, "no address of this host leads to the peer", 1500.0),
        (peer, "the path does not answer", 500.0),
    ):
        wait_until(lambda end=end: end.events("recovered"), f"not told: {end.heard}")
        held, recovered = end.events("held")[0], end.events("recovered")[0]
        assert held["reason"] == why
        assert held["time_unix"] < recovered["time_unix"]
        waited = (recovered["time_unix"] - held["time_unix"]) * 1000
        assert milliseconds < recovered["milliseconds"] < waited + 500.0
        assert recovered["released"] > 0
        assert recovered["lost"] == 0
        wait_until(lambda end=end: "recovered" in kinds(end.told()), "the hook was not run")
        told = kinds(end.told())
        assert told.index("held") < told.index("recovered")
        record = end.told()[told.index("recovered")][1]
        for key in ("milliseconds", "released", "resent", "lost"):
            assert record[key] == recovered[key]
    degraded = peer.events("degraded")[0]
    assert degraded["milliseconds"] > 0
    assert degraded["time_unix"] < peer.events("recovered")[0]["time_unix"]
    # What the fixed side sent before it noticed went into the void.
    assert sum(event["resent"] for event in peer.events("recovered")) > 0
    assert mover.events("degraded") == []


def kinds(told: list[tuple[str, dict]]) -> list[str]:
    return [kind for kind, _ in told]


def test_the_status_and_the_check_tell_the_truth_when_the_mover_has_no_address(network) -> None:
    mover, peer = two_ends(network)
    assert mover.command("status", mover.name, "--check").stdout == f"{mover.name}: ok\n"
    mover.host.ip(f"addr del {OLD} dev eth0")
    wait_until(lambda: mover.state().endswith("no address"), "the mover says otherwise")
    peer.host.start(["ping", "-n", "-i", "0.5", mover.inner])
    mover.host.run(["ping", "-n", "-c", "1", "-W", "1", peer.inner], check=False)
    assert mover.state() == "held: no address"
    check = mover.command("status", mover.name, "--check", check=False)
    assert (check.returncode, "held: no address" in check.stdout) == (7, True)
    wait_until(lambda: peer.state() in {"silent", "degraded"}, f"it says {peer.state()}", 14.0)
    mover.host.ip(f"addr add {NEW} dev eth0")
    for end in (mover, peer):
        end.command("wait", end.name, "--for", "peer", "--timeout", "15")
        assert end.state() == "connected"
    assert mover.command("status", mover.name, "--check").returncode == 0


def test_going_down_ends_programs_and_hooks_and_no_hooks_runs_none(network) -> None:
    hook = network.directory / "slow"
    hook.write_text(f"#!/bin/sh\necho $$ > {network.directory}/running\nexec sleep 600\n")
    hook.chmod(0o700)
    net = ethernet(network, OLD)
    mover = End(net.mover, "10.9.0.2", f"EventHook = handshake-completed: {hook}")
    peer = End(net.peer, "10.9.0.1", f"EventHook = handshake-completed: {hook}-not")
    peer.up(mover, None, "--no-hooks")
    mover.up(peer, at("192.168.1.101"))
    mover.listen()
    running = network.directory / "running"
    wait_until(running.exists, "the hook was not run")
    assert mover.command("down", mover.name).returncode == 0
    wait_until(lambda: "is down; bring it up with" in mover.heard, mover.heard)
    wait_until(lambda: mover.host.process_ids() == [], "something of it still runs")
    peer.listen()
    assert peer.told() == []
    gone = peer.command("wait", mover.name, "--for", "peer", check=False)
    assert (gone.returncode, "not running" in gone.stderr) == (3, True)


def test_a_hook_inherits_nothing_that_keeps_the_tunnel_alive(network) -> None:
    """What it leaves behind on purpose outlives `down`, and holds neither TUN nor socket."""
    hook, out = network.directory / "stays", network.directory / "descriptors"
    hook.write_text(f"#!/bin/sh\nsleep 600 &\nls -l /proc/self/fd > {out}-\nmv {out}- {out}\n")
    hook.chmod(0o700)
    net = ethernet(network, OLD)
    more = f"EventHook = handshake-completed: {hook}"
    mover, peer = End(net.mover, "10.9.0.2", more), End(net.peer, "10.9.0.1")
    peer.up(mover)
    mover.up(peer, at("192.168.1.101"))
    wait_until(out.exists, "the hook was not run")
    held = [line.partition(" -> ")[2] for line in out.read_text().splitlines()]
    assert [name for name in held if "/dev/net/tun" in name or "socket:" in name] == []
    mover.command("down", mover.name)
    assert mover.name not in mover.host.ip("link show")
    assert len(mover.host.process_ids()) == 1


def test_a_hook_in_a_file_of_another_user_is_not_run_and_that_is_said(network) -> None:
    host = network.host("a")
    end = End(host, "10.9.0.2")
    path = end.write(f"EventHook = address-added: /bin/touch {end.hooked}")
    host.run(["chown", "1", str(path)])
    said = host.run([*PROGRAM, "up", str(path)]).stderr
    assert "EventHook is left out: user 1 owns it" in said
    assert f"chown root {path}" in said


def test_the_example_program_tells_of_a_move_on_both_ends_and_of_the_end(network) -> None:
    mover, peer = two_ends(network)
    programs = [(end, end.host.start([*TELL, end.name], environment=HERE)) for end in (mover, peer)]
    for end, program in programs:
        wait_until(lambda e=end, p=program: "is connected" in e.host.log(p), "it says nothing")
    mover.command("move", mover.name, "--to", NEW)
    change = f"{at('192.168.1.22')} -> {at('192.168.1.2')} (requested)"
    for (end, program), words in zip(programs, ("moved", "peer moved"), strict=True):
        wait_until(lambda e=end, p=program, w=words: f"{w}: {change}" in e.host.log(p), "no move")
        end.command("down", end.name)
        assert program.wait(10) == 0
        assert end.host.log(program).endswith(f"bring it up with 'sacip-tun up {end.name}'\n")
