"""From eth0 to wlan0 and back: the cable pulled, the interface set down, or the other one up first.

mover                                     router
eth0  10.1.0.2 (metric 100) ─── lan1 ───  10.1.0.1
wlan0 10.2.0.2 (metric 600) ─── lan2 ───  10.2.0.1   10.3.0.1 ─── peer 10.3.0.101
"""

import pytest
from ethernet import at, wait_until
from live import Live
from test_access_points import ETH, WLAN, moved, net, up

pytestmark = [pytest.mark.network, pytest.mark.alone]

__all__ = ["net"]

# Both uplinks are there all the time, and one of them is announced: nobody waits for a timer.
PROMPT_MS = 500.0


def cable_pulled(net) -> None:
    net.lan1.host.ip("link set port2 down")


def cable_plugged(net) -> None:
    net.lan1.host.ip("link set port2 up")


def set_down(net) -> None:
    net.mover.ip("link set eth0 down")


def set_up(net) -> None:
    """The kernel has deleted its default route; a network manager adds it again."""
    net.mover.ip("link set eth0 up")
    net.mover.ip("route add default via 10.1.0.1 dev eth0 metric 100")


def worse_route(net) -> None:
    net.mover.ip("route add default via 10.1.0.1 dev eth0 metric 900")
    net.mover.ip("route del default via 10.1.0.1 dev eth0 metric 100")


def better_route(net) -> None:
    net.mover.ip("route add default via 10.1.0.1 dev eth0 metric 100")
    net.mover.ip("route del default via 10.1.0.1 dev eth0 metric 900")


@pytest.mark.parametrize(
    ("leave", "come_back"),
    [(cable_pulled, cable_plugged), (set_down, set_up), (worse_route, better_route)],
    ids=["cable", "down and up", "by preference"],
)
def test_there_and_back(net, leave, come_back) -> None:
    ends = up(net)
    wait_until(
        lambda: at(WLAN) in ends.peer.peer(ends.mover.keys.public)["remote"]["slots"],
        "the standby was not announced",
    )
    live = Live(ends.mover, ends.peer, ("upload", "download"), 7.0, streaming=7.0)
    leave(net)
    moved(ends, WLAN)
    come_back(net)
    moved(ends, ETH)
    live.settle()
    live.finish()
    print(f"{leave.__name__}: silent for {live.silence_ms} ms; {live.heard}")
    assert [move["kind"] for move in ends.moves] == ["make before break"] * 2, live.story()
    assert live.silence_ms < PROMPT_MS, live.story()
    assert live.heard.gap_ms < PROMPT_MS, live.story()
    assert (live.heard.lost, live.heard.duplicated) == (0, 0), live.story()
    assert live.retransmissions == 0, live.story()
