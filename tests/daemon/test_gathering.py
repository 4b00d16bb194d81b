"""Gathering: the bytes of many receives are batches such as UDP_GRO gives, in order, none lost."""

from hypothesis import given
from hypothesis import strategies as st
from simulation import endpoint

from sacip_tun.daemon.gathering import LONGEST, Gathering
from sacip_tun.linux.udp import RECEIVE_CAPACITY, Received

HERE, THERE, ELSEWHERE = (endpoint(f"192.0.2.{n}") for n in (1, 2, 3))

runs = st.builds(
    lambda size, count, last, remote, ecn: (
        size,
        size * (count - 1) + min(last, size),
        remote,
        ecn,
    ),
    st.sampled_from([1, 96, 1452, 9000]),
    st.integers(1, 6),
    st.integers(1, 9000),
    st.sampled_from([THERE, THERE, THERE, ELSEWHERE]),
    st.sampled_from([0, 0, 0, 3]),
)


def batches(received: list[tuple[int, int, object, int]]) -> list[tuple[bytes, Received]]:
    """Gather as the daemon does; the bytes of each receive are told apart by their number."""
    gathering, found = Gathering(), []

    def take() -> None:
        if gathering.first is not None:
            found.append((bytes(gathering.data), gathering.first))
        gathering.clear()

    for number, (size, length, remote, ecn) in enumerate(received):
        room = gathering.room
        assert len(room) >= RECEIVE_CAPACITY
        room[:length] = bytes([number % 251]) * length
        run = Received(length, min(size, length), HERE, remote, ecn)
        if not gathering.add(run):
            take_before = (bytes(gathering.data), gathering.first)
            gathering.begin(run)
            found.append(take_before)
        if gathering.full:
            take()
    take()
    return found


@given(st.lists(runs, max_size=60))
def test_nothing_is_lost_or_mixed(received) -> None:
    found = batches(received)
    expected = b"".join(bytes([n % 251]) * run[1] for n, run in enumerate(received))
    assert b"".join(data for data, _ in found) == expected
    assert all(0 < len(data) <= LONGEST for data, _ in found)


@given(st.lists(runs, max_size=60))
def test_every_batch_is_datagrams_of_one_length_and_a_shorter_last(received) -> None:
    at = 0
    for data, first in batches(received):
        end = at
        sizes = []
        while end < len(received) and sum(run[1] for run in received[at:end]) < len(data):
            size, length, remote, ecn = received[end]
            assert (remote, ecn) == (first.remote, first.ecn)
            size = min(size, length)
            sizes += [size] * (length // size) + [length % size] * bool(length % size)
            end += 1
        assert all(size == first.segment_size for size in sizes[:-1])
        assert sizes[-1] <= first.segment_size
        at = end


def test_datagrams_that_came_one_by_one_are_one_batch() -> None:
    ((data, first),) = batches([(1452, 1452, THERE, 0)] * 40 + [(700, 700, THERE, 0)])
    assert len(data) == 40 * 1452 + 700
    assert first.segment_size == 1452
