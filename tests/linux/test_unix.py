"""A UNIX socket has its name when it listens, and not before."""

import socket

import pytest

from sacip_tun.linux import unix
from sacip_tun.linux.unix import Listener, is_live


def test_nobody_finds_one_that_does_not_listen(tmp_path, monkeypatch):
    """`wg show interfaces` deletes what refuses it."""
    path = tmp_path / "wg0.sock"
    seen = []

    class Watched(socket.socket):
        def listen(self, *backlog) -> None:
            seen.extend(found.suffix for found in tmp_path.iterdir())
            super().listen(*backlog)

    monkeypatch.setattr(unix.socket, "socket", Watched)
    listener = Listener.at(path)
    monkeypatch.undo()
    assert len(seen) == 1
    assert seen != [".sock"]
    assert [found.name for found in tmp_path.iterdir()] == ["wg0.sock"]
    assert is_live(path)
    assert path.stat().st_mode & 0o777 == 0o700
    listener.remove()
    listener.socket.close()
    assert not list(tmp_path.iterdir())


def test_a_dead_one_is_replaced_and_a_live_one_is_not(tmp_path):
    path = tmp_path / "wg0.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    listener = Listener.at(path)
    assert is_live(path)
    with pytest.raises(FileExistsError):
        Listener.at(path)
    assert [found.name for found in tmp_path.iterdir()] == ["wg0.sock"]
    listener.socket.close()
