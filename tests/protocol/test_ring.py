"""The send ring: exactly what is missing, once for each loss, within bounds of age and bytes."""

from hypothesis import given
from hypothesis import strategies as st
from sealed import SIZE, datagram, run_of, told

from sacip_tun.protocol.messages import DATA_FORMAT
from sacip_tun.protocol.ring import RING_AGE, RING_BYTES, Run, SendRing


def counters(runs: list[Run]) -> list[int]:
    """The counters of a run's datagrams, as they stand in the datagrams themselves."""
    found = []
    for run in runs:
        for n in range(run.count):
            _, index, counter = DATA_FORMAT.unpack_from(run.data, n * run.size)
            assert (index, counter) == (run.index, run.first + n)
            found.append(counter)
    return found


@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(32, SIZE)), min_size=1, max_size=12),
    st.data(),
)
def test_exactly_what_is_missing_is_found_and_found_once(runs, data) -> None:
    ring = SendRing()
    following = 0
    for count, last in runs:
        ring.add(run_of(5, following, count, last), SIZE, now=1.0)
        following += count
    everything = set(range(following))
    arrived = data.draw(st.sets(st.sampled_from(sorted(everything))))
    received = [told(5, arrived)]
    missing = ring.missing(received, before=1.5, now=2.0)
    assert counters(missing) == sorted(everything - arrived)
    assert not ring.missing(received, before=1.5, now=2.0)
    # What was sent again and lost again is another loss.
    assert counters(ring.missing(received, before=2.5, now=2.5)) == counters(missing)


def test_what_went_out_after_the_question_is_not_taken_for_lost() -> None:
    ring = SendRing()
    ring.add(run_of(5, 0, 1), SIZE, now=1.0)
    ring.add(run_of(5, 1, 1), SIZE, now=1.2)
    assert counters(ring.missing([told(5, set())], before=1.1, now=1.3)) == [0]


def test_a_session_of_which_nothing_is_told_is_left_alone() -> None:
    ring = SendRing()
    ring.add(run_of(5, 0, 2), SIZE, now=1.0)
    assert not ring.missing([told(6, set())], before=2.0, now=1.1)


def test_both_sessions_of_a_rekey_are_looked_through_oldest_first() -> None:
    ring = SendRing()
    ring.add(run_of(5, 7, 2), SIZE, now=1.0)
    ring.add(run_of(6, 0, 2), SIZE, now=1.1)
    missing = ring.missing([told(6, {1}), told(5, {7})], before=2.0, now=1.2)
    assert [(run.index, run.first) for run in missing] == [(5, 8), (6, 0)]


def test_what_was_sent_again_is_young_again() -> None:
    """Two moves in a row after an outage: what the first one sent again, the second may lose."""
    ring = SendRing()
    ring.age = 6.0
    ring.add(run_of(5, 0, 3), SIZE, now=1.0)
    nothing = [told(5, set())]
    assert counters(ring.missing(nothing, before=5.5, now=5.5)) == [0, 1, 2]
    ring.age = RING_AGE
    assert counters(ring.missing(nothing, before=5.52, now=5.52)) == [0, 1, 2]
    assert not ring.missing(nothing, before=8.0, now=5.52 + RING_AGE + 0.1)


def test_it_is_a_copy_that_is_kept() -> None:
    ring = SendRing()
    buffer = bytearray(run_of(5, 0, 1))
    ring.add(memoryview(buffer), SIZE, now=1.0)
    buffer[16:] = bytes(len(buffer) - 16)
    assert ring.missing([told(5, set())], before=2.0, now=1.1)[0].data == bytes(run_of(5, 0, 1))


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(1, 40)), max_size=40))
def test_age_and_bytes_are_bounded(steps: list[tuple[float, int]]) -> None:
    ring, now = SendRing(), 0.0
    for counter, (pause, kilobytes) in enumerate(steps):
        now += pause
        ring.add(memoryview(datagram(5, counter, kilobytes << 13)), kilobytes << 13, now=now)
    ring.expire(now=now)
    # Asking counts as sending, which makes it young again: so it is asked once, at the end.
    kept = ring.sent_since(0.0, now=now)
    assert sum(len(run.data) for run in kept) <= RING_BYTES
    assert all(now - run.made <= RING_AGE for run in kept)
    ring.expire(now=now + RING_AGE + 0.1)
    assert not ring


def test_all_since_a_moment_counts_as_sent_now() -> None:
    ring = SendRing()
    ring.add(run_of(5, 0, 1), SIZE, now=1.0)
    ring.add(run_of(5, 1, 3), SIZE, now=1.5)
    assert counters(ring.sent_since(1.2, now=1.6)) == [1, 2, 3]
    assert counters(ring.missing([told(5, set())], before=1.55, now=1.7)) == [0]
    ring.clear()
    assert not ring
