"""Liveness: a silent path is asked soon, left for one that answers, and nobody is asked idly."""

from itertools import pairwise

import pytest
from simulation import endpoint

from sacip_tun.protocol.events import Degraded
from sacip_tun.protocol.frames import Code
from sacip_tun.protocol.liveness import FIRST_DOUBT, ONE_WAY_PAUSE, PATIENCE, Liveness
from sacip_tun.protocol.path import Path
from sacip_tun.protocol.timers import Timer

HERE, THERE, OTHER = endpoint("192.0.2.1"), endpoint("192.0.2.9"), endpoint("192.0.2.2")
RTT = 0.020


class Prober:
    """A peer with two own addresses, in so far as that concerns its liveness."""

    key = b"peer"
    speaks_sacip = True
    detached = False

    def __init__(self) -> None:
        self.path = Path(THERE)
        self.path.local = self.path.local.of(HERE)
        self.path.sampled(RTT)
        self.has_session = True
        self.waited_for = True
        self.asked: list[tuple[float, object, object, int]] = []
        self.speech = self.where = self
        self.events = []
        self.taken = []
        self.handshakes = 0
        self.deadline: float | None = None

    def pairs_in_turn(self, _turn):
        return [(HERE, THERE), (OTHER, THERE)]

    def wanted(self, *, now: float) -> bool:  # noqa: ARG002  # the signature of a Prober
        return self.waited_for

    def take_path(self, local, remote, *, now: float) -> None:
        self.taken.append((local, remote, now))

    def can_seal(self, *, now: float) -> bool:  # noqa: ARG002  # the same
        return self.has_session

    def start_handshake(self, *, now: float, urgent: bool = False) -> None:  # noqa: ARG002
        self.handshakes += 1

    def received(self):
        return ()

    def ask(self, frame, local, remote, *, now: float) -> int:
        assert frame.code == Code.PATH_CHALLENGE
        self.asked.append((now, local, remote, len(self.asked) + 1))
        return len(self.asked)

    def emit(self, event) -> None:
        self.events.append(event)

    def arm(self, timer: Timer, deadline: float) -> None:
        assert timer is Timer.LIVENESS
        self.deadline = deadline

    def disarm(self, timer: Timer) -> None:
        assert timer is Timer.LIVENESS
        self.deadline = None

    def run(self, liveness: Liveness, until: float) -> None:
        while self.deadline is not None and self.deadline <= until:
            now, self.deadline = self.deadline, None
            liveness.ask(now=now)

    def token(self, local) -> int:
        return next(token for _, source, _, token in reversed(self.asked) if source == local)


@pytest.fixture
def link() -> Prober:
    return Prober()


@pytest.fixture
def liveness(link: Prober) -> Liveness:
    return Liveness(link)


def test_who_is_answered_asks_nothing(link, liveness) -> None:
    liveness.data_sent(now=0.0)
    liveness.heard()
    link.run(liveness, 100)
    assert not link.asked


def test_a_plain_peer_is_not_asked(link, liveness) -> None:
    link.speaks_sacip = False
    liveness.data_sent(now=0.0)
    liveness.doubt(now=0.0)
    assert link.deadline is None
    assert not link.asked


def test_the_path_in_use_is_asked_first_and_then_every_other(link, liveness) -> None:
    liveness.data_sent(now=0.0)
    link.run(liveness, FIRST_DOUBT)
    assert [(local, remote) for _, local, remote, _ in link.asked] == [(HERE, THERE)]
    assert not liveness.doubting
    link.run(liveness, FIRST_DOUBT + 2 * RTT)
    assert [local for _, local, _, _ in link.asked[1:]] == [HERE, OTHER]
    assert liveness.doubting
    assert not liveness.silent


def test_silence_is_told_once_within_half_a_second(link, liveness) -> None:
    liveness.data_sent(now=0.0)
    link.run(liveness, 60.0)
    (degraded,) = link.events
    assert isinstance(degraded, Degraded)
    assert (degraded.local, degraded.remote) == (HERE, THERE)
    assert degraded.milliseconds < 500
    assert liveness.silent


def test_another_path_that_answers_is_taken(link, liveness) -> None:
    liveness.data_sent(now=0.0)
    link.run(liveness, 0.3)
    assert liveness.answered(link.token(OTHER), None, now=0.3)
    assert link.taken == [(OTHER, THERE, 0.3)]
    assert (liveness.silent, liveness.doubting, link.deadline) == (False, False, None)


def test_an_answer_over_another_path_after_the_one_in_use_takes_nothing(link, liveness) -> None:
    liveness.data_sent(now=0.0)
    link.run(liveness, 0.3)
    assert liveness.answered(link.token(HERE), None, now=0.3)
    assert not liveness.answered(link.token(OTHER), None, now=0.301)
    assert not link.taken


def test_an_unknown_token_ends_nothing(link, liveness) -> None:
    liveness.data_sent(now=0.0)
    link.run(liveness, 2.0)
    assert not liveness.answered(999, None, now=2.0)
    assert liveness.silent


def test_a_one_way_stream_is_asked_once_a_second_at_most(link, liveness) -> None:
    now = 0.0
    liveness.data_sent(now=now)
    for _ in range(20):
        assert link.deadline is not None
        now = link.deadline
        link.run(liveness, now)
        liveness.answered(link.token(HERE), None, now=now + RTT)
        liveness.data_sent(now=now + RTT)
    times = [when for when, *_ in link.asked]
    assert len(times) == 20
    assert all(b - a >= ONE_WAY_PAUSE for a, b in pairwise(times))
    assert not link.events


def test_a_silent_path_is_asked_ever_more_slowly_but_always(link, liveness) -> None:
    liveness.data_sent(now=0.0)
    link.run(liveness, 3600.0)
    rounds = sorted({when for when, *_ in link.asked})
    pauses = [b - a for a, b in pairwise(rounds)]
    assert max(p for p, at in zip(pauses, rounds, strict=False) if at < 55) <= 1.0
    assert max(p for p, at in zip(pauses, rounds, strict=False) if at < 590) <= 5.0
    assert max(pauses) == pytest.approx(15.0)
    assert len(rounds) < 500


def test_nobody_is_asked_for_whom_nobody_waits(link, liveness) -> None:
    link.waited_for = False
    liveness.data_sent(now=0.0)
    link.run(liveness, 3600.0)
    assert link.deadline is None
    assert link.asked[-1][0] < PATIENCE + 15


def test_without_a_session_there_is_a_handshake_and_what_is_sent_waits(link, liveness) -> None:
    link.has_session = False
    liveness.data_sent(now=0.0)
    link.run(liveness, 1.0)
    assert liveness.silent
    assert link.handshakes
    assert link.deadline is not None


def test_open_questions_are_bounded(link, liveness) -> None:
    liveness.data_sent(now=0.0)
    link.run(liveness, 3600.0)
    assert len(liveness._asked) <= 64


def test_searching_asks_everywhere_at_once(link, liveness) -> None:
    liveness.search(now=5.0)
    assert {local for when, local, _, _ in link.asked if when == 5.0} == {HERE, OTHER}
