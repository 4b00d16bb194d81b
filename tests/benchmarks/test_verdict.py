import pytest
from verdict import Outcome, beyond, judge, judge_keystrokes, judge_stream, longest, outcome

from sacip_tun.lab.part import STOPPED

RESET = "ConnectionResetError(104, 'Connection reset by peer')"


@pytest.mark.parametrize(
    ("span", "outages", "expected"),
    [
        ((10.0, 12.0), [], 2.0),
        ((10.0, 18.0), [(11.0, 16.0)], 3.0),
        ((10.0, 18.0), [(5.0, 17.0)], 1.0),
        ((10.0, 18.0), [(17.5, 30.0)], 7.5),
        ((10.0, 18.0), [(9.0, 19.0)], 0.0),
        ((10.0, 18.0), [(20.0, 30.0)], 8.0),
        ((10.0, 18.0), [(11.0, 12.0), (13.0, 15.0)], 5.0),
    ],
)
def test_only_the_time_in_which_the_network_was_usable_counts(span, outages, expected) -> None:
    assert beyond(span, outages) == pytest.approx(expected)


def test_silences_before_the_move_do_not_count() -> None:
    spans = [(1.0, 9.0), (20.0, 23.0), (30.0, 36.0)]
    assert longest(spans, [(31.0, 36.0)], move=10.0) == pytest.approx((6.0, 3.0))
    assert longest([], [], move=10.0) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("sender", "receiver", "expected"),
    [
        ({}, {"intact": True}, Outcome.HELD),
        # The other direction of the same connection may have its trouble.
        ({"error": RESET}, {"intact": True}, Outcome.HELD),
        ({"error": STOPPED}, {"intact": False, "error": STOPPED}, Outcome.NEVER),
        ({"error": None}, {"intact": False, "error": STOPPED}, Outcome.NEVER),
        ({"error": RESET}, {"intact": False, "error": STOPPED}, Outcome.DIED),
        ({"error": RESET}, {"intact": False, "error": None}, Outcome.DIED),
        ({"error": None}, {"intact": False, "error": None}, Outcome.CORRUPT),
        ({"error": "it said nothing"}, {"error": "it said nothing"}, Outcome.DIED),
    ],
)
def test_how_a_connection_ended(sender, receiver, expected) -> None:
    assert outcome(sender, receiver) is expected


def test_a_direction_is_judged_by_what_its_receiver_heard_and_its_sender_repeated() -> None:
    sender = {"retransmissions": 7, "silences": [(0.0, 99.0)]}
    receiver = {"intact": True, "silences": [(10.0, 15.2)], "first_unix": 9.0, "bins": [1, 2]}
    seen = judge("up", sender, receiver, [(10.1, 15.1)], move=10.0)
    assert (seen.name, seen.outcome, seen.retransmissions) == ("up", Outcome.HELD, 7)
    assert (seen.silence, seen.beyond) == pytest.approx((5.2, 0.2))
    assert (seen.first_unix, seen.bins) == (9.0, (1, 2))


def test_keystrokes_are_judged_by_their_waits() -> None:
    client = {"intact": True, "waits": [(10.0, 10.3), (11.0, 11.1)], "retransmissions": 1}
    seen = judge_keystrokes(client, {"retransmissions": 2}, [], move=10.0)
    assert seen.beyond == pytest.approx(0.3)
    assert (seen.outcome, seen.retransmissions) == (Outcome.HELD, 3)


SENT = [number / 100 for number in range(500)]


def stream(numbers, silences=(), outages=()):
    client = {"numbers": list(numbers), "silences": list(silences)}
    return judge_stream(client, {"sent_unix": SENT}, list(outages), move=1.0)


def test_packets_lost_in_an_outage_are_the_networks() -> None:
    came = [number for number in range(500) if not 100 <= number < 160]
    seen = stream(came, silences=[(0.99, 1.6)], outages=[(1.0, 1.495)])
    assert (seen.lost, seen.lost_beyond, seen.duplicated) == (60, 10, 0)
    assert seen.beyond == pytest.approx(0.115)
    assert seen.outcome is Outcome.HELD


def test_a_stream_that_does_not_come_back_is_gone() -> None:
    assert stream(range(300)).outcome is Outcome.NEVER
    assert stream([]).outcome is Outcome.NEVER
    assert stream(range(450)).outcome is Outcome.HELD


def test_after_the_last_packet_there_is_no_silence() -> None:
    assert stream(range(500), silences=[(4.99, 9.0)]).beyond == 0.0
