"""A restart is told from a stop by what systemd's busctl says, and from nothing else."""

import os

import pytest

from sacip_tun.linux.unit_job import is_restart

# As busctl 252 prints them.
ANSWERS = """#!/bin/sh
case "$*" in
*"/systemd1 org.freedesktop.systemd1.Manager GetUnitByPID u {pid}") echo 'o "/unit"' ;;
*" /unit org.freedesktop.systemd1.Unit Job") echo '(uo) {job}' ;;
*" /job/7 org.freedesktop.systemd1.Job JobType") echo 's "{kind}"' ;;
*) exit 1 ;;
esac
"""


def answers(directory, job='7 "/job/7"', kind="restart", pid=None):
    program = directory / "busctl"
    program.write_text(ANSWERS.format(pid=pid or os.getpid(), job=job, kind=kind))
    program.chmod(0o755)


@pytest.fixture(autouse=True)
def path(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")


@pytest.mark.parametrize(("kind", "restart"), [("restart", True), ("stop", False), ("", False)])
def test_the_type_of_the_job_tells(tmp_path, kind, restart):
    answers(tmp_path, kind=kind)
    assert is_restart() is restart


@pytest.mark.parametrize("wrong", [{"job": '0 "/"'}, {"job": ""}, {"pid": 1}])
def test_who_has_no_job_or_no_unit_is_not_restarted(tmp_path, wrong):
    answers(tmp_path, **wrong)
    assert is_restart() is False


def test_without_systemd_nobody_knows(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert is_restart() is False
