"""The two tables: complete, reachable, and never a dead end."""

import pytest

from sacip_tun.protocol.sacip import (
    LOCAL_TRANSITIONS,
    REMOTE_TRANSITIONS,
    LocalState,
    LocalTrigger,
    RemoteState,
    RemoteTrigger,
    following,
)

TABLES = [
    pytest.param(LOCAL_TRANSITIONS, LocalState, LocalTrigger, id="local"),
    pytest.param(REMOTE_TRANSITIONS, RemoteState, RemoteTrigger, id="remote"),
]


def reachable(table, start):
    found = {start}
    while True:
        more = {after for (before, _), after in table.items() if before in found} - found
        if not more:
            return found
        found |= more


@pytest.mark.parametrize(("table", "states", "triggers"), TABLES)
def test_every_state_is_reachable_and_every_trigger_used(table, states, triggers) -> None:
    assert reachable(table, states.SETTLED) == set(states)
    assert {trigger for _, trigger in table} == set(triggers)


@pytest.mark.parametrize(("table", "states", "_triggers"), TABLES)
def test_every_state_leads_back_to_settled(table, states, _triggers) -> None:
    for state in states:
        assert states.SETTLED in reachable(table, state)


def test_losing_the_address_detaches_from_everywhere_and_a_new_one_always_leads_out() -> None:
    for state in LocalState:
        gone = following(LOCAL_TRANSITIONS, state, LocalTrigger.NO_ADDRESS)
        assert gone is LocalState.DETACHED
        back = following(LOCAL_TRANSITIONS, state, LocalTrigger.SWITCH)
        assert back is LocalState.CHANGING


def test_a_missing_pair_changes_nothing() -> None:
    stays = following(LOCAL_TRANSITIONS, LocalState.SETTLED, LocalTrigger.CHANGE_ACK)
    assert stays is LocalState.SETTLED
