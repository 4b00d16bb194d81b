"""How much one TCP flow carries: sacip-tun beside Debian's wireguard-go and OpenVPN.

    python benchmarks/throughput.py [--rounds 5] [--seconds 5] [--json FILE]

Both ends run on this machine, in network namespaces of the run's own. The rounds are interleaved,
so that what else the machine does meets all alike; figures are medians, ratios are of one run.
The veth between the hosts passes UDP_SEGMENT batches whole: no wire of 1500 bytes is in between.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "network"))

from openvpn import OpenVpn
from plain_tunnel import PlainTunnel

from sacip_tun.lab.namespaces import Host, Network
from sacip_tun.lab.tunnel import LabTunnel, Remote

HUB, LAPTOP = "192.168.1.101", "192.168.1.22"


@dataclass(frozen=True)
class Tunnel:
    """A tunnel that stands: whom to ping, and whose CPU time and memory counts."""

    inner: str
    processes: tuple[int, ...]


@contextmanager
def hosts() -> Iterator[tuple[Host, Host]]:
    with Network() as network:
        segment = network.segment("lan")
        hub, laptop = network.host("hub"), network.host("laptop")
        hub.plug(segment, "eth0", f"{HUB}/24")
        laptop.plug(segment, "eth0", f"{LAPTOP}/24")
        yield hub, laptop


def sacip_tun(hub: Host, laptop: Host) -> Tunnel:
    ends = LabTunnel(hub, "10.9.0.1/24"), LabTunnel(laptop, "10.9.0.2/24")
    ends[0].up(Remote(ends[1].keys.public, allowed=("10.9.0.2/32",)))
    ends[1].up(Remote(ends[0].keys.public, f"{HUB}:51820", ("10.9.0.1/32",)))
    ends[1].reach("10.9.0.1")
    return Tunnel("10.9.0.1", _pids(hub, laptop))


def wireguard_go(hub: Host, laptop: Host) -> Tunnel:
    ends = PlainTunnel(hub, "10.7.0.1/24"), PlainTunnel(laptop, "10.7.0.2/24")
    ends[0].up(Remote(ends[1].keys.public, allowed=("10.7.0.2/32",)))
    ends[1].up(Remote(ends[0].keys.public, f"{HUB}:51820", ("10.7.0.1/32",)))
    laptop.run(["ping", "-c", "2", "10.7.0.1"])
    return Tunnel("10.7.0.1", _pids(hub, laptop))


def openvpn(hub: Host, laptop: Host) -> Tunnel:
    return Tunnel(OpenVpn(hub, laptop, HUB).inner, _pids(hub, laptop))


def nothing(_hub: Host, _laptop: Host) -> Tunnel:
    return Tunnel(HUB, ())


CONTENDERS: dict[str, Callable[[Host, Host], Tunnel]] = {
    "sacip-tun": sacip_tun,
    "wireguard-go": wireguard_go,
    "openvpn": openvpn,
    "no tunnel": nothing,
}


def _pids(*ends: Host) -> tuple[int, ...]:
    return tuple(pid for host in ends for pid in host.process_ids())


def _cpu_seconds(pids: tuple[int, ...]) -> float:
    fields = (Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids)
    return sum(int(user) + int(system) for *_, user, system in (f[:13] for f in fields)) / 100


def _memory(pids: tuple[int, ...]) -> float:
    """The largest resident set so far of any end, in MB."""
    texts = (Path(f"/proc/{pid}/status").read_text() for pid in pids)
    peaks = [int(text.partition("VmHWM:")[2].split()[0]) / 1024 for text in texts]
    return max(peaks, default=0.0)


def measure(build: Callable[[Host, Host], Tunnel], seconds: int) -> dict[str, float]:
    """One round: a TCP flow from the laptop to the hub, then one the other way."""
    with hosts() as (hub, laptop):
        tunnel = build(hub, laptop)
        up, cpu, size = _flow(hub, laptop, tunnel, seconds, [])
        down, _, _ = _flow(hub, laptop, tunnel, seconds, ["-R"])
        return {
            "up Mbit/s": up,
            "down Mbit/s": down,
            "CPU s/GB": cpu / size * 1e9,
            "idle RTT ms": _round_trip(laptop, tunnel),
            "peak MB": _memory(tunnel.processes),
        }


def _flow(
    hub: Host, laptop: Host, tunnel: Tunnel, seconds: int, options: list[str]
) -> tuple[float, float, int]:
    server = hub.start(["iperf3", "-s", "-1", "-B", tunnel.inner])
    time.sleep(0.3)
    before = _cpu_seconds(tunnel.processes)
    command = ["iperf3", "-c", tunnel.inner, "-t", str(seconds), "-J", *options]
    report = json.loads(laptop.run(command).stdout)["end"]["sum_received"]
    server.wait(10)
    spent = _cpu_seconds(tunnel.processes) - before
    return report["bits_per_second"] / 1e6, spent, report["bytes"]


def _round_trip(laptop: Host, tunnel: Tunnel) -> float:
    command = ["ping", "-q", "-c", "200", "-i", "0.005", tunnel.inner]
    return float(laptop.run(command).stdout.rpartition(" = ")[2].split("/")[1])


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
    for number in range(options.rounds):
        for name, build in CONTENDERS.items():
            rounds[name].append(measure(build, options.seconds))
            print(f"round {number + 1}, {name}: {rounds[name][-1]}", file=sys.stderr)
    medians = {
        name: {key: statistics.median(r[key] for r in results) for key in results[0]}
        for name, results in rounds.items()
    }
    _print(medians)
    if options.json:
        options.json.write_text(json.dumps({"rounds": rounds, "medians": medians}, indent=1))
    return 0


def _print(medians: dict[str, dict[str, float]]) -> None:
    ours = medians["sacip-tun"]
    print("| | " + " | ".join(ours) + " | ours is, up and down |")
    print("|---|" + "---|" * (len(ours) + 1))
    for name, figures in medians.items():
        ratios = [ours[key] / figures[key] for key in ("up Mbit/s", "down Mbit/s")]
        cells = [f"{value:,.2f}" if value < 10 else f"{value:,.0f}" for value in figures.values()]
        print(f"| {name} | " + " | ".join(cells) + " | {:.2f} and {:.2f} times |".format(*ratios))


if __name__ == "__main__":
    sys.exit(main())
