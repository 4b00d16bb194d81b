"""A file in whose place another text is put: whole or not at all."""

import stat
import threading

import pytest

from sacip_tun.config import ConfigError, saving
from sacip_tun.config.saving import alone, replace_text


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "hub.conf"
    path.write_text("before")
    path.chmod(0o640)
    return path


def test_the_file_is_another_and_only_its_owners(path):
    before = path.stat()
    assert replace_text(path, "after\r\n") == []
    assert path.read_bytes() == b"after\r\n"
    after = path.stat()
    assert stat.S_IMODE(after.st_mode) == 0o600
    assert (after.st_uid, after.st_gid) == (before.st_uid, before.st_gid)
    assert after.st_ino != before.st_ino
    assert [found.name for found in path.parent.iterdir()] == ["hub.conf"]


def test_one_that_cannot_be_given_back_to_its_owner_is_written_and_that_is_said(path, monkeypatch):
    """As in the service, whose root may do what concerns networks and no more."""

    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(saving.os, "geteuid", lambda: path.stat().st_uid + 1)
    monkeypatch.setattr(saving.os, "fchown", refuse)
    (warning,) = replace_text(path, "after")
    assert f"chown {path.stat().st_uid}:{path.stat().st_gid} {path}" in warning
    assert path.read_text() == "after"


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_where_it_fails_the_old_one_stays_and_nothing_is_left(path, monkeypatch, step):
    def refuse(*_):
        raise OSError(28, "No space left on device")

    where = saving.os if step == "fsync" else saving.Path
    monkeypatch.setattr(where, step, refuse)
    with pytest.raises(ConfigError, match="No space"):
        replace_text(path, "after")
    assert path.read_text() == "before"
    assert [found.name for found in path.parent.iterdir()] == ["hub.conf"]


def test_a_link_is_followed_and_stays(path, tmp_path):
    link = tmp_path / "elsewhere.conf"
    link.symlink_to(path)
    with alone(link) as real:
        replace_text(real, "after")
    assert link.is_symlink()
    assert path.read_text() == "after"


def test_one_at_a_time(path):
    numbers = []

    def add():
        with alone(path) as real:
            text = real.read_text()
            replace_text(real, text + "x")
            numbers.append(len(text))

    threads = [threading.Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_text() == "before" + 8 * "x"


def test_a_directory_that_is_not_there_is_an_error_of_the_configuration(tmp_path):
    with pytest.raises(ConfigError), alone(tmp_path / "no" / "hub.conf"):
        pass
