"""wait: what it waits for, and how it ends."""

import pytest

from sacip_tun.cli import wait

from .documents import KEY_B, peer_document, status_document

CALLED = peer_document(endpoint_configured="a:1", state="connected")
SILENT = peer_document(endpoint_configured="b:1", state="silent")
CALLER = peer_document(state="connected")
ABSENT = peer_document(state="no endpoint")
OK = {"ok": True}
MOVED = {
    "event": "moved", "side": "remote", "time_unix": 0.5, "interface": "sacip0", "peer": KEY_B,
    "old": "192.0.2.1:1", "new": "192.0.2.2:1",
}  # fmt: skip


def test_up_is_when_the_tunnel_answers(run, daemon):
    daemon().answer({**OK, **status_document()})
    assert run("wait") == (0, "sacip0 is up\n", "")


def test_one_that_says_it_is_still_coming_up_is_waited_for(run, daemon):
    fake = daemon()
    fake.answer({"ok": False, "error": "it is still coming up", "fix": "wait", "exit": 3})
    assert run("wait", "sacip0", "--timeout", "0.12")[0] == 6
    assert len(fake.requests) > 1


def test_a_tunnel_that_does_not_come_up_ends_with_6(run):
    code, out, err = run("wait", "sacip0", "--timeout", "0.12")
    assert (code, out) == (6, "")
    assert "error: within 0.12 s the interface did not come up" in err


@pytest.mark.parametrize(
    ("peers", "connected"),
    [
        ([CALLED], True),
        ([CALLED, ABSENT], True),
        ([CALLER, ABSENT], True),
        ([CALLED, SILENT], False),
        ([CALLER, SILENT], False),
        ([ABSENT], False),
        ([], False),
    ],
)
def test_peers_that_are_called_must_all_be_there_else_one(peers, connected):
    assert wait._all_connected(status_document(*peers)) is connected


def test_a_peer_that_is_connected_already_is_not_waited_for(run, daemon):
    fake = daemon()
    fake.answer({**OK, **status_document(CALLED)})
    assert run("wait", "sacip0", "--for", "peer") == (0, "sacip0: connected\n", "")
    assert [request["command"] for request in fake.requests] == ["monitor", "status"]


def test_the_next_move_is_printed_and_other_events_are_not(run, daemon):
    daemon().answer(OK, {**MOVED, "event": "frame-sent"}, MOVED)
    code, out, err = run("wait", "--for", "handover")
    assert (code, err) == (0, "")
    assert (
        out == "00:00:00.500  sacip0    o4uPbVJ9  peer moved           192.0.2.1:1 → 192.0.2.2:1\n"
    )


@pytest.mark.parametrize("what", ["peer", "handover"])
def test_a_tunnel_that_goes_meanwhile_ends_it_with_3(run, daemon, what):
    daemon().answer({**OK, **status_document(SILENT)})
    code, out, err = run("wait", "--for", what)
    assert (code, out) == (3, "")
    assert "sacip0 is down" in err


@pytest.mark.parametrize("what", ["peer", "handover"])
def test_one_that_is_not_there_ends_it_at_once(run, what):
    assert run("wait", "--for", what)[0] == 3


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "1e9"])
def test_a_time_that_is_none_is_refused(run, seconds):
    assert run("wait", f"--timeout={seconds}")[0] == 2


def test_what_to_wait_for_is_one_of_three(run):
    code, _, err = run("wait", "--for", "peers")
    assert (code, "did you mean peer?" in err) == (2, True)
