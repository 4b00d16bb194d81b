"""The undo log: what is undone, in which order, and what is handed on."""

import fcntl

import pytest

from sacip_tun.linux import undo
from sacip_tun.linux.policy import Policy
from sacip_tun.linux.undo import UndoLog, locked, logs


@pytest.fixture
def undone(monkeypatch):
    """Steps that are undone, in a world without side effects."""
    done = []
    kinds = dict.fromkeys((*undo.UNDO, "broken"), done.append)

    def fail(_step):
        raise OSError("it cannot be")

    monkeypatch.setattr(undo, "UNDO", {**kinds, "broken": fail})
    return done


def kinds(steps):
    return [step["kind"] for step in steps]


def test_steps_are_undone_from_the_last_to_the_first(tmp_path, undone):
    log = UndoLog(tmp_path, "wg0")
    for kind in ("firewall", "rule", "dead-end"):
        log.remember(kind)
    assert log.is_here
    assert [found.interface for found in logs(tmp_path)] == ["wg0"]
    assert log.undo() == []
    assert kinds(undone) == ["dead-end", "rule", "firewall"]
    assert logs(tmp_path) == []
    assert log.undo() == []


def test_what_cannot_be_undone_stays_and_the_others_are_undone(tmp_path, undone):
    log = UndoLog(tmp_path, "wg0")
    for kind in ("firewall", "broken", "rule"):
        log.remember(kind)
    assert log.undo() == ["broken of wg0: it cannot be"]
    assert kinds(undone) == ["rule", "firewall"]
    assert kinds(log.steps()) == ["broken"]
    assert log.is_here


def test_steps_of_another_version_and_a_full_disk_keep_nothing_else_from_being_undone(
    tmp_path, undone, monkeypatch
):
    log = UndoLog(tmp_path, "wg0")
    for kind in ("firewall", "of-tomorrow", "rule"):
        log.remember(kind)
    monkeypatch.setitem(undo.UNDO, "rule", lambda step: step["rule"].priority)
    assert log.undo() == ["rule of wg0: 'rule'", "of-tomorrow of wg0: 'of-tomorrow'"]
    assert (kinds(undone), kinds(log.steps())) == (["firewall"], ["of-tomorrow", "rule"])

    def full(_steps):
        raise OSError("the disk is full")

    log.remember("firewall")
    monkeypatch.setattr(log, "write", full)
    assert "cannot be written: the disk is full" in log.undo()[-1]
    assert kinds(undone) == ["firewall", "firewall"]


def test_what_is_to_be_kept_is_kept(tmp_path, undone):
    log = UndoLog(tmp_path, "wg0")
    for kind in ("kill-switch", "rule"):
        log.remember(kind)
    log.undo(keep=frozenset({"kill-switch"}))
    assert (kinds(undone), kinds(log.steps())) == (["rule"], ["kill-switch"])
    log.drop("kill-switch")
    assert logs(tmp_path) == []


def test_who_came_later_puts_back_what_was_before_both(tmp_path, undone):
    first, second, third = (UndoLog(tmp_path, name) for name in ("a", "b", "c"))
    first.remember("sysctl", resource="x", before="0")
    second.remember("sysctl", resource="x", before="1")
    third.remember("sysctl", resource="y", before="7")
    first.undo()
    assert undone == []
    assert [step["before"] for step in second.steps()] == ["0"]
    second.undo()
    assert [step["before"] for step in undone] == ["0"]
    assert kinds(third.steps()) == ["sysctl"]


def test_a_step_that_is_done_again_is_there_once_with_what_was_first(tmp_path, undone):
    first, second = (UndoLog(tmp_path, "a") for _ in range(2))
    first.remember("sysctl", resource="x", before="0")
    first.remember("rule", rule={"mark": 1})
    second.remember("sysctl", resource="x", before="1")
    assert [(s["kind"], s.get("before")) for s in first.steps()] == [
        ("sysctl", "0"),
        ("rule", None),
    ]
    assert second.undo_stale() == []
    assert (kinds(undone), kinds(first.steps())) == (["rule"], ["sysctl"])
    first.forget("sysctl", resource="x")
    assert logs(tmp_path) == []


def test_one_process_at_a_time_changes_logs(tmp_path):
    log = UndoLog(tmp_path, "a")
    with locked(tmp_path):
        log.remember("rule")  # within the lock that is held already
        with (tmp_path / undo.LOCK).open() as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with (tmp_path / undo.LOCK).open() as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_half_a_line_is_no_step(tmp_path, undone):
    log = UndoLog(tmp_path, "wg0")
    log.remember("rule")
    path = tmp_path / "wg0.undo"
    path.write_text(path.read_text() + '{"kind": "fire')
    log.undo()
    assert kinds(undone) == ["rule"]


def test_a_log_of_another_namespace_is_not_here(tmp_path):
    log = UndoLog(tmp_path, "wg0")
    log.remember("rule")
    path = tmp_path / "wg0.undo"
    path.write_text(path.read_text().replace(undo.namespace(), "1:2"))
    assert not log.is_here


def test_a_rule_is_written_so_that_it_is_the_same_again(tmp_path, monkeypatch):
    deleted = []
    monkeypatch.setattr(undo.policy, "delete_rule", deleted.append)
    log = UndoLog(tmp_path, "wg0")
    rules = Policy(frozenset({4, 6}), 51820, 51820, local=True).rules
    for rule in rules:
        log.rule(rule)
    log.undo()
    assert deleted[::-1] == list(rules)
