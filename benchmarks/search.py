"""The highest rate at which packets are received, found by offering rates. Pure.

Who offers too much starves the tunnel: sender, both daemons and receiver share the processors. So
what is received rises with what is offered, and falls again behind a top.
"""

from collections.abc import Callable

from iperf import Received

Offer = Callable[[float], Received]
# First by so much, then finer: the top is met within a fifth.
STEPS = (2.0, 2**0.5)
# Where less than this share is lost, offering less cannot bring more.
LITTLE = 0.02
# Steps in one direction at most: from 30,000 packets a second to 30 million.
MOST = 10


def highest(offer: Offer, start: float) -> Received:
    """Return the best of what came of offering `start` packets a second, more, and less."""
    best = offer(start)
    for step in STEPS:
        best = _climbed(offer, best, step)
    return best


def _climbed(offer: Offer, start: Received, step: float) -> Received:
    up = _while_better(offer, start, step)
    if up is not start or start.lost < LITTLE:
        return up
    return _while_better(offer, start, 1 / step)


def _while_better(offer: Offer, best: Received, factor: float) -> Received:
    for _ in range(MOST):
        found = offer(best.offered * factor)
        if found.received <= best.received:
            break
        best = found
    return best
