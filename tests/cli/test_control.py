"""The client's end of the control socket."""

import pytest

from sacip_tun.cli.control import Control
from sacip_tun.client.lines import accepted
from sacip_tun.client.sockets import chosen, socket_of
from sacip_tun.outcome import Exit, Failure


def refusal(call, *arguments):
    with pytest.raises(Failure) as caught:
        call(*arguments)
    return caught.value


def test_a_request_is_one_line_and_so_is_its_answer(daemon, directories):
    fake = daemon()
    fake.answer({"ok": True, "x": 1})
    with Control(directories.run / "sacip0.sock") as control:
        assert control.request("status", y=2) == {"x": 1}
    assert fake.requests == [{"command": "status", "y": 2}]


def test_a_long_answer_comes_in_pieces(daemon, directories):
    daemon().answer({"ok": True, "x": "y" * 4_000_000})
    with Control(directories.run / "sacip0.sock") as control:
        assert len(control.request("status")["x"]) == 4_000_000


@pytest.mark.parametrize(
    ("answer", "code", "cause"),
    [
        ({"ok": False, "error": "no such address", "exit": 6}, 6, "sacip0: no such address"),
        ({"ok": False, "error": "bad"}, 1, "sacip0: bad"),
        ({"ok": False, "exit": "x"}, 1, "refused without a reason"),
        ({"ok": False, "error": "zero", "exit": 0}, 1, "zero"),
        ({}, 1, "refused without a reason"),
    ],
)
def test_a_refusal_carries_its_exit_code(answer, code, cause):
    failure = refusal(accepted, answer, "sacip0")
    assert failure.code == code
    assert cause in failure.cause


@pytest.mark.parametrize("line", [b"hello\n", b"[]\n", b"1\n", b"[" * 100_000 + b"\n", b"\xff\n"])
def test_an_answer_that_is_no_object_is_told(run, daemon, line):
    daemon().answer(line)
    code, _, err = run("status", "sacip0")
    assert code == 1
    assert "answered what is not an object of JSON" in err


def test_a_daemon_that_dies_in_between_is_told(run, daemon):
    daemon().answer()
    code, _, err = run("status", "sacip0")
    assert code == 1
    assert "closed the control connection without an answer" in err


def test_a_daemon_that_is_stuck_is_not_waited_for(daemon, directories):
    daemon()
    with Control(directories.run / "sacip0.sock", timeout=0.01) as control:
        assert "sacip0 did not answer in 0.01 s" in refusal(control.receive).cause


def test_what_is_not_running_is_told_with_how_to_start_it(run, directories):
    code, _, err = run("status", "nope")
    assert code == 3
    assert f"nope is not running: there is no {directories.run}/nope.sock" in err
    assert "sacip-tun up nope" in err


def test_what_died_without_cleaning_up_is_told(run, daemon):
    dead = daemon()
    dead.close()
    dead.close = lambda: None
    code, _, err = run("status", "sacip0")
    assert code == 3
    assert "its process ended without cleaning up" in err


def test_missing_privilege_is_told(run, monkeypatch, directories):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("socket.socket.connect", refuse)
    code, _, err = run("status", "sacip0")
    assert code == Exit.NO_PRIVILEGE
    assert f"this user may not use {directories.run}/sacip0.sock" in err
    assert "sudo" in err


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../x"])
def test_a_name_is_no_path(directories, name):
    assert refusal(socket_of, directories.run, name).code == Exit.USAGE


def test_a_name_too_long_for_a_socket_is_told(run):
    code, _, err = run("status", "x" * 200)
    assert code == 1
    assert "check the name of the interface" in err


def test_the_only_tunnel_needs_no_name(daemon, directories):
    assert refusal(chosen, directories.run, None).code == Exit.NOT_RUNNING
    daemon()
    assert chosen(directories.run, None).stem == "sacip0"
    daemon("sacip1")
    failure = refusal(chosen, directories.run, None)
    assert (failure.code, failure.fix) == (Exit.USAGE, "say which one")
    assert chosen(directories.run, "sacip1").stem == "sacip1"
