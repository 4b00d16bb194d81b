"""Sessions: counters, limits, sealing; and the rotation of three of them."""

import gc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sacip_tun.protocol.errors import LocalError
from sacip_tun.protocol.handshake import TransportKeys
from sacip_tun.protocol.limits import REJECT_AFTER_MESSAGES, REKEY_AFTER_MESSAGES
from sacip_tun.protocol.messages import DATA, data_counter, data_receiver, message_type
from sacip_tun.protocol.session import Keypairs, Session

START = 1000.0


def session(number: int = 1, *, initiator: bool = True) -> Session:
    keys = TransportKeys(b"s" * 32, b"r" * 32, number, number + 1000, initiator)
    return Session(keys, now=START)


def ends() -> tuple[Session, Session]:
    """Both ends of one session."""
    ours = TransportKeys(b"a" * 32, b"b" * 32, 1, 2, initiator=True)
    theirs = TransportKeys(b"b" * 32, b"a" * 32, 2, 1, initiator=False)
    return Session(ours, now=START), Session(theirs, now=START)


def opened(receiver: Session, datagram: bytes) -> bytes:
    nonce = bytes(4) + datagram[8:16]
    return receiver.opener.decrypt(nonce, datagram[16:], None)


@pytest.mark.parametrize("length", [0, 1, 15, 16, 17, 192])
def test_seal_round_trip(length: int) -> None:
    ours, theirs = ends()
    for sender, receiver in ((ours, theirs), (theirs, ours)):
        for counter in range(3):
            datagram = sender.seal(b"x" * length)
            assert message_type(datagram) == DATA
            assert data_receiver(datagram) == receiver.local_index
            assert data_counter(datagram) == counter
            plain = opened(receiver, datagram)
            assert plain.rstrip(b"\0") == b"x" * length
            assert len(plain) % 16 == 0
            assert len(plain) - length < 16


def test_padding_stops_at_the_mtu() -> None:
    ours, theirs = ends()
    assert len(opened(theirs, ours.seal(b"x" * 1419, 1420))) == 1420
    assert len(opened(theirs, ours.seal(b"x" * 1500, 1420))) == 1500


def test_a_keepalive_is_32_bytes() -> None:
    assert len(session().seal(b"")) == 32


def test_counters_are_handed_out_once() -> None:
    ours = session()
    assert ours.reserve(45) == 0
    assert data_counter(ours.seal(b"")) == 45
    assert ours.reserve(1) == 46
    assert ours.next_counter == 47


def test_a_full_64_bit_counter_is_used() -> None:
    ours, theirs = ends()
    ours.next_counter = 2**32 + 5
    datagram = ours.seal(b"sixteen bytes ok")
    assert data_counter(datagram) == 2**32 + 5
    assert opened(theirs, datagram) == b"sixteen bytes ok"


def test_the_last_counter_and_none_after_it() -> None:
    ours = session()
    ours.next_counter = REJECT_AFTER_MESSAGES - 2
    with pytest.raises(LocalError):
        ours.reserve(3)
    assert ours.reserve(1) == REJECT_AFTER_MESSAGES - 2
    assert ours.may_send(now=START)
    assert data_counter(ours.seal(b"")) == REJECT_AFTER_MESSAGES - 1
    assert not ours.may_send(now=START)
    with pytest.raises(LocalError):
        ours.seal(b"")
    assert ours.next_counter == REJECT_AFTER_MESSAGES


@given(st.lists(st.integers(1, 100), max_size=20))
def test_reservations_never_overlap(counts: list[int]) -> None:
    ours = session()
    handed = [
        counter
        for count in counts
        for first in [ours.reserve(count)]
        for counter in range(first, first + count)
    ]
    assert handed == list(range(sum(counts)))


@pytest.mark.parametrize(("age", "usable"), [(0, True), (179.9, True), (180, False), (540, False)])
def test_age_limit(age: float, *, usable: bool) -> None:
    ours = session()
    assert ours.may_send(now=START + age) is usable
    assert ours.may_receive(now=START + age) is usable


@pytest.mark.parametrize(
    ("initiator", "age", "on_send", "on_receive"),
    [
        (True, 0, False, False),
        (True, 119.9, False, False),
        (True, 120, True, False),
        (True, 164.9, True, False),
        (True, 165, True, True),
        (False, 120, False, False),
        (False, 179, False, False),
    ],
)
def test_the_initiator_renews_by_age(
    *, initiator: bool, age: float, on_send: bool, on_receive: bool
) -> None:
    ours = session(initiator=initiator)
    assert ours.wants_rekey_on_send(now=START + age) is on_send
    assert ours.wants_rekey_on_receive(now=START + age) is on_receive


@pytest.mark.parametrize("initiator", [True, False])
def test_both_roles_renew_by_messages(*, initiator: bool) -> None:
    ours = session(initiator=initiator)
    ours.next_counter = REKEY_AFTER_MESSAGES
    assert not ours.wants_rekey_on_send(now=START)
    ours.reserve(1)
    assert ours.wants_rekey_on_send(now=START)


def test_a_responder_waits_for_confirmation() -> None:
    pairs, theirs = Keypairs(), session(initiator=False)
    pairs.begin_session(theirs)
    assert not theirs.confirmed
    assert not theirs.may_send(now=START)
    assert theirs.may_receive(now=START)
    pairs.received_with(theirs)
    assert theirs.confirmed
    assert theirs.may_send(now=START)


def test_an_erased_session_is_useless_and_holds_no_cipher() -> None:
    ours = session()
    ours.erase()
    ours.erase()
    assert not ours.may_send(now=START)
    assert not ours.may_receive(now=START)
    with pytest.raises(LocalError):
        ours.seal(b"")
    assert not any(type(held).__name__ == "ChaCha20Poly1305" for held in gc.get_referents(ours))


def test_repr_hides_the_keys() -> None:
    keys = TransportKeys(b"s" * 32, b"r" * 32, 1, 2, initiator=True)
    shown = repr(keys) + repr(Session(keys, now=START))
    assert "sss" not in shown
    assert "rrr" not in shown
    assert "local=00000001" in shown


def slots(pairs: Keypairs) -> tuple[Session | None, Session | None, Session | None]:
    return (pairs.previous, pairs.current, pairs.next)


def test_initiator_rotates() -> None:
    pairs, one, two, three = Keypairs(), session(1), session(2), session(3)
    assert slots(pairs) == (None, None, None)
    assert pairs.begin_session(one) == []
    assert slots(pairs) == (None, one, None)
    assert pairs.begin_session(two) == []
    assert slots(pairs) == (one, two, None)
    assert pairs.begin_session(three) == [one]
    assert slots(pairs) == (two, three, None)


def test_responder_rotates_when_confirmed() -> None:
    pairs, one, two = Keypairs(), session(1, initiator=False), session(2, initiator=False)
    assert pairs.begin_session(one) == []
    assert slots(pairs) == (None, None, one)
    assert pairs.received_with(one) == []
    assert slots(pairs) == (None, one, None)
    assert pairs.begin_session(two) == []
    assert slots(pairs) == (None, one, two)
    assert pairs.received_with(one) == []
    assert slots(pairs) == (None, one, two)
    assert pairs.received_with(two) == []
    assert slots(pairs) == (one, two, None)


def test_responder_replaces_an_unconfirmed_next_and_drops_previous() -> None:
    pairs = Keypairs()
    one, two = session(1), session(2)
    pairs.begin_session(one)
    pairs.begin_session(two)
    three = session(3, initiator=False)
    four = session(4, initiator=False)
    assert pairs.begin_session(three) == [one]
    assert slots(pairs) == (None, two, three)
    assert pairs.begin_session(four) == [three]
    assert slots(pairs) == (None, two, four)


def test_initiator_keeps_a_pending_next_as_previous() -> None:
    pairs, one, pending, two = Keypairs(), session(1), session(2, initiator=False), session(3)
    pairs.begin_session(one)
    pairs.begin_session(pending)
    assert pairs.begin_session(two) == [one]
    assert slots(pairs) == (pending, two, None)
    assert pairs.received_with(pending) == []
    assert slots(pairs) == (pending, two, None)


def test_dropped_sessions_are_erased() -> None:
    pairs, one, two, three = Keypairs(), session(1), session(2), session(3)
    for number in (one, two, three):
        pairs.begin_session(number)
    assert not one.may_receive(now=START)
    assert two.may_receive(now=START)


def test_erase_drops_all() -> None:
    pairs, one, two = Keypairs(), session(1), session(2, initiator=False)
    pairs.begin_session(one)
    pairs.begin_session(two)
    assert pairs.erase() == [one, two]
    assert slots(pairs) == (None, None, None)
    assert not one.may_receive(now=START)
    assert pairs.erase() == []


def test_all_yields_the_oldest_first() -> None:
    pairs, one, two, pending = Keypairs(), session(1), session(2), session(3, initiator=False)
    pairs.begin_session(one)
    pairs.begin_session(two)
    assert list(pairs.all()) == [one, two]
    pairs.begin_session(pending)
    assert list(pairs.all()) == [two, pending]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 2)), max_size=30))
def test_every_session_is_held_or_was_dropped_once(steps: list[tuple[bool, int]]) -> None:
    pairs = Keypairs()
    begun, dropped = list[Session](), list[Session]()
    for number, (initiator, receive) in enumerate(steps):
        begun.append(session(number, initiator=initiator))
        dropped += pairs.begin_session(begun[-1])
        held = list(pairs.all())
        if receive < len(held):
            dropped += pairs.received_with(held[receive])
        assert pairs.current is None or pairs.current.confirmed
        assert len(set(slots(pairs)) - {None}) == len(list(pairs.all()))
    assert sorted(s.local_index for s in [*dropped, *pairs.all()]) == list(range(len(begun)))
