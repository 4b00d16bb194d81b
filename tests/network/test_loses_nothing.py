"""A move that is prepared loses nothing, duplicates nothing, and no inner TCP notices it.

mover                                  peer
10.9.0.2 ◄════════ tunnel ═══════════► 10.9.0.1
eth0 192.168.1.22 → 192.168.1.2        eth0 192.168.1.101
"""

import time

import pytest
from ethernet import Ethernet, ethernet, tunnel, wait_until_moved
from live import Live

from sacip_tun.lab.tunnel import LabTunnel

pytestmark = [pytest.mark.network, pytest.mark.alone]

OLD, NEW = "192.168.1.22/24", "192.168.1.2/24"
# protocol.md 8 aims at 20 ms and 60 ms; two processors carry both ends, four programs and the rest
# of the test run here. A segment that TCP itself had to send again would take 200 ms.
PROMPT_MS = 150.0


def secondary_first(net: Ethernet, _mover: LabTunnel) -> None:
    net.mover.ip(f"addr add {NEW} dev eth0")
    time.sleep(0.3)
    net.mover.ip(f"addr del {OLD} dev eth0")


def planned(_net: Ethernet, mover: LabTunnel) -> None:
    mover.command("move", mover.name, "--to", NEW)


def replaced(net: Ethernet, _mover: LabTunnel) -> None:
    """The old address is gone when the new one comes: what was under way is lost, and resent."""
    net.mover.ip(f"addr del {OLD} dev eth0")
    net.mover.ip(f"addr add {NEW} dev eth0")


@pytest.mark.parametrize("move", [secondary_first, planned, replaced])
def test_nothing_is_lost(network, move) -> None:
    net = ethernet(network, OLD)
    mover, peer = tunnel(net)
    live = Live(mover, peer, ("upload", "download", "keystrokes"), 4.0, streaming=4.0)
    move(net, mover)
    wait_until_moved(mover, peer, "192.168.1.2")
    live.settle()
    live.finish()
    shown = net.mover.ip("-4 addr show dev eth0")
    assert NEW in shown
    assert OLD not in shown
    assert (live.heard.lost, live.heard.duplicated) == (0, 0), live.story()
    assert live.retransmissions == 0, live.story()
    assert live.silence_ms < PROMPT_MS, live.story()
    assert live.heard.gap_ms < PROMPT_MS, live.story()
