"""How prompt it is: both programs to ready, an address change to its notice, and idle wake-ups.

    python benchmarks/promptness.py [--rounds 20] [--programs DIRECTORY] [--starts]

The programs are started as they are in this tree, or as they are installed in DIRECTORY; with
--starts nothing else is measured.

The notice is timed inside the mover's network namespace, from the kernel's netlink message about
the deleted address to the first outer packet that leaves from the new one, both as one observer
sees them. Nothing else should run on the machine meanwhile.
"""

import argparse
import json
import sys
import time
from pathlib import Path

from places import lan
from starts import Programs, up_to_ready, wg_to_answer
from timings import told

from sacip_tun.lab.namespaces import Host, Network
from sacip_tun.lab.tunnel import LabTunnel, Remote

LAPTOP, OTHER = "192.168.1.22", "192.168.1.2"
IDLE_SECONDS = 20


def notice(laptop: Host, old: str, new: str) -> float:
    """Seconds from the netlink message to the notice on the wire, the new address being there."""
    laptop.ip(f"addr add {new}/24 dev eth0")
    time.sleep(0.3)
    observer = laptop.start([sys.executable, str(Path(__file__).with_name("observer.py")), new])
    while "ready" not in laptop.log(observer):
        time.sleep(0.01)
    laptop.ip(f"addr del {old}/24 dev eth0")
    observer.wait(10)
    return float(json.loads(laptop.log(observer).splitlines()[-1])["seconds"])


def idle_wakeups(hub: Host, laptop: Host) -> float:
    """Voluntary context switches a second of the busier end, with nothing to do."""
    pids = [*hub.process_ids(), *laptop.process_ids()]
    before = [_switches(pid) for pid in pids]
    time.sleep(IDLE_SECONDS)
    after = [_switches(pid) for pid in pids]
    return max(b - a for a, b in zip(before, after, strict=True)) / IDLE_SECONDS


def _switches(pid: int) -> int:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("\nvoluntary_ctxt_switches:")[2].split()[0])


def starts(host: Host, rounds: int, programs: Programs) -> None:
    told("`up` to ready", up_to_ready(host, rounds, programs))
    found = wg_to_answer(host, rounds, programs)
    told("sacip-wg to its return", [ready for ready, _ in found])
    told("    to the first answer to `wg show`", [answer for _, answer in found])


def tunnel(hub: Host, laptop: Host, hub_at: str, rounds: int) -> None:
    ends = LabTunnel(hub, "10.9.0.1/24"), LabTunnel(laptop, "10.9.0.2/24")
    ends[0].up(Remote(ends[1].keys.public))
    ends[1].up(Remote(ends[0].keys.public, f"{hub_at}:51820"))
    ends[1].reach("10.9.0.1")
    addresses = [(LAPTOP, OTHER), (OTHER, LAPTOP)]
    notices = [notice(laptop, *addresses[number % 2]) for number in range(rounds)]
    time.sleep(12)
    told("netlink message to notice on the wire", notices)
    print(f"idle wake-ups of the busier end: {idle_wakeups(hub, laptop):.2f} a second")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--programs", type=Programs.within, default=Programs(), metavar="DIRECTORY")
    parser.add_argument("--starts", action="store_true")
    options = parser.parse_args()
    with Network() as network:
        place = lan(network, f"{LAPTOP}/24")
        starts(place.mover, options.rounds, options.programs)
        if not options.starts:
            tunnel(place.hub, place.mover, place.hub_at, options.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
