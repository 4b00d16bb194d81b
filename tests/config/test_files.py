"""Files: names, permissions, and what is no configuration at all."""

import os
from pathlib import Path

import pytest

from sacip_tun.config import ConfigError, UnreadableError, files, saving
from sacip_tun.protocol.keys import clamped, to_base64

KEY = to_base64(clamped(bytes([7]) * 32))
TEXT = f"[Interface]\nPrivateKey = {KEY}\n"


@pytest.fixture
def directories(tmp_path):
    found = tmp_path / "sacip-tun", tmp_path / "wireguard"
    for directory in found:
        directory.mkdir(mode=0o700)
    return found


def write(path, content=TEXT, mode=0o600):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    path.chmod(mode)
    return path


def failure(call, *arguments):
    with pytest.raises(ConfigError) as caught:
        call(*arguments)
    return caught.value


def test_a_name_is_looked_up_in_ours_first_then_in_wireguards(directories):
    ours, theirs = directories
    write(theirs / "wg0.conf")
    assert files.find("wg0", directories) == theirs / "wg0.conf"
    write(ours / "wg0.conf")
    assert files.find("wg0", directories) == ours / "wg0.conf"


def test_a_file_names_its_interface(tmp_path, directories):
    config = files.load(str(write(tmp_path / "my.vpn.conf")), directories)
    assert config.interface.name == "my.vpn"
    assert config.warnings == ()


def test_an_unknown_name_is_told_with_the_nearest(directories):
    write(directories[1] / "laptop.conf")
    error = failure(files.find, "labtop", directories)
    assert f"neither {directories[0]}/labtop.conf nor {directories[1]}/labtop.conf" in str(error)
    assert (error.nearest, error.fix) == ("laptop", "did you mean laptop?")
    assert failure(files.find, "zzz", directories).nearest is None


def test_directories_may_be_missing(tmp_path):
    assert "no configuration named" in str(failure(files.find, "a", [tmp_path / "none"]))


@pytest.mark.parametrize(
    ("name", "cause"),
    [("no.conf", "there is no such file"), ("x.txt", "does not end in .conf")],
)
def test_a_wrong_path_is_named(tmp_path, directories, name, cause):
    assert cause in str(failure(files.load, str(tmp_path / name), directories))


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"\xff\xfe[Interface]", "not text in UTF-8"),
        (b"#" * (files.MAX_SIZE + 1), "too large"),
        (b"\x00", "control character"),
    ],
)
def test_what_is_no_configuration_is_named(tmp_path, directories, content, cause):
    path = write(tmp_path / "a.conf", content)
    error = failure(files.load, str(path), directories)
    assert str(error).startswith(str(path))
    assert cause in str(error)


def test_a_comment_may_be_in_another_encoding_and_goes_back_as_it_came(tmp_path, directories):
    key = to_base64(clamped(bytes(range(32)))).encode()
    content = b"# caf\xe9\x0c\n[Interface] # \xa7\nPrivateKey = " + key + b" # \xfc\n"
    path = write(tmp_path / "a.conf", content)
    path.chmod(0o600)
    assert files.load(str(path), directories).interface.private_key == clamped(bytes(range(32)))
    saving.replace_text(path, files.read(path))
    assert path.read_bytes() == content
    path.write_bytes(content + b"PostUp = echo caf\xe9\n")
    error = failure(files.load, str(path), directories)
    assert "line 4: this line is not text in UTF-8" in str(error)


def test_directories_devices_and_loops_are_no_files(tmp_path, directories):
    (tmp_path / "d.conf").mkdir()
    (tmp_path / "z.conf").symlink_to("/dev/zero")
    (tmp_path / "l.conf").symlink_to("l.conf")
    for name in "dz":
        assert "not a file" in str(failure(files.load, str(tmp_path / f"{name}.conf"), directories))
    assert "cannot be read" in str(failure(files.load, str(tmp_path / "l.conf"), directories))
    assert "cannot be read" in str(failure(files.load, str(tmp_path / "\0.conf"), directories))


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602, 0o666])
def test_a_file_that_everybody_gets_at_is_refused(tmp_path, directories, mode):
    path = write(tmp_path / "a.conf", mode=mode)
    error = failure(files.load, str(path), directories)
    assert f"every user of this machine can get at the secret in it (mode {mode:04o})" in str(error)
    assert error.fix == f"chmod 600 {path}"


def test_a_file_that_its_group_reads_is_warned_of(tmp_path, directories):
    path = write(tmp_path / "a.conf", mode=0o640)
    assert files.load(str(path), directories).warnings == (
        f"{path}: its group can get at the secret in it (mode 0640): chmod 600 {path}",
    )


def test_wireguards_own_directory_protects_its_files_while_it_is_closed(directories):
    theirs = directories[1]
    write(theirs / "wg0.conf", mode=0o644)
    assert "others can get at" in files.load("wg0", directories).warnings[0]
    theirs.chmod(0o755)
    assert "every user" in str(failure(files.load, "wg0", directories))


def test_an_open_example_with_placeholders_is_told_of_the_placeholders(tmp_path):
    path = write(tmp_path / "a.conf", "[Interface]\nPrivateKey = <key>\n", mode=0o644)
    assert "line 2: PrivateKey is still a placeholder" in str(failure(files.load, str(path)))


def test_missing_privilege_is_told_apart(tmp_path, directories, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    error = failure(files.load, str(tmp_path / "a.conf"), directories)
    assert isinstance(error, UnreadableError)
    assert (error.cause, error.fix) == ("this user may not read it", "run as root")


def test_a_hidden_file_counts_as_there(monkeypatch):
    def refuse(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "exists", refuse)
    assert files.exists(Path("a.conf"))


def test_a_key_file_is_read_without_its_newline(tmp_path):
    assert files.read_key_file(write(tmp_path / "k", f"{KEY}\n")) == (KEY, ())


def test_a_key_file_may_be_a_pipe():
    reader, writer = os.pipe()
    os.write(writer, KEY.encode())
    os.close(writer)
    assert files.read_key_file(Path(f"/dev/fd/{reader}")) == (KEY, ())
    os.close(reader)


def test_a_key_file_is_protected_and_not_empty(tmp_path):
    assert "chmod 600" in failure(files.read_key_file, write(tmp_path / "k", KEY, 0o644)).fix
    assert "is empty" in str(failure(files.read_key_file, write(tmp_path / "e", "\n")))
