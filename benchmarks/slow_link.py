"""What waits where the link is the slow part: a round trip beside four uploads, for each tunnel.

The mover's own interface sends through a token bucket (tc-tbf(8)) with a long queue behind it. What
a tunnel hands to the kernel beyond what the link takes waits there, and a ping waits behind it.
"""

import argparse
import time
from threading import Thread

import iperf
import places
from contenders import CONTENDERS, OPENVPN, OURS, WIREGUARD, Contender
from echoes import Echoes, RoundTrips
from markdown import table

from sacip_tun.lab.namespaces import Network

FLOWS = 4
# Bytes that tbf may send at once, and that may wait for it: as a cheap router has them.
BURST, QUEUE = "20kb", "4mb"
# Seconds until the flows have found the rate, and between two pings.
WARM_UP, PAUSE = 2.0, 0.05
NAMES = (OURS, WIREGUARD, OPENVPN)


def measured(contender: Contender, rate: int, seconds: float) -> tuple[float, RoundTrips]:
    """Return the megabits a second that arrived, and the round trips meanwhile."""
    with Network() as network:
        place = places.lan(network)
        inner = contender.up(place).inner
        shape = ["tc", "qdisc", "add", "dev", "eth0", "root", "tbf"]
        place.mover.run([*shape, "rate", f"{rate}mbit", "burst", BURST, "limit", QUEUE])
        carried: list[iperf.Carried] = []
        load = Thread(
            target=lambda: carried.append(iperf.tcp(place, inner, seconds, flows=FLOWS)),
            daemon=True,
        )
        load.start()
        time.sleep(WARM_UP)
        count = int((seconds - WARM_UP - 1) / PAUSE)
        times = Echoes(place.mover, inner, count, PAUSE).finish()
        load.join()
        return carried[0].megabits, times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rates", type=int, nargs="+", default=[20, 100], help="in Mbit/s")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each run")
    options = parser.parse_args()
    rows = []
    for rate in options.rates:
        for name in NAMES:
            megabits, times = measured(CONTENDERS[name], rate, options.seconds)
            cells = (f"{megabits:.0f}", f"{times.median:.1f}", f"{times.p99:.1f}")
            rows.append((f"{rate} Mbit/s", name, *cells))
    print(table(("link", "tunnel", "Mbit/s", "round trip p50, ms", "p99, ms"), rows))


if __name__ == "__main__":
    main()
