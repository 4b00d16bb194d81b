"""status: one or all, for people, programs and health checks."""

import json

import pytest

from .documents import KEY_A, KEY_B, MOVED_PEER, peer_document, status_document

FRESH = peer_document(endpoint_configured="a:1", state="connected", handshake_age=179.9)
STALE = peer_document(endpoint_configured="a:1", state="silent", handshake_age=305.0)
NEVER = peer_document(endpoint_configured="a:1", state="connecting")
DEAD = peer_document(endpoint_configured="a:1", state="no address", handshake_age=65.0)
GONE = peer_document(state="silent", handshake_age=65.0)
WAITING = peer_document(state="no endpoint")


COMING = {"ok": False, "error": "it is still coming up", "fix": "wait", "exit": 3}


def answered(document):
    return {"ok": True, **document}


def test_one_tunnel_is_asked_and_shown(run, daemon):
    fake = daemon()
    fake.answer(answered(status_document(MOVED_PEER)))
    code, out, err = run("status", "sacip0")
    assert (code, err) == (0, "")
    assert fake.requests == [{"command": "status"}]
    assert out.startswith(f"interface: sacip0\n  public key: {KEY_A}\n")
    assert f"\n\npeer: {KEY_B}\n" in out


def test_json_is_the_document(run, daemon):
    document = status_document(MOVED_PEER)
    daemon().answer(answered(document))
    code, out, _ = run("status", "sacip0", "--json")
    assert (code, json.loads(out)) == (0, document)


def test_without_a_name_all_are_shown_in_order(run, daemon):
    for name in ("sacip1", "sacip0"):
        daemon(name).answer(answered(status_document(interface=name)))
    assert [d["interface"] for d in json.loads(run("status", "--json")[1])] == ["sacip0", "sacip1"]
    out = run("status")[1]
    assert out.index("interface: sacip0") < out.index("\n\ninterface: sacip1")


def test_nothing_running_is_told_by_message_and_code(run):
    code, out, err = run("status")
    assert (code, out) == (3, "")
    assert err == (
        "sacip-tun: error: no tunnel is running\nsacip-tun: fix: start one: sacip-tun up NAME\n"
    )
    assert run("status", "--json")[:2] == (3, "[]\n")


def test_a_dead_socket_hides_no_tunnel(run, daemon):
    dead = daemon("dead")
    dead.close()
    dead.close = lambda: None
    daemon().answer(answered(status_document()))
    code, out, err = run("status")
    assert code == 0
    assert "interface: sacip0" in out
    assert "warning: dead is not running" in err


@pytest.mark.parametrize(
    ("peers", "code", "line"),
    [
        ([], 0, "sacip0: ok"),
        ([WAITING], 0, "sacip0: ok"),
        ([FRESH, WAITING, GONE], 0, "sacip0: ok"),
        (
            [DEAD],
            7,
            f"sacip0: degraded: peer {KEY_B}: no address, last handshake 1 minute, 5 seconds ago",
        ),
        ([NEVER], 7, f"sacip0: degraded: peer {KEY_B}: connecting, no handshake yet"),
        (
            [FRESH, STALE],
            7,
            f"sacip0: degraded: peer {KEY_B}: silent, last handshake 5 minutes, 5 seconds ago",
        ),
    ],
)
def test_check_ends_with_7_where_a_called_peer_is_not_there(run, daemon, peers, code, line):
    daemon().answer(answered(status_document(*peers)))
    assert run("status", "sacip0", "--check") == (code, f"{line}\n", "")


def test_check_of_a_tunnel_that_is_not_there_ends_with_3(run):
    assert run("status", "sacip0", "--check")[0] == 3


def test_check_with_json_prints_the_document_alone(run, daemon):
    daemon().answer(answered(status_document(STALE)))
    code, out, _ = run("status", "sacip0", "--check", "--json")
    assert code == 7
    assert json.loads(out)["interface"] == "sacip0"


@pytest.mark.parametrize(
    ("document", "cause"),
    [
        ({"schema": "sacip-tun/status/9"}, "speaks 'sacip-tun/status/9'"),
        ({}, "speaks None"),
        ({"schema": "sacip-tun/status/1"}, "the daemon's status is not as"),
        ({**status_document(), "peers": [{}]}, "the daemon's status is not as"),
        ({**status_document(), "offload": None}, "the daemon's status is not as"),
    ],
)
def test_a_daemon_of_another_version_is_told_without_a_traceback(run, daemon, document, cause):
    daemon().answer(answered(document))
    code, _, err = run("status", "sacip0")
    assert code == 1
    assert cause in err
    assert "restart the tunnel" in err


def test_one_that_is_still_coming_up_hides_none_that_is_up(run, daemon):
    daemon("sacip0").answer(COMING)
    daemon("sacip1").answer(answered(status_document(interface="sacip1")))
    code, out, err = run("status", "--json")
    assert (code, [document["interface"] for document in json.loads(out)]) == (0, ["sacip1"])
    assert "sacip0: it is still coming up" in err
    assert run("status", "sacip0")[0] == 3
