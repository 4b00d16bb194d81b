"""The train: what may leave together does, in full sends, and nothing else."""

import pytest
from simulation import endpoint

from sacip_tun.daemon.train import Train
from sacip_tun.datapath.codec import SEAL_CAPACITY, Sealed
from sacip_tun.protocol.grant import Grant

A, B = endpoint("192.0.2.1"), endpoint("192.0.2.2")
PEER, OTHER = object(), object()
SUPERPACKET = memoryview(b"inner")
CLASS = 2


def grant(remote=B, local=A, counter: int = 2) -> Grant:
    return Grant(None, counter, local, remote)


def couple(train: Train, count: int, size: int, last: int | None = None, fill: int = 1) -> Sealed:
    length = (count - 1) * size + (size if last is None else last)
    train.room[:length] = bytes([fill]) * length
    sealed = Sealed(size, count, length)
    granted = grant(counter=train._next_counter)
    if not train.fits(PEER, granted, sealed, CLASS):
        train.rest()
        train.begin(PEER, granted, sealed, CLASS)
    train.add(sealed, [SUPERPACKET])
    return sealed


def test_two_super_packets_make_full_sends_and_one_rest() -> None:
    train = Train()
    couple(train, 47, 1452, fill=1)
    assert len(train.next_full()) == 45 * 1452
    assert train.next_full() is None
    couple(train, 47, 1452, fill=2)
    full = bytes(train.next_full())
    assert full == b"\1" * 2 * 1452 + b"\2" * 43 * 1452
    assert bytes(train.rest()) == b"\2" * 4 * 1452
    assert bytes(train.rest()) == b""


def test_small_datagrams_are_limited_by_their_number() -> None:
    train = Train()
    couple(train, 100, 96)
    assert len(train.next_full()) == 64 * 96


@pytest.mark.parametrize(
    ("peer", "granted", "size", "traffic_class"),
    [
        (OTHER, grant(), 1452, CLASS),
        (PEER, grant(remote=endpoint("192.0.2.3")), 1452, CLASS),
        (PEER, grant(local=None), 1452, CLASS),
        (PEER, grant(), 1400, CLASS),
        (PEER, grant(), 1452, 0),
        (PEER, grant(counter=3), 1452, CLASS),  # a probe took the one between
    ],
)
def test_another_peer_path_size_class_or_counter_does_not_fit(
    peer, granted, size, traffic_class
) -> None:
    train = Train()
    couple(train, 2, 1452)
    assert train.fits(PEER, grant(), Sealed(1452, 1, 1452), CLASS)
    assert not train.fits(peer, granted, Sealed(size, 1, size), traffic_class)


def test_nothing_follows_a_shorter_last_datagram() -> None:
    train = Train()
    couple(train, 3, 1452, last=100)
    assert not train.fits(PEER, grant(), Sealed(1452, 1, 1452), CLASS)


def test_room_ends_where_the_largest_super_packet_would_not_fit() -> None:
    train = Train()
    while train.has_room:
        assert len(train.room) >= SEAL_CAPACITY
        couple(train, 47, 1452)
    train.clear()
    assert train.has_room
    assert train.give_up() == []


def test_what_no_datagram_can_carry_still_leaves_the_train() -> None:
    train = Train()
    couple(train, 1, 65567)
    assert len(train.next_full()) == 65567
    assert train.next_full() is None
