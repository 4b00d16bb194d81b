"""down: asks, and waits until everything is undone."""

import pytest


@pytest.mark.parametrize("name", ["sacip0", "./sacip0.conf", "/etc/wireguard/sacip0.conf"])
def test_a_tunnel_is_taken_down_by_name_or_file(run, daemon, name):
    fake = daemon()
    fake.answer({"ok": True})
    assert run("down", name) == (0, "sacip0 is down\n", "")
    assert fake.requests == [{"command": "down"}]


def test_what_is_not_running_ends_with_3(run):
    code, _, err = run("down", "sacip0")
    assert code == 3
    assert "sacip0 is not running" in err


def test_a_name_is_needed(run):
    assert run("down")[0] == 2


def test_an_interface_that_outlived_its_daemon_is_not_down(run, directories):
    """A service manager keeps it: what its kill switch shut stays shut."""
    left = directories.run / "lo.undo"
    left.write_text('{"namespace": "1:2"}\n{"kind": "kill-switch", "interface": "lo"}\n')
    code, out, err = run("down", "lo")
    assert (code, out) == (1, "")
    assert "systemctl stop sacip-tun@lo" in err
    assert "kill-switch" in left.read_text()
