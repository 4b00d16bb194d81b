"""The choice among own addresses: usable before deprecated, well before suspect, then routing."""

from ipaddress import ip_address

import pytest
from simulation import endpoint

from sacip_tun.protocol.choice import Choice
from sacip_tun.protocol.facts import Source
from sacip_tun.protocol.frames import Reason

A, B = endpoint("192.0.2.1"), endpoint("192.0.2.2")


def choice(*sources: Source) -> Choice:
    made = Choice()
    made.sources = sources
    return made


def test_a_source_is_found_by_address_whatever_its_interface_and_port() -> None:
    source = Source(endpoint("192.0.2.1"), 3)
    assert choice(source).of(endpoint("192.0.2.1", 99)) is source
    assert choice(source).of(B) is None
    assert choice(source).of(None) is None


@pytest.mark.parametrize(
    ("worse", "better"),
    [
        (Source(A, 2, deprecated=True, preferred=True), Source(B, 3)),
        (Source(A, 2), Source(B, 3, preferred=True)),
    ],
)
def test_the_best_is_not_deprecated_and_then_the_kernels_own(worse, better) -> None:
    assert choice(worse, better).best() is better
    assert choice(better, worse).best_beside(better) is worse


def test_a_suspect_comes_last_though_the_kernel_prefers_it() -> None:
    mine, other = Source(A, 2, preferred=True), Source(B, 3)
    made = choice(mine, other)
    made.suspects.blame(ip_address("192.0.2.1"), now=0.0)
    assert made.best() is other
    assert made.preference(other, mine) is None


def test_alone_there_is_nothing_beside() -> None:
    mine = Source(A, 2)
    assert choice(mine).best_beside(mine) is None


@pytest.mark.parametrize(
    ("mine", "other", "reason"),
    [
        (Source(A, 2, deprecated=True), Source(B, 2), Reason.ADDRESS_DEPRECATED),
        (Source(A, 2), Source(B, 2, deprecated=True, preferred=True), None),
        (Source(A, 2), Source(B, 3, preferred=True), Reason.ROUTE_CHANGED),
        (Source(A, 2), Source(B, 2, preferred=True), None),
        (Source(A, 2, preferred=True), Source(B, 3, preferred=True), None),
        (Source(A, 2), Source(B, 3), None),
    ],
)
def test_why_another_is_better(mine: Source, other: Source, reason: Reason | None) -> None:
    assert choice(mine, other).preference(mine, other) is reason


def test_a_pinned_address_is_not_left_for_what_routing_prefers() -> None:
    mine, other = Source(A, 2), Source(B, 3, preferred=True)
    made = choice(mine, other)
    made.pinned = A.host
    assert made.preference(mine, other) is None
