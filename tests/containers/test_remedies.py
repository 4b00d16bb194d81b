"""What Docker says of a lab that cannot be made here, and what we say of it: without an engine."""

import os
from pathlib import Path

import pytest
from composed import Lab, engine_runs

from sacip_tun.linux.errors import SetupError

# As engines of Debian 12 say it.
OVERLAPS = (
    "failed to create network sacip-wifi: Error response from daemon: Pool overlaps with other one "
    "on this address space"
)
NO_DEVICE = (
    "Error response from daemon: error gathering device information while adding custom device "
    '"/dev/net/tun": no such file or directory'
)
# As Docker 27 refuses what came with 28.
NO_MODE = (
    "Error response from daemon: invalid option com.docker.network.bridge.gateway_mode_ipv4: "
    "nat-unprotected"
)
NO_ENGINE = (
    "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon "
    "running?"
)


@pytest.fixture
def says(tmp_path: Path):
    """Make the `docker` that is found say one thing and fail; returns the environment with it."""

    def make(text: str) -> dict[str, str]:
        program = tmp_path / "docker"
        program.write_text(
            '#!/bin/sh\n[ "$*" = "compose version" ] && exit\n'
            f"cat >&2 <<'END'\n{text}\nEND\nexit 1\n"
        )
        program.chmod(0o755)
        return {"PATH": f"{tmp_path}:{os.environ['PATH']}"}

    return make


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        (OVERLAPS, "LAB_NET=10.78 make lab"),
        (NO_DEVICE, "modprobe tun"),
        (NO_MODE, "LAB_GATEWAY_MODE=nat"),
        (NO_ENGINE, "start the engine, or leave it to: make lab"),
        ("something else", "see above"),
    ],
    ids=["subnet", "device", "mode", "engine", "else"],
)
def test_what_docker_says_is_repeated_with_what_helps(says, monkeypatch, said, remedy) -> None:
    environment = says(said)
    monkeypatch.setenv("PATH", environment["PATH"])
    lab = Lab(environment)
    with pytest.raises(SetupError) as caught:
        lab.compose("up", "-d")
    assert said in caught.value.cause
    assert remedy in caught.value.fix
    assert not engine_runs()
