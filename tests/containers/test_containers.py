"""The lab of docker-compose.yml in an engine of its own: up, moved about, and its bad states.

laptop ══ wifi, NAT ══ router ══ hub ── server
   ╚═════ lte ═══════════╝
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from composed import HUB, IMAGE, LAPTOP, TREE, Environment, Lab, engine_runs
from engine import CGROUPS, Engine, remove_groups, run
from proof import Prover, sound
from prove import engine
from roams import ROAMS

from sacip_tun.linux.errors import SetupError

pytestmark = [pytest.mark.network, pytest.mark.containers]

# What takes longer than that, in ms, is stalled; this is no measurement.
STALLED = 2000.0
# The status of the process with a word in its command line, which is not in that of this one.
ITS_STATUS = "cat $(dirname $(grep -l '{}' /proc/[0-9]*/cmdline))/status"
# A program with an engine that gets no chance to end it.
VICTIM = """
import sys
sys.path.insert(0, sys.argv[1])
from engine import Engine
with Engine() as engine:
    print(engine.directory, engine.cgroup, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def environment() -> Iterator[Environment]:
    with engine(own=True) as environment:
        yield environment
    assert not list(CGROUPS.rglob(f"sacip-tun-{os.getpid()}-*"))


@pytest.fixture(scope="module")
def lab(environment) -> Iterator[Lab]:
    with Lab(environment) as lab:
        yield lab


@pytest.fixture(scope="module")
def prover(lab) -> Prover:
    return Prover(lab)


def part(environment, *options: str) -> "subprocess.CompletedProcess[str]":
    """Run one part alone, as somebody does who writes a compose file of his own."""
    return run(
        ["docker", "run", "--rm", "--network", "none", *options],
        environment=environment,
        check=False,
    )


def test_a_taken_subnet_is_named_and_another_one_can_be_given(environment) -> None:
    lab, other = Lab(environment), Lab({**environment, "LAB_NET": "10.78"})
    lab.docker("network", "create", "--subnet", "10.77.4.0/24", "taken")
    with pytest.raises(SetupError, match=r"LAB_NET=10\.78"):
        lab.compose("up", "--no-start", "--no-deps", "router")
    lab.compose("down", "-v")
    other.compose("up", "--no-start", "--no-deps", "router")
    other.compose("down", "-v")
    lab.docker("network", "rm", "taken")


def test_a_machine_in_a_subnet_of_the_lab_keeps_its_route(environment) -> None:
    lab, lan = Lab(environment), "ip link add lan type veth peer name far && ip link set far up"
    lan += " && ip link set lan up && ip addr add 10.77.4.77/24 dev lan"
    machine(environment, lan)
    lab.compose("up", "--no-start", "--no-deps", "router")
    seen = machine(environment, "ip -o -4 route get 10.77.4.10; ip -o -4 addr show to 10.77.0.0/16")
    lab.compose("down", "-v")
    machine(environment, "ip link del lan")
    route, *addresses = seen.splitlines()
    assert " dev lan " in route
    assert len(addresses) == 1


def machine(environment, line: str) -> str:
    """Run a line of shell in the network that the engine is in, as its machine does."""
    options = ("--rm", "--network=host", "--cap-add=NET_ADMIN", "--entrypoint=sh")
    return run(["docker", "run", *options, IMAGE, "-c", line], environment=environment).stdout


@pytest.mark.parametrize("roam", ROAMS, ids=lambda roam: roam.name)
def test_connections_survive(prover, roam) -> None:
    proof = prover.prove(roam)
    assert sound(proof, prover.shell), proof.error
    if roam.name != "killed":
        assert max(proof.beyond, proof.wait - proof.outage) < STALLED
        assert moved(proof.timeline) == {"laptop", "hub"}


def moved(timeline: list[str]) -> set[str]:
    """Return who said that it knows of a move."""
    return {line.split()[1] for line in timeline if "has moved" in line}


def test_a_laptop_at_rest_is_healthy_and_behind_the_nat(lab) -> None:
    said = lab.docker("exec", LAPTOP, "sacip-tun", "status").stdout
    assert f"behind a NAT: seen as {lab.net}.3.10:" in said
    for name in (HUB, LAPTOP):
        checked = lab.docker("exec", name, "sacip-tun", "status", "--check")
        assert checked.stdout == "sacip0: ok\n"


def test_another_lab_is_left_alone(lab) -> None:
    with pytest.raises(SetupError, match="-p sacip-lab down -v"), Lab(lab.environment):
        pass
    assert lab.docker("exec", LAPTOP, "sacip-tun", "status", "--check").stdout == "sacip0: ok\n"


@pytest.mark.parametrize(
    ("name", "word", "said"),
    [
        (LAPTOP, "20", "docker compose exec hub roam 20"),
        (HUB, "lte", "docker compose exec laptop roam lte"),
        (HUB, "300", "there is no address 10.77.4.300"),
        (HUB, "020", "roam wifi | roam lte"),
    ],
)
def test_a_roam_that_cannot_be_says_what_can(lab, name, word, said) -> None:
    done = lab.docker("exec", name, "roam", word, check=False)
    assert done.returncode == 2
    assert said in done.stderr


def test_a_second_download_is_told_to_wait(lab) -> None:
    container = lab.container("laptop")
    first = container.start(["download", "2"])
    container.run("sh", "-c", "until ss -tn | grep -q ':5001'; do sleep 0.1; done")
    second = container.run("download", "1", check=False)
    assert second.returncode == 1
    assert "the server is busy" in second.stdout
    assert first.wait(30) == 0
    assert "SHA-256 right" in container.log(first)


def test_a_visitor_can_download_and_ping(lab) -> None:
    assert "1 received" in lab.docker("exec", LAPTOP, "ping", "-c1", "-W5", "server").stdout
    said = lab.docker("exec", LAPTOP, "download", "0.5").stdout
    assert "1,250,000 bytes in one connection, SHA-256 right" in said


def status_in(container, word: str) -> dict[str, str]:
    """Return what the kernel says of one process in a container (proc_pid_status(5))."""
    said = container.run("sh", "-c", ITS_STATUS.format(word)).stdout
    return dict(line.split(":\t", 1) for line in said.splitlines() if ":\t" in line)


@pytest.mark.parametrize(
    ("name", "word"), [("router", "[i]nfinity"), ("nat", "[i]nfinity"), ("server", "[l]ab.flow")]
)
def test_the_other_parts_have_no_capability_and_are_not_root(lab, name, word) -> None:
    status = status_in(lab.container(name), word)
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
    assert "0" not in status["Uid"].split()


def test_a_tunnel_has_one_capability_and_is_not_root(lab) -> None:
    for name in (HUB, LAPTOP):
        status = status_in(lab.container(name.removeprefix("sacip-")), "[f]oreground")
        assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 1 << 12
        assert "0" not in status["Uid"].split()
        form = "{{.HostConfig.Privileged}} {{.HostConfig.CapDrop}}"
        assert lab.docker("inspect", "-f", form, name).stdout == "false [ALL]\n"
        logged = lab.docker("logs", name)
        assert "sacip0" in logged.stdout + logged.stderr
        assert "Permission denied" not in logged.stdout + logged.stderr
        # Nothing that has a key in it is written into the container.
        assert "/run/lab" not in lab.docker("diff", name).stdout


def test_each_end_has_its_own_key_and_keeps_it(lab) -> None:
    def own(name: str) -> str:
        return lab.docker("exec", name, "sh", "-c", "sacip-tun pubkey </keys/private").stdout

    def other(name: str) -> str:
        return lab.docker("exec", name, "cat", "/keys/peer").stdout

    keys = own(HUB), own(LAPTOP)
    assert keys[0] != keys[1]
    assert (other(LAPTOP), other(HUB)) == keys
    assert lab.docker("exec", HUB, "stat", "-c", "%a %U", "/keys/private").stdout == "600 sacip\n"
    lab.compose("up", "-d", "keys")
    assert (own(HUB), own(LAPTOP)) == keys
    assert not part(lab.environment, "--entrypoint", "ls", IMAGE, "-d", "/keys").stdout


def test_a_container_without_the_device_says_what_to_do(environment) -> None:
    done = part(environment, "--cap-add", "NET_ADMIN", IMAGE, "laptop")
    assert done.returncode == 4
    assert "/dev/net/tun is not in this container" in done.stderr
    assert "--device /dev/net/tun" in done.stderr


def test_a_container_without_the_capability_says_what_to_do(environment) -> None:
    done = part(environment, "--device", "/dev/net/tun", IMAGE, "hub")
    assert done.returncode == 4
    assert "--cap-add NET_ADMIN" in done.stderr


def test_a_container_without_keys_says_what_to_do(environment) -> None:
    options = ("--device", "/dev/net/tun", "--cap-add", "NET_ADMIN")
    done = part(environment, *options, IMAGE, "hub")
    assert done.returncode == 5
    assert "the part 'keys' first" in done.stderr


def test_an_engine_leaves_nothing_behind() -> None:
    with Engine() as engine:
        engine.isolate()
        directory = engine.directory
        assert processes(str(directory))
    assert not processes(str(directory))
    assert not directory.exists()
    assert str(directory) not in Path("/proc/self/mounts").read_text()
    assert not Path("/sys/class/net/docker0").exists() or engine_runs()


def test_an_engine_ends_with_a_program_that_is_killed() -> None:
    victim = [sys.executable, "-c", VICTIM, str(TREE / "containers")]
    with subprocess.Popen(
        victim, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as program:
        directory, group = program.stdout.readline().split()
        assert processes(directory)
        program.kill()
    deadline = time.monotonic() + 10
    while processes(directory):
        assert time.monotonic() < deadline, "the engine still runs"
        time.sleep(0.05)
    shutil.rmtree(directory)
    remove_groups(group)


def processes(word: str) -> list[Path]:
    """Return the processes in whose command line a word is."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if word in path.read_text():
                found.append(path)
    return found
