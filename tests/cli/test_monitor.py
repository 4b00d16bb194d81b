"""monitor: a line an event, from one tunnel or from all."""

import json

from sacip_tun.cli import monitor

from .documents import KEY_B

EVENT = {"event": "speaks-sacip", "time_unix": 0.5, "interface": "sacip0", "peer": KEY_B}


def test_events_are_printed_as_they_come_until_the_tunnel_goes_down(run, daemon):
    fake = daemon()
    fake.answer({"ok": True}, EVENT, {**EVENT, "time_unix": 1.5})
    code, out, err = run("monitor", "sacip0")
    assert fake.requests == [{"command": "monitor"}]
    assert (code, err) == (0, "listening to sacip0\nsacip0 is down\n")
    assert out.splitlines() == [
        "00:00:00.500  sacip0    o4uPbVJ9  speaks sacip",
        "00:00:01.500  sacip0    o4uPbVJ9  speaks sacip",
    ]


def test_json_is_one_object_a_line_with_its_interface(run, daemon):
    daemon().answer({"ok": True}, EVENT, {"event": "lost", "records": 3})
    lines = [json.loads(line) for line in run("monitor", "--json")[1].splitlines()]
    assert lines == [EVENT, {"interface": "sacip0", "event": "lost", "records": 3}]


def test_without_a_name_all_tunnels_are_watched(run, daemon):
    for name in ("sacip0", "sacip1"):
        daemon(name).answer({**EVENT, "interface": name})
    code, out, _ = run("monitor")
    assert code == 0
    assert {line.split()[1] for line in out.splitlines()} == {"sacip0", "sacip1"}


def test_a_refusal_ends_it(run, daemon):
    daemon().answer({"ok": False, "error": "too many listeners", "exit": 1})
    code, out, err = run("monitor", "sacip0")
    assert (code, out) == (1, "")
    assert "sacip0: too many listeners" in err


def test_nothing_running_is_told(run):
    assert run("monitor")[0] == 3
    assert run("monitor", "sacip0")[0] == 3


def test_control_c_ends_it_well(run, daemon, monkeypatch):
    def interrupted(_controls):
        raise KeyboardInterrupt

    daemon()
    monkeypatch.setattr(monitor, "_records", interrupted)
    assert run("monitor", "sacip0") == (0, "", "")
