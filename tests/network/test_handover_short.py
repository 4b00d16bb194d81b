"""The short form of `make handover`: every move once, under the traffic that is hardest to move.

The hub sends TCP at 20 Mbit/s and an unanswered UDP stream; the mover says nothing but what TCP
must acknowledge. What fails here is really broken or stalled; the figures are in docs/handover.md.
"""

import pytest
from handover import complaints, short_trial
from moves import MOVES
from verdict import Outcome

pytestmark = [pytest.mark.network, pytest.mark.alone]


@pytest.mark.parametrize("move", [move for move in MOVES if move.short], ids=lambda move: move.name)
def test_what_runs_in_the_tunnel_survives(move) -> None:
    result = short_trial(move)
    assert complaints([result]) == []
    assert {flow.name: flow.outcome for flow in result.flows} == {
        "down": Outcome.HELD,
        "stream": Outcome.HELD,
    }
