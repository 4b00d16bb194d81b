"""What udev tells NetworkManager of tunnels."""

from pathlib import Path

from sacip_tun.config.files import DIRECTORIES

RULES = Path(__file__).parents[2] / "distribution/udev/85-sacip-tun.rules"


def test_every_tunnel_that_has_a_file_is_left_alone():
    lines = RULES.read_text().splitlines()
    unmanaged = [line for line in lines if line.endswith('ENV{NM_UNMANAGED}="1"')]
    assert unmanaged == [
        f'TEST=="{directory}/%k.conf", ENV{{NM_UNMANAGED}}="1"' for directory in DIRECTORIES
    ]
    assert lines[-1] == 'LABEL="sacip_tun_end"'
