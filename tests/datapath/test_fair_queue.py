"""The fair queue: turns, sparse flows first, standing queues are told of, everything is bounded."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from sacip_tun.datapath.codel import INTERVAL, TARGET
from sacip_tun.datapath.fair_queue import QUANTUM, QUEUES, FairQueue
from sacip_tun.datapath.load import Load


def load(flow: str, length: int = QUANTUM) -> Load:
    return Load(flow.encode(), b"to", [], length)


class Bench:
    """A queue, and what it told and dropped."""

    def __init__(self) -> None:
        self.told: list[Load] = []
        self.dropped: list[Load] = []
        self.queue = FairQueue(self.tell, self.dropped.append)
        self.marks = True

    def tell(self, load: Load) -> Load | None:
        self.told.append(load)
        return load if self.marks else None

    def names(self, count: int, now: float = 0.0) -> str:
        popped = (self.queue.pop(now=now) for _ in range(count))
        return "".join(load.flow.decode() for load in popped if load is not None)


def test_flows_take_turns() -> None:
    bench = Bench()
    for flow in "aaaabb":
        bench.queue.push(load(flow), now=0.0)
    assert bench.names(7) == "ababaa"
    assert not bench.queue


def test_a_flow_that_was_not_waiting_goes_before_those_that_have_had_a_turn() -> None:
    bench = Bench()
    for flow in "aaabbb":
        bench.queue.push(load(flow), now=0.0)
    assert bench.names(2) == "ab"
    bench.queue.push(load("c", 100), now=0.0)
    assert bench.names(5) == "cabab"


def test_small_packets_of_many_share_with_the_large_ones_of_one_by_bytes() -> None:
    bench = Bench()
    for _ in range(100):
        bench.queue.push(load("a"), now=0.0)
        for _ in range(64):
            bench.queue.push(load("b", QUANTUM // 64), now=0.0)
    sent = Counter[bytes]()
    for _ in range(650):
        popped = bench.queue.pop(now=0.0)
        assert popped is not None
        sent[popped.flow] += popped.length
    assert abs(sent[b"a"] - sent[b"b"]) <= 2 * QUANTUM


def test_a_flow_does_not_become_new_again_by_being_empty_for_a_moment() -> None:
    bench = Bench()
    for flow in "aab":
        bench.queue.push(load(flow), now=0.0)
    assert bench.names(1) == "a"
    taken = ""
    for _ in range(4):  # sends one, is empty, has another: that is no new flow each time
        bench.queue.push(load("c", QUANTUM // 2), now=0.0)
        taken += bench.names(1)
    assert taken == "bccc"
    assert bench.names(1) == "a"


def test_what_is_left_of_a_load_is_the_next_of_its_flow() -> None:
    bench = Bench()
    for flow in "ab":
        bench.queue.push(load(flow), now=1.0)
    popped = bench.queue.pop(now=1.0)
    assert popped is not None
    popped.length = 100
    bench.queue.push_back(popped)
    assert bench.names(3, now=1.0) in {"ab", "ba"}
    assert popped.since == 1.0


def test_only_the_flow_that_waits_long_is_told() -> None:
    bench = Bench()
    now = 0.0
    for number in range(400):
        now = number * 0.001
        bench.queue.push(load("a"), now=now - 2 * TARGET)
        bench.queue.push(load("a"), now=now - 2 * TARGET)
        bench.queue.push(load("s", 100), now=now)
        bench.names(2, now)
    assert {told.flow for told in bench.told} == {b"a"}
    assert now > INTERVAL


def test_where_a_load_is_given_up_the_next_one_takes_its_place() -> None:
    bench = Bench()
    bench.marks = False
    for number in range(300):
        bench.queue.push(load("a"), now=-1.0)
        bench.queue.push(load("a"), now=-1.0)
        assert bench.names(1, number * 0.001) == "a"
    assert bench.told


def packets(flow: str, count: int) -> Load:
    """A load of single packets."""
    return Load(flow.encode(), b"to", [memoryview(b"")] * count, 64 * count)


def test_where_it_is_full_the_flow_with_most_packets_loses_the_older_half_of_its_own() -> None:
    bench = Bench()
    bench.queue.push(packets("b", 1), now=0.0)
    loads = [packets("a", 2) for _ in range(5)]
    for item in loads:
        bench.queue.push(item, now=0.0)
    bench.queue.drop_from_fattest()
    assert bench.dropped == loads[:3]
    assert sorted(bench.names(9)) == ["a", "a", "b"]
    bench.queue.drop_from_fattest()
    assert len(bench.dropped) == 3


def test_a_flood_of_small_packets_costs_a_download_nothing() -> None:
    bench = Bench()
    for _ in range(20):
        bench.queue.push(Load(b"d", b"to", [memoryview(b"")], QUANTUM), now=0.0)
    for _ in range(30):
        bench.queue.push(packets("f", 64), now=0.0)
        bench.queue.drop_from_fattest()
    assert {dropped.flow for dropped in bench.dropped} == {b"f"}


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 90_000), st.booleans())))
def test_each_load_comes_out_once_and_each_flow_in_order(steps) -> None:
    bench = Bench()
    pushed: list[Load] = []
    popped: list[Load] = []
    for flow, length, take in steps:
        pushed.append(load(flow, length))
        bench.queue.push(pushed[-1], now=0.0)
        if take:
            found = bench.queue.pop(now=0.0)
            assert found is not None
            popped.append(found)
    while bench.queue:
        last = bench.queue.pop(now=0.0)
        popped += [last] if last is not None else []
    for name in "abcd":
        mine = [item for item in pushed if item.flow == name.encode()]
        assert [item for item in popped if item.flow == name.encode()] == mine


def test_ever_new_flows_neither_starve_others_nor_take_memory() -> None:
    bench = Bench()
    sent = Counter[bytes]()
    for number in range(20_000):
        bench.queue.push(packets("bulk", 1), now=0.0)
        for flood in range(2):
            bench.queue.push(packets(f"{number} {flood}", 1), now=0.0)
        while sum(flow.packets for flow in list(bench.queue._flows.values())) > 96:
            bench.queue.drop_from_fattest()
        popped = bench.queue.pop(now=0.0)
        assert popped is not None
        sent[popped.flow] += 1
    assert len(bench.queue._flows) <= QUEUES
    assert sent[b"bulk"] > 50
