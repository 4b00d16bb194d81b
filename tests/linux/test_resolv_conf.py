"""resolv.conf: whatever it was, it comes back, unless somebody else has written since."""

import pytest

from sacip_tun.linux import resolv_conf
from sacip_tun.linux.resolv_conf import keep, marker, recover, restore, state, write

MARK = marker("wg0")


def a_file(path):
    path.write_bytes(b"nameserver 10.0.0.1 # \xff\n")
    path.chmod(0o755)


def a_link(path):
    (path.parent / "other").write_text("nameserver 10.0.0.2\n")
    path.symlink_to("other")


def nothing(_path):
    pass


def seen(path):
    if not path.is_symlink() and not path.exists():
        return None
    target = path.readlink() if path.is_symlink() else None
    return target, path.read_bytes(), path.stat().st_mode


@pytest.mark.parametrize("make", [a_file, a_link, nothing])
@pytest.mark.parametrize("in_place", [False, True])
def test_it_comes_back_exactly(tmp_path, monkeypatch, make, in_place):
    path = tmp_path / "resolv.conf"
    make(path)
    before, found = seen(path), state(path)
    if in_place and make is a_file:
        # As where the file is a mount: nothing can take its place.
        def refuse(*_):
            raise OSError(16, "busy")

        monkeypatch.setattr(resolv_conf.Path, "replace", refuse)
        before = (*before[:2], before[2])
    write(path, f"{MARK}nameserver 10.9.0.1\n")
    assert path.read_text().endswith("nameserver 10.9.0.1\n")
    restore(path, found, MARK)
    assert seen(path) == before
    assert {entry.name for entry in tmp_path.iterdir()} <= {"resolv.conf", "other"}


def test_what_somebody_wrote_since_stays(tmp_path):
    path = tmp_path / "resolv.conf"
    a_file(path)
    found = state(path)
    write(path, f"{MARK}nameserver 10.9.0.1\n")
    path.write_text("nameserver 10.7.7.7\n")
    restore(path, found, MARK)
    assert path.read_text() == "nameserver 10.7.7.7\n"


def test_another_tunnels_file_is_not_ours(tmp_path):
    path = tmp_path / "resolv.conf"
    write(path, f"{MARK}nameserver 10.9.0.1\n")
    assert resolv_conf.is_ours(path, MARK)
    assert not resolv_conf.is_ours(path, marker("wg1"))
    assert not resolv_conf.is_ours(tmp_path / "none", MARK)


@pytest.mark.parametrize("make", [a_file, a_link, nothing])
def test_it_comes_back_when_power_failed_and_the_log_is_gone(tmp_path, make):
    path = tmp_path / "resolv.conf"
    make(path)
    before, found = seen(path), state(path)
    keep(path, found)
    write(path, f"{MARK}nameserver 10.9.0.1\n")
    keep(path, state(path))  # a second tunnel, which found the first one's
    recover(path)
    assert seen(path) == before
    path.write_text("nameserver 10.7.7.7\n")
    recover(path)
    assert path.read_text() == "nameserver 10.7.7.7\n"
    assert {entry.name for entry in tmp_path.iterdir()} <= {"resolv.conf", "other"}
