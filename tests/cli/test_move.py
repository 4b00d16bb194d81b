"""move: what is asked of the daemon, and what is told to the user."""

import pytest

ANSWER = {
    "ok": True,
    "old": "192.168.1.22:51820",
    "new": "192.168.1.2:51820",
    "peers": [{"name": "phone", "acknowledged_ms": 1.94}, {"name": "hub", "acknowledged_ms": None}],
}


def test_a_move_is_asked_for_and_reported(run, daemon):
    fake = daemon()
    fake.answer(ANSWER)
    code, out, _ = run("move", "--to", "192.168.1.2/24")
    assert fake.requests == [
        {
            "command": "move",
            "to": "192.168.1.2/24",
            "interface": None,
            "keep_old": False,
            "timeout": 5.0,
        }
    ]
    assert code == 0
    assert out == (
        "sacip0: moved 192.168.1.22:51820 → 192.168.1.2:51820\n"
        "  phone  acknowledged after 1.9 ms\n"
        "  hub  not acknowledged\n"
    )


def test_every_option_reaches_the_daemon(run, daemon):
    fake = daemon("wg0")
    fake.answer(ANSWER)
    line = "move wg0 --to 2001:db8::1 --interface eth1 --keep-old --timeout 0.5"
    assert run(*line.split())[0] == 0
    assert fake.requests == [
        {
            "command": "move",
            "to": "2001:db8::1",
            "interface": "eth1",
            "keep_old": True,
            "timeout": 0.5,
        }
    ]


def test_a_peer_that_was_not_reached_ends_it_with_6(run, daemon):
    daemon().answer({"ok": False, "error": "phone did not acknowledge in 5 s", "exit": 6})
    code, out, err = run("move", "--to", "192.168.1.2")
    assert (code, out) == (6, "")
    assert "phone did not acknowledge" in err


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("move", "the following arguments are required: --to"),
        ("move --to nonsense", "--to: 'nonsense' is not an address"),
        ("move --to 192.168.1.2/99", "is not an address"),
        ("move --to 192.168.1.2 --timeout 0", "--timeout: 0 is out of range"),
        ("move --to 192.168.1.2 --timeout nan", "--timeout: nan is out of range"),
        ("move --to 192.168.1.2 --timeout soon", "invalid float value"),
    ],
)
def test_a_wrong_line_is_told_before_the_daemon_is_asked(run, daemon, line, cause):
    fake = daemon()
    code, _, err = run(*line.split())
    assert code == 2
    assert cause in err
    assert fake.requests == []


def test_nothing_running_is_told(run):
    assert run("move", "--to", "192.168.1.2")[0] == 3
