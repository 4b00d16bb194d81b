"""Rate limit of a source, and what counts as load."""

from ipaddress import IPv4Address, IPv6Address

from sacip_tun.protocol.limits import (
    HANDSHAKE_BURST_PER_SOURCE,
    HANDSHAKES_PER_SOURCE_PER_SECOND,
    MAX_RATE_LIMITED_SOURCES,
    UNDER_LOAD_HANDSHAKES_PER_SECOND,
)
from sacip_tun.protocol.ratelimit import LoadMeter, RateLimit

HOST = IPv4Address("192.0.2.1")
INTERVAL = 1 / HANDSHAKES_PER_SOURCE_PER_SECOND
# A clock that has run for a year: what rounding does to it must not matter.
START = 31_536_000.1


def test_a_burst_and_no_more() -> None:
    limit = RateLimit()
    answers = [limit.allow(HOST, now=START) for _ in range(HANDSHAKE_BURST_PER_SOURCE + 3)]
    assert answers == [True] * HANDSHAKE_BURST_PER_SOURCE + [False] * 3


def test_one_token_an_interval() -> None:
    limit = RateLimit()
    while limit.allow(HOST, now=START):
        pass
    assert not limit.allow(HOST, now=START + 0.9 * INTERVAL)
    assert limit.allow(HOST, now=START + 1.01 * INTERVAL)
    assert not limit.allow(HOST, now=START + 1.02 * INTERVAL)


def test_refusals_cost_nothing() -> None:
    limit = RateLimit()
    for step in range(200):
        limit.allow(HOST, now=START + step * 0.001)
    assert limit.allow(HOST, now=START + 0.2 + 1.01 * INTERVAL)


def test_the_long_run_is_the_published_rate() -> None:
    limit = RateLimit()
    allowed = sum(limit.allow(HOST, now=START + step / 1000) for step in range(10_000))
    expected = 10 * HANDSHAKES_PER_SOURCE_PER_SECOND + HANDSHAKE_BURST_PER_SOURCE
    assert abs(allowed - expected) <= 1


def test_a_rest_restores_a_burst_and_not_more() -> None:
    limit = RateLimit()
    while limit.allow(HOST, now=START):
        pass
    answers = [limit.allow(HOST, now=START + 3600) for _ in range(HANDSHAKE_BURST_PER_SOURCE + 1)]
    assert answers == [True] * HANDSHAKE_BURST_PER_SOURCE + [False]


def test_ipv4_sources_are_apart() -> None:
    limit = RateLimit()
    while limit.allow(HOST, now=START):
        pass
    assert limit.allow(HOST + 1, now=START)


def test_ipv6_sources_of_one_64_are_one() -> None:
    limit = RateLimit()
    first = IPv6Address("2001:db8:0:1::1")
    while limit.allow(first, now=START):
        pass
    assert not limit.allow(IPv6Address("2001:db8:0:1:ffff::9"), now=START)
    assert limit.allow(IPv6Address("2001:db8:0:2::1"), now=START)


def test_a_clock_that_goes_back_does_no_harm() -> None:
    limit = RateLimit()
    assert limit.allow(HOST, now=START)
    assert not limit.allow(HOST, now=START - 10)
    assert limit.allow(HOST, now=START + 1)


def test_the_table_is_bounded_and_heals() -> None:
    limit = RateLimit()
    for number in range(MAX_RATE_LIMITED_SOURCES):
        assert limit.allow(HOST + number, now=START)
    assert not limit.allow(HOST - 1, now=START)
    assert limit.allow(HOST, now=START)
    assert len(limit._full_at) == MAX_RATE_LIMITED_SOURCES
    assert limit.allow(HOST - 1, now=START + 1)
    assert len(limit._full_at) == 1


def test_load_begins_above_the_threshold() -> None:
    meter = LoadMeter()
    for _ in range(UNDER_LOAD_HANDSHAKES_PER_SECOND):
        meter.count(now=START)
        assert not meter.under_load(now=START)
    meter.count(now=START)
    assert meter.under_load(now=START)


def test_load_lasts_into_the_next_second_and_ends() -> None:
    meter = LoadMeter()
    for _ in range(UNDER_LOAD_HANDSHAKES_PER_SECOND + 1):
        meter.count(now=START)
    assert meter.under_load(now=START + 1)
    assert not meter.under_load(now=START + 2)


def test_load_ends_after_a_pause() -> None:
    meter = LoadMeter()
    for _ in range(UNDER_LOAD_HANDSHAKES_PER_SECOND + 1):
        meter.count(now=START)
    assert not meter.under_load(now=START + 60)


def test_many_handshakes_over_a_long_time_are_no_load() -> None:
    """A counter that is never reset asks for cookies after the hundredth handshake, for ever."""
    meter = LoadMeter()
    for step in range(10_000):
        meter.count(now=START + step / 100)
        assert not meter.under_load(now=START + step / 100)
