"""sacip-wg's command line, as far as it opens nothing."""

import sacip_tun
from sacip_tun.cli.wg import main

USAGE = "INTERFACE-NAME"


def test_the_version_is_printed_as_wireguard_go_prints_its_own(capsys):
    assert main(["--version"], {}) == 0
    first, empty, second = capsys.readouterr().out.splitlines()
    assert first == f"sacip-wg v{sacip_tun.__version__}"
    assert not empty
    assert second.startswith("Userspace WireGuard daemon for linux-")


def test_a_wrong_line_is_answered_with_the_usage(capsys):
    for line in ([], ["-f"], ["-x", "wg0"], ["wg0", "wg1"], ["-f", "wg0", "wg1"], ["--help"]):
        assert main(line, {}) == 0
        assert USAGE in capsys.readouterr().out


def test_what_cannot_be_opened_is_an_error(capsys):
    assert main(["-f", "wg0"], {"WG_TUN_FD": "three"}) == 1
    assert capsys.readouterr().err == "ERROR: (wg0) WG_TUN_FD=three is no descriptor\n"
    assert main(["-f", "wg0"], {"WG_TUN_FD": "9999"}) == 1
    assert "9999" in capsys.readouterr().err
    assert main(["-f", "wg/0"], {"LOG_LEVEL": "silent"}) == 1
    assert not capsys.readouterr().err
    assert main(["wg0"], {"WG_PROCESS_FOREGROUND": "1", "WG_TUN_FD": "x"}) == 1
