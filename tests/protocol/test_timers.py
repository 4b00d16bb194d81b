"""The timer table against a naive one."""

from hypothesis import given
from hypothesis import strategies as st

from sacip_tun.protocol.timers import Timer, TimerTable

steps = st.lists(
    st.tuples(
        st.sampled_from(["set", "stop", "advance", "forget"]),
        st.integers(0, 2),
        st.sampled_from(list(Timer)[:3]),
        st.integers(0, 20),
    ),
    max_size=60,
)


@given(steps)
def test_it_does_what_a_dictionary_of_deadlines_does(steps: list) -> None:
    table: TimerTable[int] = TimerTable()
    naive: dict[tuple[int, Timer], float] = {}
    now = 0.0
    for verb, owner, timer, amount in steps:
        if verb == "set":
            table.set(owner, timer, now + amount)
            naive[owner, timer] = now + amount
        elif verb == "stop":
            table.stop(owner, timer)
            naive.pop((owner, timer), None)
        elif verb == "forget":
            table.forget(owner)
            naive = {key: when for key, when in naive.items() if key[0] != owner}
        else:
            now += amount
            due = {key for key, when in naive.items() if when <= now}
            fired = set()
            while (key := table.pop_expired(now)) is not None:
                fired.add(key)
            assert fired == due
            naive = {key: when for key, when in naive.items() if key not in due}
        assert table.next() == min(naive.values(), default=None)
        assert table.is_set(owner, timer) == ((owner, timer) in naive)


def test_timers_fire_in_the_order_of_their_deadlines() -> None:
    table: TimerTable[str] = TimerTable()
    table.set("b", Timer.HELLO, 2.0)
    table.set("a", Timer.HELLO, 3.0)
    table.set("a", Timer.HELLO, 1.0)
    assert table.pop_expired(5.0) == ("a", Timer.HELLO)
    assert table.pop_expired(5.0) == ("b", Timer.HELLO)
    assert table.pop_expired(5.0) is None
