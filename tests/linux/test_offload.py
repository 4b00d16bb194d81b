"""One offload: refused, resting, and tried again."""

import pytest

from sacip_tun.linux import offload
from sacip_tun.linux.offload import REST, State, Switch


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def switch(clock):
    return Switch(usable=True, now=clock)


def test_it_is_used_until_it_is_refused_and_only_there(switch):
    assert switch.state is State.ON
    switch.refused("here")
    assert not switch.allows("here")
    assert switch.allows("there")
    assert (switch.state, switch.refusals) == (State.REFUSED, 1)


def test_it_is_tried_again_after_a_while(switch, clock):
    switch.refused("here")
    clock.now += REST - 1
    assert not switch.allows("here")
    clock.now += 1
    assert switch.state is State.ON
    assert switch.allows("here")
    switch.refused("here")
    assert not switch.allows("here")
    assert switch.refusals == 2


def test_it_is_tried_again_after_a_move(switch):
    switch.refused("here")
    switch.refused("there")
    switch.retry()
    assert switch.allows("here")
    assert switch.allows("there")
    assert (switch.state, switch.refusals) == (State.ON, 2)


def test_without_memory_it_is_tried_every_time(clock):
    switch = Switch(usable=True, remember=False, now=clock)
    switch.refused("here")
    assert switch.allows("here")
    assert (switch.state, switch.refusals) == (State.ON, 1)


def test_what_was_stopped_stays_so(switch, clock):
    switch.refused("here")
    switch.stop()
    switch.retry()
    clock.now += 2 * REST
    assert not switch.allows("here")
    assert not switch.allows("there")
    assert switch.state is State.OFF


def test_what_is_not_there_is_off(clock):
    switch = Switch(usable=False, now=clock)
    assert not switch.allows("here")
    assert switch.state is State.OFF


def test_strangers_can_only_fill_it_and_empty_it(switch, monkeypatch):
    monkeypatch.setattr(offload, "MAX_REFUSED", 4)
    for number in range(11):
        switch.refused(number)
        assert not switch.allows(number)
    assert switch.refusals == 11
    assert sum(not switch.allows(number) for number in range(11)) <= 4
