"""What is swept at a start: ours, others', and what belongs to another network namespace."""

import socket
from ipaddress import ip_network

import pytest

from sacip_tun.config import parse
from sacip_tun.daemon import leftovers as left
from sacip_tun.daemon import surroundings as module
from sacip_tun.daemon.due import Due
from sacip_tun.daemon.setup import routes_of
from sacip_tun.daemon.surroundings import Surroundings
from sacip_tun.daemon.wanted import names_of, policy_of
from sacip_tun.linux import undo
from sacip_tun.linux.routes import Rule
from sacip_tun.linux.snapshot import Snapshot
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


def swept(directory, **how):
    surroundings = Surroundings("wg0", directory, lambda _line: None)
    surroundings.sweep(**how)
    return surroundings


def test_ours_is_undone_but_for_a_kill_switch_that_stays_until_it_is_up(tmp_path, undone):
    log = UndoLog(tmp_path, "wg0")
    for kind in ("kill-switch", "rule"):
        log.remember(kind)
    found = swept(tmp_path)
    assert (found.warnings, found.held, found.adopted) == ([], True, False)
    assert (kinds(undone), kinds(log.steps())) == (["rule"], ["kill-switch"])
    split = config(networks="10.66.0.0/16")
    found.put_up(split, 7, 51820)
    assert kinds(undone) == ["rule", "kill-switch"]
    assert log.steps() == []


def test_what_belongs_to_an_interface_that_was_kept_stays_until_it_is_stale(
    tmp_path, undone, monkeypatch
):
    """The same table, the sysctl of before, and each step once."""
    done = []
    monkeypatch.setattr(module.policy, "add_rule", done.append)
    monkeypatch.setattr(module.firewall, "install", done.append)
    monkeypatch.setattr(module.policy, "add_dead_end", lambda *_what: None)
    monkeypatch.setattr(module.sysctl, "read", lambda _name: "1")
    monkeypatch.setattr(module.Snapshot, "taken", Snapshot)
    log = UndoLog(tmp_path, "wg0")
    old = policy_of(config(), 51833, 51833)
    log.remember("table", table=51833)
    log.remember("sysctl", resource=module.sysctl.SRC_VALID_MARK, before="0")
    for rule in (*old.rules, Rule(4, 32100, destination=ip_network("10.0.0.0/8"))):
        log.rule(rule)
    log.remember("resolvconf", name="wg0")
    found = Surroundings("wg0", tmp_path, lambda _line: None)
    wanted = found.begin(config("KillSwitch = yes\n"), kept=True)
    assert (undone, wanted.table, wanted.mark) == ([], 51833, 51833)
    found.put_up(config("KillSwitch = yes\n"), 7, 51820)
    assert [(step["kind"], step.get("name", "")) for step in undone] == [
        ("resolvconf", "wg0"),
        ("rule", ""),
    ]
    assert undone[1]["rule"]["destination"] == "10.0.0.0/8"
    assert sorted(kinds(log.steps())) == sorted(
        ["table", "sysctl", "rule", "rule", "kill-switch", "dead-end", "dead-end"]
    )
    assert [s["before"] for s in log.steps() if s["kind"] == "sysctl"] == ["0"]


def test_what_is_taken_away_while_it_runs_is_not_undone_later(tmp_path, undone, monkeypatch):
    """Another tunnel may have laid the same rule by then."""
    for name in ("add_rule", "delete_rule", "delete_dead_end"):
        monkeypatch.setattr(module.policy, name, lambda *_what: None)
    monkeypatch.setattr(module.firewall, "remove", lambda _name: None)
    found = Surroundings("wg0", tmp_path, lambda _line: None)
    log = UndoLog(tmp_path, "wg0")
    old = policy_of(config("KillSwitch = yes\n"), 51820, 51820)
    found.change_rules(None, old)
    log.remember("kill-switch", interface="wg0")
    for network in old.dead_ends:
        log.remember("dead-end", network=str(network), table=51820)
    found.policy, found.firewall = old, object()
    found.change(config(networks="10.66.0.0/16"), None, 7, 51820)
    assert (undone, log.steps()) == ([], [])


def test_datagrams_with_another_mark_leave_before_any_has_it(tmp_path, monkeypatch):
    rules, installed = [], []
    monkeypatch.setattr(module.policy, "add_rule", rules.append)
    monkeypatch.setattr(module.policy, "delete_rule", rules.remove)
    monkeypatch.setattr(module.policy, "add_dead_end", lambda *_what: None)
    monkeypatch.setattr(module.firewall, "install", lambda wanted: installed.append(wanted.text))
    shut = config("KillSwitch = yes\n")
    found = Surroundings("wg0", tmp_path, lambda _line: None)
    found.expect(7)  # no full tunnel, and nothing to do
    old, new = (policy_of(shut, 51820, mark) for mark in (51820, 7))
    found.policy = old
    found.change_rules(None, old)
    found._shut(shut, old, 51820)
    found.expect(7)
    assert set(rules) == {*old.rules, *old.passing(7)}
    assert "meta mark 51820 accept\n    meta mark 7 accept" in installed[-1]
    found.follow(shut, 51820, 7)
    assert (set(rules), found.policy) == (set(new.rules), new)
    assert "meta mark 51820 accept" not in installed[-1]
    log = UndoLog(tmp_path, "wg0").steps()
    assert [s["rule"]["mark"] for s in log if s["kind"] == "rule"] == [7, 7]


def test_two_that_start_together_promise_themselves_two_tables(tmp_path, monkeypatch):
    monkeypatch.setattr(module.Snapshot, "taken", Snapshot)
    monkeypatch.setattr(left, "is_live", lambda _path: True)
    found = [
        Surroundings(name, tmp_path, lambda _line: None).begin(config(), kept=False)
        for name in ("wg0", "wg1")
    ]
    assert [wanted.table for wanted in found] == [51820, 51821]


def test_the_kill_switch_of_another_stays_and_is_told(tmp_path, undone):
    log = UndoLog(tmp_path, "wg7")
    for kind in ("kill-switch", "rule"):
        log.remember(kind)
    (warning,) = swept(tmp_path).warnings
    assert "sacip-tun cleanup wg7" in warning
    assert (kinds(undone), kinds(log.steps())) == (["rule"], ["kill-switch"])


def test_what_another_has_to_run_stays_for_it_and_is_told(tmp_path):
    log = UndoLog(tmp_path, "wg7")
    of_file = parse(f"[Interface]\nPrivateKey={KEY}\nPostDown = echo %i\nPostDown = false\n", "wg7")
    Due.by(of_file).remember(log)
    Due.by(of_file).remember(log)
    found = swept(tmp_path)
    assert found.due.lines == ()
    assert "PostDown of wg7, which was killed, is still to be run" in found.warnings[0]
    assert kinds(log.steps()) == ["commands"]
    own = Surroundings("wg7", tmp_path, lambda _line: None)
    own.sweep(kept=True)
    assert (own.due.lines, own.commands_were_run) == ((), True)
    own.sweep(kept=False)
    assert (list(own.due.lines), own.commands_were_run) == (["echo wg7", "false"], False)
    assert log.steps() == []
    assert own.due.run() == ["PostDown of wg7 failed with exit status 1"]


def test_what_runs_is_left_alone(tmp_path, undone):
    UndoLog(tmp_path, "wg7").remember("rule")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "wg7.sock"))
        listener.listen()
        assert left.leftovers(tmp_path) == []
        swept(tmp_path)
    assert undone == []


def test_of_another_network_namespace_only_files_are_undone(tmp_path, undone):
    for name in ("wg0", "wg7"):
        log = UndoLog(tmp_path, name)
        for kind in ("rule", "resolvconf"):
            log.remember(kind)
        path = tmp_path / f"{name}.undo"
        path.write_text(path.read_text().replace(undo.namespace(), "1:2"))
    swept(tmp_path)
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
