"""Delivery: what was lost goes first, then what waited, paced; and it says what it cost."""

from collections import Counter

import pytest
from sealed import SIZE, run_of, told

from sacip_tun.protocol.delivery import FIRST_WINDOW, Delivery
from sacip_tun.protocol.errors import Drop
from sacip_tun.protocol.events import Held, Recovered, SessionReady
from sacip_tun.protocol.hold import STALE_AFTER, Tag
from sacip_tun.protocol.ring import RING_AGE
from sacip_tun.protocol.timers import Timer

KILOBYTES = bytes(5000)


class Desk:
    """The peer that a Delivery belongs to, in so far as that concerns it."""

    key = b"peer"
    round_trip = 0.020

    def __init__(self) -> None:
        self.open = True
        self.accepts = True
        self.again: list[bytes] = []
        self.drops = Counter[Drop]()
        self.events = []
        self.timers: dict[Timer, float] = {}

    def can_send(self, *, now: float) -> bool:  # noqa: ARG002  # the signature of a Carrier
        return self.open

    def send_again(self, run, *, now: float) -> bool:  # noqa: ARG002  # the same
        if self.accepts:
            self.again.append(run.data)
        return self.accepts

    def count(self, reason: Drop, number: int) -> None:
        self.drops[reason] += number

    def emit(self, event) -> None:
        self.events.append(event)

    def arm(self, timer: Timer, deadline: float) -> None:
        self.timers[timer] = deadline

    def is_set(self, timer: Timer) -> bool:
        return timer in self.timers

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]

    def fire(self, delivery: Delivery, timer: Timer) -> float:
        now = self.timers.pop(timer)
        delivery.handle_timer(timer, now=now)
        return now


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def delivery(desk: Desk) -> Delivery:
    return Delivery(desk)


def taken(delivery: Delivery, now: float) -> list[bytes]:
    return [waiting.packet for waiting in delivery.take(now=now)]


def test_an_outage_is_told_once_and_what_it_cost_at_its_end(desk, delivery) -> None:
    delivery.keep(b"voice", why="the path does not answer", now=1.0)
    delivery.keep(b"data", Tag(b"f", 1, 4), why="the path does not answer", now=2.0)
    assert [event.why for event in desk.of(Held)] == ["the path does not answer"]
    delivery.carries(3, now=1.0 + STALE_AFTER + 1.0)
    (recovered,) = desk.of(Recovered)
    assert recovered.milliseconds == pytest.approx(7000)
    assert (recovered.released, recovered.resent, recovered.lost) == (1, 3, 1)
    assert desk.of(SessionReady)
    assert desk.drops == {Drop.HELD_STALE: 1}
    delivery.keep(b"more", why="again", now=20.0)
    assert len(desk.of(Held)) == 2


def test_what_was_said_to_be_released_does_not_become_stale_on_its_way(desk, delivery) -> None:
    for number in range(20):
        delivery.keep(KILOBYTES + bytes([number]), why="no path", now=1.0)
    now = 1.0 + STALE_AFTER
    delivery.carries(0, now=now)
    packets = taken(delivery, now)
    while delivery.waiting:
        now += 0.1
        delivery.handle_timer(Timer.RELEASE, now=now)
        packets += taken(delivery, now)
    (recovered,) = desk.of(Recovered)
    assert (recovered.released, recovered.lost) == (len(packets), 0) == (20, 0)
    assert not desk.drops


def test_what_went_before_the_path_was_acknowledged_counts_as_released(desk, delivery) -> None:
    for number in range(4):
        delivery.keep(bytes([number]), why="no path", now=1.0)
    *_, refused = delivery.take(now=1.1)
    delivery.keep(refused.packet, refused.tag, first=True, why="no path", now=1.1)
    delivery.carries(0, now=1.2)
    assert len(taken(delivery, 1.3)) == 1
    (recovered,) = desk.of(Recovered)
    assert (recovered.released, recovered.lost) == (4, 0)


def test_waiting_for_the_first_session_is_no_outage(desk, delivery) -> None:
    delivery.keep(b"first", why=None, now=1.0)
    delivery.carries(0, now=1.1)
    assert not desk.of(Held)
    assert not desk.of(Recovered)
    assert desk.of(SessionReady)


def test_what_waits_is_released_in_windows_that_double_each_round_trip(desk, delivery) -> None:
    for _ in range(20):
        delivery.keep(KILOBYTES, why=None, now=1.0)
    released, now = [len(taken(delivery, 1.0))], 1.0
    while delivery.waiting:
        now = desk.fire(delivery, Timer.RELEASE)
        released.append(len(taken(delivery, now)))
    assert released == [3, 6, 11]
    assert now == pytest.approx(1.0 + 2 * desk.round_trip)


def test_within_a_window_nothing_more_is_released(delivery) -> None:
    for _ in range(5):
        delivery.keep(KILOBYTES, why=None, now=1.0)
    assert len(taken(delivery, 1.0)) == 3
    assert not taken(delivery, 1.001)
    assert delivery.waiting


def test_a_window_that_has_closed_wakes_nobody(desk, delivery) -> None:
    delivery.keep(b"x", why=None, now=1.0)
    taken(delivery, 1.0)
    desk.fire(delivery, Timer.RELEASE)
    assert not desk.timers


def test_exactly_what_was_lost_is_sent_again_before_what_waited(desk, delivery) -> None:
    delivery.sent(run_of(5, 0, 4), SIZE, now=1.0)
    delivery.keep(b"waited", why=None, now=1.1)
    assert delivery.resend([told(5, {0, 3})], before=1.2, now=1.2) == 2
    assert desk.again == [bytes(run_of(5, 1, 2))]
    assert delivery.resent == 2
    assert taken(delivery, 1.2) == [b"waited"]
    assert delivery.resend([told(5, {0, 3})], before=1.2, now=1.3) == 0


def lose(delivery: Delivery, kilobytes: int) -> None:
    """Send so much under one session, of which nothing arrives."""
    for number in range(kilobytes):
        delivery.sent(run_of(5, 16 * number, 16), SIZE, now=1.0)


def test_a_large_loss_is_paced_and_what_waits_stays_behind_it(desk, delivery) -> None:
    lose(delivery, 40)
    delivery.keep(b"waited", why=None, now=1.0)
    delivery.resend([told(5, set())], before=1.1, now=1.1)
    assert sum(map(len, desk.again)) < FIRST_WINDOW + 1024
    assert not taken(delivery, 1.1)
    while len(desk.again) < 40:
        now = desk.fire(delivery, Timer.RELEASE)
    assert b"".join(desk.again) == b"".join(bytes(run_of(5, 16 * n, 16)) for n in range(40))
    assert desk.of(SessionReady)
    assert taken(delivery, now) == [b"waited"]


def test_what_could_not_be_sent_again_in_an_outage_goes_when_the_path_carries(
    desk, delivery
) -> None:
    """Nothing new need come from inside for that."""
    lose(delivery, 40)
    delivery.resend([told(5, set())], before=1.1, now=1.1)
    desk.open = False
    desk.fire(delivery, Timer.RELEASE)
    before = len(desk.again)
    assert before < 40
    assert not desk.timers.keys() - {Timer.RING}
    desk.open = True
    delivery.carries(0, now=1.5)
    while delivery.waiting:
        desk.fire(delivery, Timer.RELEASE)
    assert len(desk.again) == 40


def test_an_unproven_address_that_carries_no_more_loses_the_rest(desk, delivery) -> None:
    delivery.sent(run_of(5, 0, 4), SIZE, now=1.0)
    desk.accepts = False
    delivery.resend([told(5, set())], before=1.1, now=1.1)
    assert not delivery.waiting


def test_all_since_the_peer_was_heard_is_sent_again(desk, delivery) -> None:
    delivery.sent(run_of(5, 0, 1), SIZE, now=1.0)
    delivery.sent(run_of(5, 1, 1), SIZE, now=1.5)
    assert delivery.resend_unheard(1.2, now=1.6) == 1
    assert desk.again == [bytes(run_of(5, 1, 1))]


def test_the_ring_is_emptied_by_its_timer_and_then_wakes_nobody(desk, delivery) -> None:
    delivery.sent(run_of(5, 0, 1), SIZE, now=1.0)
    delivery.sent(run_of(5, 1, 1), SIZE, now=2.0)
    desk.fire(delivery, Timer.RING)
    while desk.timers:
        assert desk.fire(delivery, Timer.RING) < 2.0 + 3 * RING_AGE
    assert not delivery.ring


def test_giving_up_keeps_each_connections_last_word(desk, delivery) -> None:
    delivery.keep(b"voice", why=None, now=1.0)
    delivery.keep(b"data", Tag(b"f", 1, 4), why=None, now=1.0)
    assert delivery.give_up() == 1
    assert desk.drops == {Drop.GAVE_UP: 1}
    assert taken(delivery, 2.0) == [b"data"]


def test_without_keys_nothing_is_sent_again(delivery) -> None:
    lose(delivery, 40)
    delivery.resend([told(5, set())], before=1.1, now=1.1)
    delivery.clear()
    assert not delivery.waiting
    assert delivery.resend([told(5, set())], before=9.0, now=1.2) == 0
