"""The fixed side moves too: alone, and both at once to addresses that neither ever heard of.

mover                        peer                        hub (for one test)
10.9.0.2 ◄══════ tunnel ════► 10.9.0.1                   knows both
eth0 192.168.1.22 → .2       eth0 192.168.1.101 → .7     eth0 192.168.1.4
"""

import time
from subprocess import PIPE, Popen

import pytest
from ethernet import Ethernet, at, ethernet, tunnel, wait_until
from live import Live
from written import Hosts, WrittenTunnel

from sacip_tun.lab.namespaces import Host
from sacip_tun.lab.tunnel import LabTunnel, Remote

pytestmark = [pytest.mark.network, pytest.mark.alone]

OLD, NEW = "192.168.1.22/24", "192.168.1.2/24"
PEER_OLD, PEER_NEW = "192.168.1.101/24", "192.168.1.7/24"
# Three copies and 130 ms until hunting, 200 ms to its second round, in which everybody on the link
# is asked (local_move.py); and what a busy machine adds.
PROMPT_MS = 1500.0
# What a program takes to start on a busy machine, in seconds.
READY = 0.3

Replacement = tuple[Host, str, str]


def both(net: Ethernet) -> tuple[Replacement, Replacement]:
    return (net.mover, OLD, NEW), (net.peer, PEER_OLD, PEER_NEW)


def replace(*replacements: Replacement, apart: float = 0.0) -> None:
    """Replace the address of each host, one begun `apart` seconds after the other.

    What does it runs already and waits for its lines: one is not over before the next begins.
    """
    waiting = [host.start(["ip", "-batch", "-"], stdin=PIPE) for host, _, _ in replacements]
    time.sleep(READY)
    for count, (process, (_, old, new)) in enumerate(zip(waiting, replacements, strict=True)):
        if count:
            time.sleep(apart)
        write(process, f"addr del {old} dev eth0\naddr add {new} dev eth0\n")
    assert [process.wait(5) for process in waiting] == [0] * len(waiting)


def write(process: Popen[str], lines: str) -> None:
    assert process.stdin is not None
    process.stdin.write(lines)
    process.stdin.close()


def wait_until_both_know(mover: LabTunnel, peer: LabTunnel, ours: str, theirs: str) -> None:
    def ends():
        return (
            mover.active(peer.keys.public, "local"),
            mover.active(peer.keys.public, "remote"),
            peer.active(mover.keys.public, "local"),
            peer.active(mover.keys.public, "remote"),
        )

    wanted = (at(ours), at(theirs), at(theirs), at(ours))
    try:
        wait_until(lambda: ends() == wanted, "they do not find each other", 20.0)
    except AssertionError as error:
        raise AssertionError(f"{error}: {ends()}") from None


def test_the_fixed_side_moves(network) -> None:
    net = ethernet(network, OLD)
    mover, peer = tunnel(net)
    live = Live(mover, peer, ("upload", "download"), 4.0, streaming=4.0)
    replace(both(net)[1])
    live.finish()
    wait_until_both_know(mover, peer, "192.168.1.22", "192.168.1.7")
    print(live.silence_ms, live.heard)
    assert live.silence_ms < PROMPT_MS, live.story()
    assert (live.heard.lost, live.heard.duplicated) == (0, 0), live.story()


@pytest.mark.parametrize("apart", [0.0, 0.01, 1.0], ids=["at once", "10 ms apart", "1 s apart"])
def test_both_move_on_one_link(network, apart) -> None:
    net = ethernet(network, OLD)
    mover, peer = tunnel(net)
    live = Live(mover, peer, ("download",), 5.0, streaming=5.0)
    replace(*both(net), apart=apart)
    usable = time.time()
    live.finish()
    wait_until_both_know(mover, peer, "192.168.1.2", "192.168.1.7")
    print(f"{live.after(usable):.0f} ms; {live.heard}")
    assert live.after(usable) < PROMPT_MS, live.story()
    assert (live.heard.lost, live.heard.duplicated) == (0, 0), live.story()


def test_both_come_out_of_an_outage_elsewhere_on_one_link(network) -> None:
    """No packet passed between the two moves: nobody could have told anybody."""
    net = ethernet(network, OLD)
    mover, peer = tunnel(net)
    live = Live(mover, peer, ("upload",), 4.0, streaming=8.0)
    net.mover.ip(f"addr del {OLD} dev eth0")
    net.peer.ip(f"addr del {PEER_OLD} dev eth0")
    time.sleep(3.0)
    net.mover.ip(f"addr add {NEW} dev eth0")
    net.peer.ip(f"addr add {PEER_NEW} dev eth0")
    usable = time.time()
    live.finish()
    wait_until_both_know(mover, peer, "192.168.1.2", "192.168.1.7")
    print(f"{live.after(usable):.0f} ms; {live.heard}")
    assert live.after(usable) < PROMPT_MS, live.story()


# Where no multicast gets through, and neither could tell the other


def without_multicast(net: Ethernet) -> None:
    for host in (net.mover, net.peer):
        host.run(["nft", "add table ip m; add chain ip m i { type filter hook input priority 0; }"])
        host.run(["nft", "add rule ip m i ip daddr 224.0.0.0/4 drop"])


def both_move_unheard(net: Ethernet) -> float:
    """Take both addresses away, then give both another; returns when."""
    net.mover.ip(f"addr del {OLD} dev eth0")
    net.peer.ip(f"addr del {PEER_OLD} dev eth0")
    time.sleep(0.5)
    net.mover.ip(f"addr add {NEW} dev eth0")
    net.peer.ip(f"addr add {PEER_NEW} dev eth0")
    return time.time()


def test_found_again_by_name(network) -> None:
    net = ethernet(network, OLD)
    without_multicast(net)
    with Hosts(net.mover) as hosts:
        hosts.write({"peer.lab": "192.168.1.101"})
        mover = WrittenTunnel(net.mover, "10.9.0.2/24", names=True)
        peer = LabTunnel(net.peer, "10.9.0.1/24")
        peer.up(Remote(mover.keys.public))
        mover.up(Remote(peer.keys.public, "peer.lab:51820", ("10.9.0.1/32",)))
        mover.reach(peer.inner)
        wait_until(lambda: mover.peer(peer.keys.public)["sacip"], "HELLO was not exchanged")
        live = Live(mover, peer, ("download",), 5.0)
        both_move_unheard(net)
        time.sleep(1.0)
        assert mover.peer(peer.keys.public)["state"] == "hunting"
        hosts.write({"peer.lab": "192.168.1.7"})
        usable = time.time()
        live.finish()
        wait_until_both_know(mover, peer, "192.168.1.2", "192.168.1.7")
        print(f"{live.after(usable):.0f} ms after the name was right")
        # Hunting goes on after 0.2, 0.4, 0.8, 1.6, 3.2 s, and asks for the name each time.
        assert live.after(usable) < PROMPT_MS + 3200, live.story()


@pytest.mark.parametrize("permitted", [True, False], ids=["Relay = yes", "without"])
def test_found_again_by_a_third_peer(network, permitted) -> None:
    """The hub stays where it is; each of the two tells it, and it tells the other."""
    net = ethernet(network, OLD)
    without_multicast(net)
    lines = ("Relay = yes",) if permitted else ()
    mover = WrittenTunnel(net.mover, "10.9.0.2/24", lines)
    peer = WrittenTunnel(net.peer, "10.9.0.1/24", lines)
    hub = WrittenTunnel(net.router, "10.9.0.4/24", lines)
    hub.up(
        Remote(mover.keys.public, allowed=("10.9.0.2/32",)),
        Remote(peer.keys.public, allowed=("10.9.0.1/32",)),
    )
    known = Remote(hub.keys.public, at("192.168.1.4"), ("10.9.0.4/32",))
    peer.up(Remote(mover.keys.public, allowed=("10.9.0.2/32",)), known)
    mover.up(Remote(peer.keys.public, at("192.168.1.101"), ("10.9.0.1/32",)), known)
    mover.reach(peer.inner)
    for end in (mover, peer):
        end.reach(hub.inner)
        assert end.peer(hub.keys.public)["relay"] is permitted
    wait_until(
        lambda: all(p["sacip"] for t in (mover, peer, hub) for p in t.status()["peers"]),
        "HELLO was not exchanged",
    )
    live = Live(mover, peer, ("download",), 3.0)
    usable = both_move_unheard(net)
    if permitted:
        live.finish()
        wait_until_both_know(mover, peer, "192.168.1.2", "192.168.1.7")
        print(f"{live.after(usable):.0f} ms by the hub")
        assert live.after(usable) < PROMPT_MS, live.story()
        assert hub.status()["drops"].get("relaying is not permitted here", 0) == 0
    else:
        time.sleep(3.0)
        assert mover.peer(peer.keys.public)["state"] == "hunting"
        assert mover.active(peer.keys.public, "remote") == at("192.168.1.101")
