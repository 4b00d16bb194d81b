"""resolv.conf: whatever it was, it comes back, unless somebody else has written since."""

import os
import subprocess
import sys

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


@pytest.mark.parametrize(
    ("make", "in_place"), [(a_file, False), (a_file, True), (a_link, False), (nothing, False)]
)
def test_it_comes_back_exactly(tmp_path, monkeypatch, make, in_place):
    path = tmp_path / "resolv.conf"
    make(path)
    before, found = seen(path), state(path)
    if in_place:
        # As where the file is a mount: nothing can take its place.
        def refuse(*_):
            raise OSError(16, "busy")

        monkeypatch.setattr(resolv_conf.Path, "replace", refuse)
    write(path, f"{MARK}nameserver 10.9.0.1\n")
    assert path.read_text().endswith("nameserver 10.9.0.1\n")
    restore(path, found, MARK)
    assert seen(path) == before
    assert {entry.name for entry in tmp_path.iterdir()} <= {"resolv.conf", "other"}


READ_ONLY = """
import sys
from pathlib import Path
from sacip_tun.linux.resolv_conf import keep, marker, restore, state, write
path, mark = Path(sys.argv[1]), marker("wg0")
found = state(path)
keep(path, found)
write(path, mark + "nameserver 10.9.0.1\\n")
print(path.read_text(), end="")
restore(path, found, mark)
"""


@pytest.mark.parametrize("kind", ["file", "link"])
def test_in_a_directory_that_is_read_only_it_is_written_in_place(tmp_path, kind):
    """As a service with ProtectSystem=strict has it: the file alone can be written."""
    if os.geteuid() != 0:
        pytest.skip("mounts need root")
    etc, run = tmp_path / "etc", tmp_path / "run"
    etc.mkdir()
    run.mkdir()
    path = etc / "resolv.conf"
    target = run / "stub.conf"
    target.write_text("nameserver 10.0.0.2\n")
    mounts = f"mount --bind -o ro {etc} {etc}"
    if kind == "link":
        path.symlink_to("../run/stub.conf")
    else:
        path.touch()
        mounts += f"; mount --bind {target} {path}"
    before = seen(path)
    line = ["unshare", "--mount", "sh", "-ec", f'{mounts}; exec "$@"', "sh"]
    done = subprocess.run(
        [*line, sys.executable, "-c", READ_ONLY, str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{MARK}nameserver 10.9.0.1\n"
    assert seen(path) == before
    assert {entry.name for entry in etc.iterdir()} == {"resolv.conf"}
    assert target.read_text() == "nameserver 10.0.0.2\n"


def test_a_link_that_was_written_through_stays_a_link(tmp_path, monkeypatch):
    """What a service left behind is undone by a program to which nothing is read-only."""
    path = tmp_path / "resolv.conf"
    a_link(path)
    before = seen(path)
    monkeypatch.setattr(resolv_conf.os, "access", lambda *_: False)
    found = state(path)
    (tmp_path / "other").write_text(f"{MARK}nameserver 10.9.0.1\n")
    restore(path, found, MARK)
    assert seen(path) == before


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
