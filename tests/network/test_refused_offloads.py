"""A kernel that refuses offloads in the middle of a transfer: every byte arrives all the same.

mover eth0 192.168.1.22 → .2      peer eth0 192.168.1.101
──────┴─────────────────────────────────┴──────  192.168.1.0/24
"""

from functools import partial

import pytest
from ethernet import ethernet, tunnel, wait_until, wait_until_moved

from sacip_tun.lab import tunnel as lab
from sacip_tun.lab.connection import Connection, survived

pytestmark = pytest.mark.network

OLD, NEW = "192.168.1.22/24", "192.168.1.2/24"
# Bursts of some super-packets each, in both directions.
BURSTS = ("--direction", "both", "--chunk", "150000", "--interval", "0.02", "--seconds")

# The same program on a kernel that refuses offloaded calls of one kind while a file exists: sends
# with UDP_SEGMENT, or merged packets written to the TUN.
REFUSING = """
import errno, os, socket, sys
from sacip_tun.linux.ancillary import UDP_SEGMENT

class Socket(socket.socket):
    def sendmsg(self, buffers, ancillary=(), *more):
        offloaded = any(kind == UDP_SEGMENT for _, kind, _ in ancillary)
        if offloaded and os.path.exists({udp_segment!r}):
            raise OSError(errno.EIO, "refused")
        return super().sendmsg(buffers, ancillary, *more)

def writev(descriptor, parts, writev=os.writev):
    if len(parts) > 1 and parts[0][1] and os.path.exists({tun_tcp!r}):
        raise OSError(errno.EINVAL, "refused")
    return writev(descriptor, parts)

socket.socket, os.writev = Socket, writev
from sacip_tun.cli import main
sys.exit(main())
"""
# In this order: what was sent one by one arrives one by one, and is not merged.
KINDS = ("tun_tcp", "udp_segment")


@pytest.fixture
def refusing(monkeypatch, tmp_path):
    """Let tunnels run on such kernels; return the files, by the offload that each is about."""
    files = {kind: tmp_path / kind for kind in KINDS}
    program = REFUSING.format(**{kind: str(file) for kind, file in files.items()})
    monkeypatch.setattr(lab, "PROGRAM", (lab.PROGRAM[0], "-c", program))
    return files


def offload(end, name: str) -> dict:
    return end.status()["offload"][name]


def running(net, mover, peer, seconds: str) -> Connection:
    """A transfer in both directions, when the path's MTU is known: finding it is a new try too."""
    connection = Connection(net.mover, net.peer, peer.inner, *BURSTS, seconds)
    connection.wait_until_established()
    for end, other in ((mover, peer), (peer, mover)):
        wait_until(partial(_knows_its_path, end, other), "the path's MTU was not found")
    return connection


def _knows_its_path(end, other) -> bool:
    return end.peer(other.keys.public)["path_mtu"]["state"] == "found"


def assert_survived(connection: Connection) -> None:
    results = connection.finish()
    told = [
        {name: value for name, value in result.items() if name not in ("bins", "silences")}
        for result in results
    ]
    assert survived(*results), told


def wait_until_refused(end, kind: str) -> None:
    wait_until(lambda: offload(end, kind)["state"] == "refused", f"{kind} was not refused")


@pytest.mark.parametrize("kind", KINDS)
def test_refused_in_the_middle_of_transfers_in_both_directions(network, refusing, kind) -> None:
    net = ethernet(network, OLD)
    mover, peer = tunnel(net)
    connection = running(net, mover, peer, "3")
    refusing[kind].touch()
    for end in (mover, peer):
        wait_until_refused(end, kind)
    assert_survived(connection)
    for end in (mover, peer):
        status = end.status()
        assert status["offload"][kind]["state"] == "refused"
        assert status["faults"] == 0
        assert "the kernel refused the inner packet" not in status["drops"]
        shown = end.command("status", end.name).stdout
        count = status["offload"][kind]["refusals"]
        assert count < 10  # once, and once more where the path was measured anew
        assert f"{kind.replace('_', ' ')} refused ({count})" in shown


def test_what_was_refused_is_tried_again_after_a_move(network, refusing) -> None:
    net = ethernet(network, OLD)
    mover, peer = tunnel(net)
    connection = running(net, mover, peer, "10")
    for kind, file in refusing.items():
        file.touch()
        for end in (mover, peer):
            wait_until_refused(end, kind)
        file.unlink()
    net.mover.ip(f"addr add {NEW} dev eth0")
    net.mover.ip(f"addr del {OLD} dev eth0")
    wait_until_moved(mover, peer, "192.168.1.2")
    for kind, file in refusing.items():
        before = [offload(end, kind) for end in (mover, peer)]
        assert [found["state"] for found in before] == ["on", "on"]
        file.touch()
        for end in (mover, peer):
            wait_until_refused(end, kind)  # so it was tried
        file.unlink()
    assert_survived(connection)
    assert mover.status()["faults"] == peer.status()["faults"] == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_kernel_that_is_asked_every_time_refuses_every_time(network, refusing, kind) -> None:
    """Offload = on: nothing is remembered, and nothing lost either."""
    refusing[kind].touch()
    net = ethernet(network, OLD)
    mover, peer = tunnel(net, options=("--offload", "on"))
    connection = running(net, mover, peer, "2")
    assert_survived(connection)
    for end in (mover, peer):
        assert offload(end, kind)["state"] == "on"
        assert offload(end, kind)["refusals"] > 10


def test_a_tunnel_that_was_set_down_by_hand_counts_and_goes_on_when_it_is_up(network) -> None:
    mover, peer = tunnel(ethernet(network, OLD))
    peer.host.ip(f"link set {peer.name} down")
    ping = ["ping", "-n", "-c", "3", "-i", "0.2", "-W", "1", peer.inner]
    assert mover.host.run(ping, check=False).returncode != 0
    status = peer.status()
    assert status["drops"]["arrived while the tunnel's interface was down"] == 3
    assert (status["faults"], status["unreadable"]) == (0, 0)
    peer.host.ip(f"link set {peer.name} up")
    mover.reach(peer.inner)


def test_a_kernel_that_refuses_from_the_start_is_found_out_by_the_probe(network, refusing) -> None:
    refusing["tun_tcp"].touch()
    mover, _ = tunnel(ethernet(network, OLD))
    assert offload(mover, "tun_tcp") == {"state": "refused", "refusals": 1}
    assert offload(mover, "udp_segment") == {"state": "on", "refusals": 0}
