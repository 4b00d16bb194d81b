"""up: from a file or from options to a Config for the daemon; what fails leaves nothing behind."""

import io
import stat
import sys
from ipaddress import ip_network

import pytest

import sacip_tun.daemon
from sacip_tun.outcome import Failure
from sacip_tun.protocol.keys import clamped, public_key, to_base64

KEY, OTHER, THIRD, SHARED = (to_base64(clamped(bytes([n]) * 32)) for n in (7, 8, 9, 10))
FILE = f"[Interface]\nPrivateKey = {KEY}\n[Peer]\nPublicKey = {OTHER}\nAllowedIPs = 10.9.0.2\n"


class FakeStart:
    """Stands where the daemon is started; fails with `code`."""

    def __init__(self):
        self.code = 0
        self.calls = []

    def __call__(self, config, *, foreground, say, warn, trace):  # noqa: ARG002 - the daemon's signature
        self.calls.append((config, foreground))
        if self.code:
            raise Failure("it cannot be started", "mend it", self.code)
        return 0

    @property
    def config(self):
        (call,) = self.calls
        return call[0]


@pytest.fixture
def start(monkeypatch):
    fake = FakeStart()
    monkeypatch.setattr(sacip_tun.daemon, "start", fake, raising=False)
    return fake


@pytest.fixture
def key_file(tmp_path):
    return write(tmp_path / "private.key", f"{KEY}\n")


def write(path, text, mode=0o600):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def left_behind(directories):
    return (
        sorted(path.name for path in directories.own.rglob("*")) if directories.own.exists() else []
    )


def test_a_name_is_read_and_started(run, start, directories):
    write(directories.wireguard / "wg0.conf", FILE)
    assert run("up", "wg0") == (0, "", "")
    assert start.calls[0][1] is False
    assert start.config.interface.name == "wg0"
    assert to_base64(start.config.peers[0].public_key) == OTHER


def test_a_file_is_read_and_started_in_the_foreground(run, start, tmp_path):
    path = write(tmp_path / "laptop.conf", FILE)
    assert run("up", str(path), "--foreground")[0] == 0
    assert start.calls[0][1] is True
    assert start.config.interface.name == "laptop"


def test_the_daemons_exit_code_is_ours(run, start, tmp_path):
    start.code = 4
    assert run("up", str(write(tmp_path / "a.conf", FILE)))[0] == 4


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("PrivateKey", "PrivatKey", "line 2: unknown key 'PrivatKey' in [Interface]"),
        (KEY, "abc", "line 2: this is not a private key"),
        (KEY, "<key>", "line 2: PrivateKey is still a placeholder: <key>"),
        (OTHER, to_base64(bytes(32)), "line 4: this public key is all zeros"),
        ("10.9.0.2", "10.9.0.256", "line 5: '10.9.0.256' is not a network"),
        ("[Peer]", "[Pear]", "line 3: '[Pear]' is not a section"),
        ("[Interface]", "[Interface]\nMTU=90000", "line 2: '90000' is not a usable MTU"),
    ],
)
def test_a_bad_file_ends_with_5_and_its_line(run, start, tmp_path, old, new, message):
    path = write(tmp_path / "a.conf", FILE.replace(old, new))
    code, out, err = run("up", str(path))
    assert (code, out, start.calls) == (5, "", [])
    assert f"sacip-tun: error: {path}, {message}" in err
    assert "sacip-tun: fix: " in err


def test_a_file_that_everybody_reads_ends_with_5(run, start, tmp_path):
    path = write(tmp_path / "a.conf", FILE, 0o644)
    code, _, err = run("up", str(path))
    assert (code, start.calls) == (5, [])
    assert f"sacip-tun: fix: chmod 600 {path}\n" in err


def test_a_file_that_is_not_there_ends_with_5(run, start):
    assert run("up", "nope")[0] == 5
    assert run("up", "./nope.conf")[0] == 5
    assert start.calls == []


def test_a_file_without_privilege_ends_with_4(run, start, tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.open", refuse)
    assert run("up", str(tmp_path / "a.conf"))[0] == 4
    assert start.calls == []


def test_options_make_the_same_config_as_a_file(run, start, key_file, tmp_path):
    shared = write(tmp_path / "shared.key", SHARED)
    line = (
        f"up --interface vpn1 --private-key-file {key_file} --address 10.9.0.1/24,fd00::1/64 "
        "--listen-port 51820 --mtu 1300 --fwmark 0x10 --table off "
        f"--peer {OTHER}@hub.example:51820 --allowed-ips 10.9.0.2/32 fd00::/64 "
        f"--preshared-key-file {shared} --persistent-keepalive 25 --peer {THIRD} "
        "--allowed-ips 10.9.0.3"
    )
    code, out, err = run(*line.split())
    assert (code, out, err) == (0, "", "")
    interface, (first, second) = start.config.interface, start.config.peers
    assert to_base64(interface.private_key) == KEY
    assert (interface.name, interface.listen_port, interface.mtu) == ("vpn1", 51820, 1300)
    assert (interface.fwmark, interface.table) == (16, "off")
    assert [str(address) for address in interface.addresses] == ["10.9.0.1/24", "fd00::1/64"]
    assert to_base64(first.public_key) == OTHER
    assert to_base64(first.preshared_key) == SHARED
    assert first.allowed_ips == (ip_network("10.9.0.2/32"), ip_network("fd00::/64"))
    assert (str(first.endpoint), first.persistent_keepalive) == ("hub.example:51820", 25)
    assert (to_base64(second.public_key), second.endpoint) == (THIRD, None)
    assert second.preshared_key is None


def test_the_only_peer_gets_the_network_of_the_address(run, start, key_file):
    options = f"--private-key-file {key_file} --address 10.9.0.1/24 --peer {OTHER}"
    assert run("up", *options.split())[0] == 0
    assert start.config.interface.name == "sacip0"
    assert start.config.peers[0].allowed_ips == (ip_network("10.9.0.0/24"),)


def test_several_peers_without_networks_are_warned_of(run, start, key_file):
    options = f"--private-key-file {key_file} --address 10.9.0.1/24 --peer {OTHER} --peer {THIRD}"
    assert run("up", *options.split())[0] == 0
    assert [peer.allowed_ips for peer in start.config.peers] == [(), ()]
    assert len(start.config.warnings) == 2


def test_the_key_may_come_from_stdin(run, start, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{KEY}\n"))
    assert run("up", "--private-key-file", "-", "--address", "10.9.0.1/24")[0] == 0
    assert to_base64(start.config.interface.private_key) == KEY


@pytest.mark.parametrize(
    ("line", "code", "cause"),
    [
        ("up", 2, "there is nothing to bring up"),
        ("up a.conf --address 10.9.0.1/24", 2, "they exclude each other"),
        ("up --peer x", 2, "there is no --address"),
        ("up --address 10.9.0.1/24 --allowed-ips 10.9.0.2", 2, "--allowed-ips stands before any"),
        ("up --address 10.9.0.1/24 --mtu", 2, "argument --mtu: expected one argument"),
        ("up --adress 10.9.0.1/24", 2, "did you mean --address?"),
        ("up --address 10.9.0.1/99", 5, "--address: '10.9.0.1/99' is not an address"),
        ("up --address 10.9.0.1/24 --mtu 70000", 5, "--mtu: '70000' is not a usable MTU"),
        ("up --address 10.9.0.1/24 --listen-port x", 5, "--listen-port: 'x' is not a UDP port"),
        ("up --address 10.9.0.1/24 --fwmark x", 5, "--fwmark: 'x' is not a firewall mark"),
        ("up --address 10.9.0.1/24 --table -1", 5, "--table: '-1' is not a routing table"),
        ("up --address 10.9.0.1/24 --peer short", 5, "--peer: this is not a public key"),
        (f"up --address 10.9.0.1/24 --peer {OTHER}@host", 5, "--peer: 'host' has no port"),
        (f"up --address 10.9.0.1/24 --peer {OTHER} --peer {OTHER}", 5, "already there (--peer)"),
        ("up --address 10.9.0.1/24 --interface a/b", 5, "cannot be the name of an interface"),
        ("up --address 10.9.0.1/24 --private-key-file /nope", 5, "/nope: there is no such file"),
    ],
)
def test_bad_options_are_named_and_leave_nothing_behind(run, start, directories, line, code, cause):
    got, out, err = run(*line.split())
    assert (got, out, start.calls) == (code, "", [])
    assert cause in err
    assert left_behind(directories) == []


def test_without_a_key_one_is_made_and_the_other_sides_command_printed(run, start, directories):
    code, out, err = run("up", "--address", "10.9.0.1/24", "--peer", f"{OTHER}@127.0.0.1:7")
    path = directories.own / "sacip0.key"
    key = path.read_text().strip()
    own = to_base64(public_key(start.config.interface.private_key))
    assert code == 0
    assert err.endswith("Endpoint 127.0.0.1 reaches nothing but a tunnel on this same host\n")
    assert key == to_base64(start.config.interface.private_key)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(directories.own.stat().st_mode) == 0o700
    assert out == (
        f"public key of this side: {own}\n"
        f"on the other side, {OTHER}:\n"
        "  sacip-tun up --interface sacip0 --address 10.9.0.2/24 --listen-port 7 "
        f"--peer {own}\n"
    )
    assert key not in out


def test_the_key_that_was_made_is_used_again(run, start, directories):
    for _ in range(2):
        assert run("up", "--address", "10.9.0.1/24")[0] == 0
    first, second = (call[0].interface.private_key for call in start.calls)
    assert first == second
    (directories.own / "sacip0.key").chmod(0o640)
    assert "its group can get at the secret" in run("up", "--address", "10.9.0.1/24")[2]


def test_a_failed_up_takes_its_key_back(run, start, directories):
    start.code = 4
    code, out, err = run("up", "--address", "10.9.0.1/24")
    assert (code, out) == (4, "")
    assert "it cannot be started" in err
    assert not directories.own.exists()


def test_a_failed_up_leaves_a_key_that_was_there(run, start, directories):
    path = write(directories.own / "sacip0.key", KEY)
    start.code = 1
    assert run("up", "--address", "10.9.0.1/24")[0] == 1
    assert path.read_text() == KEY


def test_in_the_foreground_the_key_stays_once_the_other_side_knows_it(run, start, directories):
    start.code = 1
    code, out, _ = run("up", "--address", "10.9.0.1/24", "--foreground")
    assert code == 1
    assert "public key of this side" in out
    assert left_behind(directories) == ["sacip0.key"]


def test_a_key_that_cannot_be_written_is_told(run, start, directories):
    directories.own.write_text("a file where a directory should be")
    code, _, err = run("up", "--address", "10.9.0.1/24")
    assert (code, start.calls) == (1, [])
    assert f"the key file {directories.own}/sacip0.key cannot be made" in err


def test_a_key_that_may_not_be_written_ends_with_4(run, start, directories, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.open", refuse)
    code, _, err = run("up", "--address", "10.9.0.1/24")
    assert (code, start.calls) == (4, [])
    assert "run it as root" in err
    assert not directories.own.exists()
