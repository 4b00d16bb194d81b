"""How fast `wg` is served while packets move: 130,560 allowed IPs, and 1,000 peers.

    python benchmarks/uapi.py [--rounds 5]

The allowed IPs are those of WireGuard's own selftest, set and read over the socket as `wg` does it.
Beside them pings go through the tunnel every 5 ms: the slowest answer tells of a stall. How fast
`sacip-wg` starts, promptness.py measures.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable

from echoes import ROUND_TRIP
from places import lan
from starts import timed
from timings import told
from uapi_client import HOSTS, ask, many_allowed_ips

from sacip_tun.lab.namespaces import Host, Network
from sacip_tun.lab.tunnel import LabTunnel, Remote

PEERS, PING_INTERVAL = 1000, 0.005
# A peer beside the one that the pings go to.
OTHER = os.urandom(32).hex()


def timed_ask(name: str, request: str) -> tuple[float, str]:
    """Return how long the answer to a request took, in seconds, and the answer."""
    start = time.monotonic()
    answer = ask(name, request)
    return time.monotonic() - start, answer


def slowest_while(hub: Host, doing: Callable[[], float]) -> tuple[float, float]:
    """Return how long `doing` took, and the slowest ping meanwhile, in seconds."""
    pings = hub.start(["ping", "-n", "-i", f"{PING_INTERVAL:g}", "10.9.0.2"])
    time.sleep(0.3)
    took = doing()
    time.sleep(0.1)
    pings.terminate()
    pings.wait()
    times = [float(text) for text in ROUND_TRIP.findall(hub.log(pings))]
    return took, max(times) / 1000


def measure(hub: Host, name: str, peer: str, rounds: int) -> None:
    lines = "".join(f"allowed_ip={text}\n" for text in many_allowed_ips())
    setting = f"set=1\npublic_key={peer}\nreplace_allowed_ips=true\n{lines}\n"
    figures: dict[str, list[tuple[float, float]]] = {"set": [], "set again": [], "read": []}
    for number in range(rounds):
        if number:
            answered(name, f"set=1\npublic_key={peer}\nreplace_allowed_ips=true\n\n")
        for what in ("set", "set again"):
            figures[what].append(slowest_while(hub, lambda: answered(name, setting)[0]))
        figures["read"].append(slowest_while(hub, lambda: read(name)))
    for what, found in figures.items():
        told(f"130,560 allowed IPs {what}", [took for took, _ in found])
        told("    slowest ping meanwhile", [ping for _, ping in found])


def answered(name: str, request: str) -> tuple[float, str]:
    took, answer = timed_ask(name, request)
    if answer != "errno=0\n\n":
        raise ValueError(answer)
    return took, answer


def read(name: str) -> float:
    took, answer = timed_ask(name, "get=1\n\n")
    if answer.count("allowed_ip=") < 2 * HOSTS:
        raise ValueError("some allowed IPs are missing")
    return took


def crowd(name: str) -> None:
    peers = (
        f"public_key={os.urandom(32).hex()}\nallowed_ip=10.77.{n // 256}.{n % 256}/32\n"
        f"endpoint=192.0.2.1:{n + 1000}\n"
        for n in range(PEERS)
    )
    answered(name, f"set=1\n{''.join(peers)}\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with Network() as network:
        place = lan(network)
        ends = LabTunnel(place.hub, "10.9.0.1/24"), LabTunnel(place.mover, "10.9.0.2/24")
        ends[0].up(Remote(ends[1].keys.public))
        ends[1].up(Remote(ends[0].keys.public, f"{place.hub_at}:51820"))
        ends[1].reach("10.9.0.1")
        hub, name = place.hub, ends[0].name
        measure(hub, name, OTHER, rounds)
        answered(name, f"set=1\npublic_key={OTHER}\nremove=true\n\n")
        crowd(name)
        shown = [slowest_while(hub, lambda: timed(hub, "wg", "show", name)) for _ in range(rounds)]
        told(f"`wg show` of {PEERS} peers", [took for took, _ in shown])
        told("    slowest ping meanwhile", [ping for _, ping in shown])
    return 0


if __name__ == "__main__":
    sys.exit(main())
