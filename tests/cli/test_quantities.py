"""Quantities in words."""

import pytest

from sacip_tun.cli.quantities import age, clock, milliseconds, size


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.00 KiB"),
        (1_048_575, "1024.00 KiB"),
        (1_048_576, "1.00 MiB"),
        (1_268_312, "1.21 MiB"),
        (5 << 30, "5.00 GiB"),
        (3 << 40, "3.00 TiB"),
        (3 << 52, "12288.00 TiB"),
    ],
)
def test_bytes_read_as_in_wg_show(count, text):
    assert " ".join(size(count)) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "now"),
        (1, "1 second ago"),
        (59.9, "59 seconds ago"),
        (65, "1 minute, 5 seconds ago"),
        (3600, "1 hour ago"),
        (3605, "1 hour, 5 seconds ago"),
        (90061, "1 day, 1 hour ago"),
        (400 * 86400, "1 year, 35 days ago"),
    ],
)
def test_an_age_has_its_two_largest_units(seconds, text):
    assert age(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.44, "0.4 ms"),
        (41.35, "41.4 ms"),
        (250.4, "250 ms"),
        (9999, "9999 ms"),
        (12_345, "12.3 s"),
    ],
)
def test_a_duration_has_the_precision_it_deserves(value, text):
    assert milliseconds(value) == text


def test_a_time_of_day_is_local():
    assert clock(1_700_000_000.1234) == "22:13:20.123"
