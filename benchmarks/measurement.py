"""One round of one row: a lab of its own, a tunnel in it, and what it carries."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import iperf
from contenders import CUT, GATHERED, LEAST, Contender, Tunnel, ours
from crowd import crowd
from echoes import Echoes, RoundTrips
from figures import Figures
from iperf import Carried, Received
from places import Place, lan
from search import highest
from usage import cpu_seconds, peak_megabytes, resident_megabytes

from sacip_tun.lab.namespaces import Network
from sacip_tun.linux.errors import SetupError

IDLE_ECHOES, IDLE_INTERVAL = 500, 0.01
# Beside the flows, as often as gives 500 in three seconds.
LOADED_INTERVAL = 0.005
# When the flows are at their speed, and how long before they end, in seconds.
LEAD, TAIL = 0.4, 0.2
SIZES = (1300, 64)
# What is offered first, packets a second, and for how long each time, in seconds.
FIRST, PROBE = 30_000.0, 1.0


@contextmanager
def standing(contender: Contender) -> Iterator[tuple[Place, Tunnel]]:
    """Build a lab with the tunnel in it; it is gone afterwards."""
    with Network() as network:
        place = lan(network)
        yield place, contender.up(place)


@dataclass
class Measurement:
    """What is the same in all rounds, and what one tells the next."""

    seconds: float
    """How long each flow runs."""
    rates: dict[tuple[str, int], float] = field(default_factory=dict)
    """The best rate found for a row and a size, packets a second: the next search starts there."""

    def of(self, contender: Contender) -> Figures:
        """Measure everything. Raises what a lab's start or iperf3 fails with."""
        with standing(contender) as (place, tunnel):
            if contender.name in {CUT, GATHERED}:
                return self._one_flow(place, tunnel) | {"peak": peak_megabytes(tunnel.processes)}
            if contender.name == LEAST:
                return _idle(place, tunnel)
            found = _idle(place, tunnel) | self._one_flow(place, tunnel)
            for direction in ("up", "down"):
                found |= self._four_flows(place, tunnel, direction)
            for size in SIZES:
                found |= self._datagrams(place, tunnel, contender.name, size)
            if tunnel.processes:
                found["peak"] = peak_megabytes(tunnel.processes)
            return found

    def of_crowd(self, peers: int) -> Figures:
        """Measure ours with a hub that knows so many peers, all but one of which never call."""
        with standing(Contender("crowd", lambda place: ours(place, crowd(peers - 1)))) as made:
            place, tunnel = made
            hub = tunnel.processes[0]
            up = iperf.tcp(place, tunnel.inner, self.seconds).megabits
            peak = peak_megabytes([hub])
            return {"up": up, "resident": resident_megabytes(hub), "peak": peak}

    def _one_flow(self, place: Place, tunnel: Tunnel) -> Figures:
        before = cpu_seconds(tunnel.processes)
        up = iperf.tcp(place, tunnel.inner, self.seconds)
        down = iperf.tcp(place, tunnel.inner, self.seconds, down=True)
        found = {"up": up.megabits, "down": down.megabits}
        if tunnel.processes:
            spent = cpu_seconds(tunnel.processes) - before
            found["cpu"] = spent / (up.size + down.size) * 1e9
        return found

    def _four_flows(self, place: Place, tunnel: Tunnel, direction: str) -> Figures:
        carried, trips = self._under_load(place, tunnel, down=direction == "down")
        return {
            f"four {direction}": carried.megabits,
            f"loaded {direction} p50": trips.median,
            f"loaded {direction} p99": trips.p99,
        }

    def _under_load(
        self, place: Place, tunnel: Tunnel, *, down: bool
    ) -> tuple[Carried, RoundTrips]:
        count = max(1, round((self.seconds - LEAD - TAIL) / LOADED_INTERVAL))
        with ThreadPoolExecutor() as pool:
            running = pool.submit(iperf.tcp, place, tunnel.inner, self.seconds, flows=4, down=down)
            time.sleep(LEAD)
            trips = Echoes(place.mover, tunnel.inner, count, LOADED_INTERVAL).finish()
            return running.result(), trips

    def _datagrams(self, place: Place, tunnel: Tunnel, row: str, size: int) -> Figures:
        def offer(rate: float) -> Received:
            try:
                return iperf.udp(place, tunnel.inner, size, rate, PROBE)
            except SetupError:
                # So much was offered that iperf3's own connection did not come through beside it.
                return Received(rate, sent=rate, received=0.0)

        best = highest(offer, self.rates.get((row, size), FIRST))
        if not best.received:
            raise SetupError("iperf3 gets no UDP through", f"{size} bytes, {row}")
        self.rates[row, size] = best.offered
        return {f"udp {size}": best.received, f"udp {size} lost": best.lost}


def _idle(place: Place, tunnel: Tunnel) -> Figures:
    trips = Echoes(place.mover, tunnel.inner, IDLE_ECHOES, IDLE_INTERVAL).finish()
    return {"idle p50": trips.median, "idle p99": trips.p99}
