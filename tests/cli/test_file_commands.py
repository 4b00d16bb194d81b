"""reload, save, strip and cleanup as they are typed."""

from sacip_tun.linux.undo import UndoLog
from sacip_tun.protocol.keys import clamped, to_base64

KEY = to_base64(clamped(bytes([7]) * 32))


def test_reload_prints_what_is_different_and_what_only_a_restart_brings(run, daemon):
    fake = daemon()
    fake.answer(
        {
            "ok": True,
            "difference": ["-MTU = 1420", "+MTU = 1300"],
            "restart_for": ["Offload"],
            "warnings": ["a.conf, line 7: look at this"],
        }
    )
    code, out, err = run("reload", "./sacip0.conf", "--dry-run")
    assert (code, out) == (0, "-MTU = 1420\n+MTU = 1300\n")
    assert "only a new 'up' changes Offload" in err
    assert "line 7: look at this" in err
    assert fake.requests == [{"command": "reload", "dry_run": True}]
    applied = run("reload", "sacip0")[1]
    assert applied == "-MTU = 1420\n+MTU = 1300\nsacip0 is what its file says\n"


def test_reload_says_when_nothing_is_different_and_why_it_cannot_be(run, daemon):
    fake = daemon()
    fake.answer({"ok": True, "difference": [], "restart_for": [], "warnings": []})
    assert run("reload", "sacip0") == (0, "sacip0 is what its file says\n", "")
    assert fake.requests[-1]["dry_run"] is False
    fake.answer({"ok": False, "error": "a.conf, line 3: no", "fix": "mend it", "exit": 5})
    code, _, err = run("reload", "sacip0")
    assert (code, "line 3: no" in err, "mend it" in err) == (5, True, True)


def test_save_says_where_to(run, daemon):
    daemon().answer({"ok": True, "path": "/etc/sacip-tun/sacip0.conf", "warnings": ["look"]})
    saved = (0, "saved to /etc/sacip-tun/sacip0.conf\n", "sacip-tun: warning: look\n")
    assert run("save", "sacip0") == saved
    assert run("save", "sacip9")[0] == 3


def test_strip_prints_the_file_for_others_and_names_a_wrong_line(run, tmp_path):
    path = tmp_path / "a.conf"
    path.write_text(f"[Interface]\nPrivateKey = {KEY}\nMTU = 1300\nKillSwitch = yes\n")
    path.chmod(0o600)
    plain = f"[Interface]\nPrivateKey = {KEY}\n"
    assert run("strip", str(path)) == (0, plain, "")
    assert run("strip", "--for", "wg-quick", str(path)) == (0, f"{plain}MTU = 1300\n", "")
    path.write_text(f"{plain}Mtu = many\n")
    code, out, err = run("strip", str(path))
    assert (code, out, "line 3" in err) == (5, "", True)


def test_cleanup_says_who_may_do_it_where_it_may_not(run, monkeypatch):
    def refuse(_directory):
        raise PermissionError(13, "Permission denied", "/run/sacip-tun/sacip0.undo")

    monkeypatch.setattr("sacip_tun.daemon.leftovers.leftovers", refuse)
    code, out, err = run("cleanup")
    assert (code, out, "/run/sacip-tun/sacip0.undo" in err, "as root" in err) == (4, "", True, True)


def test_cleanup_and_down_undo_what_was_left(run, directories, monkeypatch):
    undone = []
    monkeypatch.setattr("sacip_tun.linux.undo.UNDO", {"rule": undone.append})
    monkeypatch.setattr("sacip_tun.linux.resolv_conf.PATH", directories.run / "resolv.conf")
    assert run("cleanup") == (0, "", "")
    for command in ("cleanup", "down"):
        UndoLog(directories.run, "wg0").remember("rule")
        UndoLog(directories.run, "wg1").remember("rule")
        (directories.run / "wg0.sock").touch()
        assert run(command, "wg0") == (0, "wg0: undone what it had left\n", "")
        assert not (directories.run / "wg0.sock").exists()
    assert len(undone) == 2
    assert run("cleanup")[1] == "wg1: undone what it had left\n"
    assert run("down", "wg0")[0] == 3


def test_cleanup_says_what_cannot_be_undone(run, directories, monkeypatch):
    def fail(_step):
        raise OSError("not permitted")

    monkeypatch.setattr("sacip_tun.linux.undo.UNDO", {"rule": fail})
    monkeypatch.setattr("sacip_tun.linux.resolv_conf.PATH", directories.run / "resolv.conf")
    UndoLog(directories.run, "wg0").remember("rule")
    code, _, err = run("cleanup")
    assert (code, "rule of wg0: not permitted" in err) == (1, True)
