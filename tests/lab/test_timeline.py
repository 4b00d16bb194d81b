import json

from sacip_tun.lab.timeline import Timeline, records

MOVED = {
    "event": "moved",
    "time_unix": 100.0025,
    "interface": "lab1a",
    "peer": "key",
    "side": "local",
    "number": 1,
    "old": "192.168.1.22:51820",
    "new": "192.168.1.2:51820",
    "observed": "192.168.1.2:51820",
}


def test_both_hosts_are_merged_in_order_of_time() -> None:
    timeline = Timeline()
    timeline.add_events("mover", [MOVED])
    timeline.add_events("peer", [{**MOVED, "time_unix": 100.0015, "side": "remote"}])
    timeline.add(100.0, "mover", "$ ip addr del")
    lines = timeline.lines(100.0)
    assert [line.split()[:2] for line in lines] == [
        ["0.0", "mover"],
        ["1.5", "peer"],
        ["2.5", "mover"],
    ]
    assert "192.168.1.22:51820 → 192.168.1.2:51820" in lines[2]


def test_what_was_before_is_left_out_unless_asked_for() -> None:
    timeline = Timeline()
    timeline.add(99.0, "mover", "before")
    timeline.add(101.0, "mover", "after")
    assert len(timeline.lines(100.0)) == 1
    assert len(timeline.lines(100.0, all_of_it=True)) == 2


def test_one_moment_keeps_the_order_in_which_it_was_told() -> None:
    timeline = Timeline()
    for what in ("switches", "sends CHANGE", "a third"):
        timeline.add(100.0, "mover", what)
    assert [line.split("mover   ")[1] for line in timeline.lines(0.0)] == [
        "switches",
        "sends CHANGE",
        "a third",
    ]


def test_an_unknown_event_is_shown_as_it_is() -> None:
    timeline = Timeline()
    timeline.add_events("peer", [{"event": "strange", "time_unix": 1.0, "peer": "key", "n": 3}])
    (line,) = timeline.lines(0.0)
    assert "strange" in line
    assert "n=3" in line
    assert "key" not in line


def test_a_known_event_with_other_fields_is_shown_as_it_is() -> None:
    timeline = Timeline()
    timeline.add_events("peer", [{"event": "moved", "time_unix": 1.0, "to": "somewhere"}])
    assert "to=somewhere" in timeline.lines(0.0)[0]


def test_lines_that_are_no_records_are_passed_over() -> None:
    lines = [json.dumps(MOVED), '{"event": "cut', "[1]", "sacip-tun: interrupted", ""]
    assert list(records(lines)) == [MOVED]
