"""`sacip-tun move`: the peer acknowledges the new address before the old one goes.

mover                                  peer
10.9.0.2 ◄════════ tunnel ═══════════► 10.9.0.1
eth0 192.168.1.22 → 192.168.1.2        eth0 192.168.1.101
"""

import pytest
from ethernet import at, ethernet, idle, tunnel, wait_until_moved
from test_move_download import assert_prompt, download

pytestmark = pytest.mark.network

OLD, NEW = "192.168.1.22/24", "192.168.1.2/24"


@pytest.mark.parametrize("promote_secondaries", [1, 0])
def test_planned_move_leaves_only_the_new_address(network, promote_secondaries) -> None:
    net = ethernet(network, OLD, promote_secondaries=promote_secondaries)
    mover, peer = tunnel(net)
    connection = download(net, peer.inner)
    said = mover.command("move", mover.name, "--to", NEW).stdout
    assert "192.168.1.22 → 192.168.1.2" in said
    assert "acknowledged after" in said
    shown = net.mover.ip("-4 addr show dev eth0")
    assert NEW in shown
    assert OLD not in shown
    assert_prompt(connection)
    wait_until_moved(mover, peer, "192.168.1.2")
    assert idle(peer, mover.keys.public, "remote") == at("192.168.1.22")


def test_move_that_cannot_be_made_changes_nothing(network) -> None:
    """The new address leads nowhere the peer could be reached from: exit 6, all as it was."""
    net = ethernet(network, OLD)
    mover, peer = tunnel(net)
    # The peer has no way back to that network, so no answer ever comes.
    net.mover.ip("route add 10.77.0.0/24 dev eth0")
    done = mover.command("move", mover.name, "--to", "10.77.0.2/24", "--timeout", "1", check=False)
    assert done.returncode == 6, done.stderr
    shown = net.mover.ip("-4 addr show dev eth0")
    assert OLD in shown
    assert "10.77.0.2" not in shown
    assert mover.active(peer.keys.public, "local") == at("192.168.1.22")
    mover.reach(peer.inner)


@pytest.mark.parametrize(
    ("target", "code", "cause"),
    [
        ("192.168.1.22", 6, "in use already"),
        ("192.168.1.101/24", 2, "the peer's own address"),
        ("10.9.0.2", 2, "inner address"),
        ("192.168.1.255/24", 2, "cannot be the address of a host"),
        ("224.0.0.1/24", 2, "cannot be the address of a host"),
        ("0.0.0.0/24", 2, "cannot be the address of a host"),
        ("127.0.0.1", 2, "cannot be the address of a host"),
        ("192.168.1.9", 2, "on no interface"),
    ],
)
def test_a_target_that_cannot_be_is_refused_and_changes_nothing(
    network, target, code, cause
) -> None:
    net = ethernet(network, OLD)
    mover, peer = tunnel(net)
    before = net.mover.ip("addr show"), net.mover.ip("route show")
    done = mover.command("move", mover.name, "--to", target, check=False)
    assert (done.returncode, cause in done.stderr) == (code, True), done.stderr
    assert "fix:" in done.stderr
    assert (net.mover.ip("addr show"), net.mover.ip("route show")) == before
    mover.reach(peer.inner)


@pytest.mark.parametrize("promote_secondaries", [1, 0])
def test_what_hung_on_the_old_address_stays(network, promote_secondaries) -> None:
    """A second address, a default route, and one that preferred the old address as its source."""
    net = ethernet(network, OLD, promote_secondaries=promote_secondaries)
    net.mover.ip("addr add 192.168.1.50/24 dev eth0")
    net.mover.ip("route add default via 192.168.1.4 src 192.168.1.22 metric 100")
    net.mover.ip("route add 10.66.0.0/16 via 192.168.1.4")
    mover, peer = tunnel(net)
    mover.command("move", mover.name, "--to", NEW)
    shown = net.mover.ip("-4 addr show dev eth0")
    assert "192.168.1.50/24" in shown
    assert NEW in shown
    assert OLD not in shown
    routes = net.mover.ip("route show")
    assert "default via 192.168.1.4 dev eth0 src 192.168.1.2 metric 100" in routes
    assert "10.66.0.0/16 via 192.168.1.4 dev eth0" in routes
    sysctl = net.mover.run(["cat", "/proc/sys/net/ipv4/conf/eth0/promote_secondaries"])
    assert sysctl.stdout.strip() == str(promote_secondaries)
    wait_until_moved(mover, peer, "192.168.1.2")
    mover.reach(peer.inner)


def test_move_to_a_secondary_that_goes_with_its_primary_puts_it_back_as_it_was(network) -> None:
    """promote_secondaries=0, and no prefix length in the command: /24 all the same."""
    net = ethernet(network, OLD, promote_secondaries=0)
    mover, peer = tunnel(net)
    net.mover.ip(f"addr add {NEW} dev eth0")
    mover.command("move", mover.name, "--to", "192.168.1.2")
    assert NEW in net.mover.ip("-4 addr show dev eth0")
    assert "192.168.1.0/24 dev eth0" in net.mover.ip("route show")
    wait_until_moved(mover, peer, "192.168.1.2")
    mover.reach(peer.inner)


def test_the_old_address_stays_where_that_is_asked_for(network) -> None:
    net = ethernet(network, OLD)
    mover, peer = tunnel(net)
    mover.command("move", mover.name, "--to", NEW, "--keep-old")
    shown = net.mover.ip("-4 addr show dev eth0")
    assert OLD in shown
    assert NEW in shown
    wait_until_moved(mover, peer, "192.168.1.2")
