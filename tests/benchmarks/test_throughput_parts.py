"""What the benchmark of throughput makes of what iperf3, ping, /proc and py-spy say."""

import os

import pytest
from echoes import percentile, round_trips
from hotspots import CALLS, CIPHER, LOOP, NUMPY, PYTHON, area, function, parsed, profile
from hypothesis import given
from hypothesis import strategies as st
from iperf import Received, carried, received
from search import highest
from usage import cpu_seconds, peak_megabytes, resident_megabytes

PING = """\
PING 10.9.0.1 (10.9.0.1) 56(84) bytes of data.
64 bytes from 10.9.0.1: icmp_seq=1 ttl=64 time=0.304 ms
64 bytes from 10.9.0.1: icmp_seq=2 ttl=64 time=12.1 ms
64 bytes from 10.9.0.1: icmp_seq=3 ttl=64 time=0.200 ms

--- 10.9.0.1 ping statistics ---
4 packets transmitted, 3 received, 25% packet loss, time 30ms
rtt min/avg/max/mdev = 0.200/4.201/12.100/5.585 ms
"""


def test_round_trips_are_read_one_by_one() -> None:
    trips = round_trips(PING)
    assert (trips.median, trips.p99) == (0.304, 12.1)


def test_no_answer_is_no_round_trip() -> None:
    with pytest.raises(ValueError, match="no answers"):
        round_trips("4 packets transmitted, 0 received")


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0, 100))
def test_a_percentile_is_one_of_the_values_and_so_many_do_not_exceed_it(values, percent) -> None:
    ordered = sorted(values)
    found = percentile(ordered, percent)
    assert found in ordered
    assert sum(value <= found for value in ordered) >= len(ordered) * percent / 100 - 1e-6
    assert percentile(ordered, 100) == ordered[-1]


def test_tcp_is_what_was_received() -> None:
    ends = {"sum_sent": {"bits_per_second": 9e9, "bytes": 9}}
    report = {"end": {**ends, "sum_received": {"bits_per_second": 1.5e9, "bytes": 562_500_000}}}
    assert carried(report).megabits == 1500
    assert carried(report).size == 562_500_000


def test_udp_is_what_was_sent_without_what_was_lost() -> None:
    report = {"end": {"sum": {"packets": 50_000, "lost_packets": 10_000, "seconds": 2.0}}}
    found = received(report, 30_000)
    assert (found.offered, found.sent, found.received) == (30_000, 25_000, 20_000)
    assert found.lost == pytest.approx(0.2)
    assert Received(1, 0, 0).lost == 0


def starving(capacity: float):
    """Everything is received up to the capacity; beyond it, the less the more is offered."""
    offers = []

    def offer(rate: float) -> Received:
        offers.append(rate)
        return Received(rate, rate, rate if rate <= capacity else capacity**2 / rate)

    return offer, offers


@given(st.floats(1e3, 5e6), st.floats(1e3, 5e6))
def test_the_search_comes_near_the_top_from_anywhere(capacity, start) -> None:
    offer, offers = starving(capacity)
    best = highest(offer, start)
    # The finest step is the square root of 2: the top is met within its square root.
    assert best.received >= capacity / 2**0.25 * (1 - 1e-9)
    assert len(offers) <= 24


def test_a_search_that_starts_at_the_top_is_short() -> None:
    offer, offers = starving(50_000)
    assert highest(offer, 49_000).received == 49_000
    assert len(offers) == 3


def test_proc_is_read_right() -> None:
    me = os.getpid()
    times = os.times()
    assert cpu_seconds([me]) == pytest.approx(times.user + times.system, abs=0.5)
    assert cpu_seconds([me, me]) == pytest.approx(2 * cpu_seconds([me]), abs=0.1)
    assert cpu_seconds([]) == 0
    assert 5 < resident_megabytes(me) <= peak_megabytes([me]) + 1
    assert peak_megabytes([]) == 0


SEAL = "run (uvloop/__init__.py:92);PythonCodec.seal (sacip_tun/datapath/python.py:79)"
STACKS = f"""\
{SEAL};ChaCha20_16x (cryptography/hazmat/bindings/_rust.abi3.so) 30
{SEAL};array_subscript (numpy/_core/_multiarray_umath.so);memcpy (libc.so.6) 5
{SEAL} 15
run (uvloop/__init__.py:92);Tun.write (sacip_tun/linux/tun.py:113);writev (libc.so.6) 40
run (uvloop/__init__.py:92);uv__io_poll (linux.c:1452);epoll_pwait (libc.so.6) 1000
run (uvloop/__init__.py:92);uv__run_timers (timer.c:1) 10
run (threading.py:975);_worker (concurrent/futures/thread.py:81);sem_clockwait (libc.so.6) 500
"""


def test_stacks_are_told_apart_by_what_the_innermost_python_called() -> None:
    stacks = [stack.split(";") for stack in parsed(STACKS)]
    assert [area(stack) for stack in stacks[:4]] == [CIPHER, NUMPY, PYTHON, CALLS]
    assert function(stacks[0]) == "PythonCodec.seal (datapath/python.py)"
    assert function(stacks[4]) == LOOP


def test_a_profile_leaves_waiting_out() -> None:
    made = profile("TCP", parsed(STACKS))
    assert made.areas == {CALLS: 0.4, CIPHER: 0.3, PYTHON: 0.25, NUMPY: 0.05}
    assert made.functions == {
        "PythonCodec.seal (datapath/python.py)": 0.5,
        "Tun.write (linux/tun.py)": 0.4,
        LOOP: 0.1,
    }
