"""Endpoints and the two slots with an index."""

import pytest
from simulation import endpoint

from sacip_tun.protocol.address import AddressPair, Endpoint
from sacip_tun.protocol.errors import LocalError

A, B, C = endpoint("192.0.2.1"), endpoint("192.0.2.2"), endpoint("192.0.2.3")


@pytest.mark.parametrize(
    "text", ["192.0.2.1:51820", "[2001:db8::1]:1", "[fe80::1%3]:65535", "0.0.0.0:9"]
)
def test_an_endpoint_reads_back_what_it_prints(text: str) -> None:
    assert str(Endpoint.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    ["", "192.0.2.1", "192.0.2.1:0", "192.0.2.1:65536", "192.0.2.1:-1", "2001:db8::1:1", "host:1",
     "[fe80::1%eth0]:1", "192.0.2.01:1", "192.0.2.1:\u0661"],
)  # fmt: skip
def test_what_is_no_endpoint_is_refused_with_a_reason(text: str) -> None:
    with pytest.raises(LocalError):
        Endpoint.parse(text)


def test_sockaddr_round_trip_keeps_the_scope_of_link_local_addresses_only() -> None:
    local = Endpoint.from_sockaddr(("fe80::1%eth0", 5, 0, 3))
    assert (local.interface, local.sockaddr) == (3, ("fe80::1", 5, 0, 3))
    assert Endpoint.from_sockaddr(("2001:db8::1", 5, 0, 3)).interface == 0
    assert Endpoint.from_sockaddr(("192.0.2.1", 5)).sockaddr == ("192.0.2.1", 5)


def test_of_added_and_switched_are_the_decks_init_add_and_act() -> None:
    pair = AddressPair.of(A)
    assert (pair.active, pair.idle, pair.index) == (A, None, 0)
    pair = pair.added(B)
    assert (pair.active, pair.idle, pair.index) == (A, B, 0)
    pair = pair.switched()
    assert (pair.active, pair.idle, pair.index) == (B, A, 1)


def test_a_third_address_replaces_the_idle_slot() -> None:
    pair = AddressPair.of(A).added(B).switched().added(C)
    assert (pair.active, pair.idle, pair.index) == (B, C, 1)


def test_a_flip_never_loses_the_only_address() -> None:
    with pytest.raises(LocalError):
        AddressPair.of(A).switched()


def test_moving_to_where_one_is_changes_nothing() -> None:
    pair = AddressPair.of(A).added(B)
    assert pair.moved_to(A) is pair
    assert pair.added(A) is pair
    assert pair.moved_to(B) == pair.switched()
    assert AddressPair().moved_to(A) == AddressPair.of(A)


def test_forgotten_and_replaced_touch_one_slot_each() -> None:
    pair = AddressPair.of(A).added(B).switched()
    assert pair.forgotten().slots == (None, B)
    assert pair.replaced(C).slots == (A, C)
    assert A in pair
    assert C not in pair
    assert None not in AddressPair.of(A)
