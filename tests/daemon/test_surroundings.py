"""What is swept at a start: ours, others', and what belongs to another network namespace."""

import socket

import pytest

from sacip_tun.config import parse
from sacip_tun.daemon.surroundings import Surroundings, leftovers, names_of, policy_of, routes_of
from sacip_tun.linux import undo
from sacip_tun.linux.undo import UndoLog
from sacip_tun.protocol.keys import clamped, to_base64

KEY, OTHER = (to_base64(clamped(bytes([n]) * 32)) for n in (1, 2))


def config(lines="", networks="0.0.0.0/0, ::/0, 10.66.0.0/16"):
    text = f"[Interface]\nPrivateKey={KEY}\nAddress=10.9.0.2/24\n{lines}"
    return parse(f"{text}[Peer]\nPublicKey={OTHER}\nAllowedIPs={networks}", "wg0")


@pytest.fixture
def undone(monkeypatch):
    done = []
    monkeypatch.setattr(undo, "UNDO", dict.fromkeys(undo.UNDO, done.append))
    return done


def kinds(steps):
    return [step["kind"] for step in steps]


def swept(directory, settings):
    surroundings = Surroundings("wg0", directory, lambda _line: None)
    surroundings.sweep(settings)
    return surroundings.warnings


def test_ours_is_undone_but_for_a_kill_switch_that_is_wanted_again(tmp_path, undone):
    log = UndoLog(tmp_path, "wg0")
    for kind in ("kill-switch", "rule"):
        log.remember(kind)
    assert swept(tmp_path, config("KillSwitch = yes\n")) == []
    assert (kinds(undone), kinds(log.steps())) == (["rule"], ["kill-switch"])
    swept(tmp_path, config())
    assert kinds(undone) == ["rule", "kill-switch"]


def test_the_kill_switch_of_another_stays_and_is_told(tmp_path, undone):
    log = UndoLog(tmp_path, "wg7")
    for kind in ("kill-switch", "rule"):
        log.remember(kind)
    (warning,) = swept(tmp_path, config())
    assert "sacip-tun cleanup wg7" in warning
    assert (kinds(undone), kinds(log.steps())) == (["rule"], ["kill-switch"])


def test_what_runs_is_left_alone(tmp_path, undone):
    UndoLog(tmp_path, "wg7").remember("rule")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "wg7.sock"))
        listener.listen()
        assert leftovers(tmp_path) == []
        swept(tmp_path, config())
    assert undone == []


def test_of_another_network_namespace_only_files_are_undone(tmp_path, undone):
    for name in ("wg0", "wg7"):
        log = UndoLog(tmp_path, name)
        for kind in ("rule", "resolvconf"):
            log.remember(kind)
        path = tmp_path / f"{name}.undo"
        path.write_text(path.read_text().replace(undo.namespace(), "1:2"))
    swept(tmp_path, config())
    assert kinds(undone) == ["resolvconf"]
    assert [log.interface for log in undo.logs(tmp_path)] == ["wg7"]


def test_routes_go_into_the_tables_that_a_file_means():
    strict = policy_of(config(), 51820, 51820)
    assert {
        table: list(map(str, networks)) for table, networks in routes_of(config(), strict).items()
    } == {51820: ["10.66.0.0/16", "0.0.0.0/0", "::/0", "10.9.0.0/24"]}
    loose = config("LeakProtection = compat\n")
    tables = routes_of(loose, policy_of(loose, 51820, 51820))
    assert {table: list(map(str, networks)) for table, networks in tables.items()} == {
        254: ["10.66.0.0/16"],
        51820: ["0.0.0.0/0", "::/0"],
    }
    assert list(routes_of(config("Table = 7\n"), None)) == [254, 7]
    assert routes_of(config("Table = off\n"), None) == {254: []}


@pytest.mark.parametrize(
    ("lines", "networks", "exclusive"),
    [
        ("DNS = 10.9.0.1\n", "0.0.0.0/0", True),
        ("DNS = 10.9.0.1, corp.example\n", "0.0.0.0/0", True),
        ("DNS = 10.9.0.1\n", "10.0.0.0/8", True),
        ("DNS = 10.9.0.1, corp.example\n", "10.0.0.0/8", False),
    ],
)
def test_a_tunnel_to_one_network_is_asked_for_its_domains(lines, networks, exclusive):
    assert names_of(config(lines, networks)).exclusive is exclusive
    assert names_of(config("DNS = corp.example\n", networks)) is None
