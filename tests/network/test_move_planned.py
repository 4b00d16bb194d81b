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
