"""What a hub of thousands of peers costs: memory, start-up, lookups, handshakes, a flood, status.

    python benchmarks/scale.py [--peers 0 1 100 1000 10000] [--json FILE]

Memory, start-up and status are those of a daemon in a network namespace of the run's own, whose
peers are a crowd (crowd.py): none has called. The rest is measured in processes of its own, on the
protocol alone, in CPU time: nothing waits there for a wire.
"""

import argparse
import gc
import json
import os
import statistics
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

from caller import Caller
from crowd import crowd

from sacip_tun.lab.namespaces import Host, Network
from sacip_tun.lab.tunnel import PROGRAM, LabTunnel
from sacip_tun.protocol.keys import StaticIdentity, clamped, public_key
from sacip_tun.protocol.limits import UNDER_LOAD_HANDSHAKES_PER_SECOND
from sacip_tun.protocol.settings import PeerSettings
from sacip_tun.protocol.tunnel import Tunnel

Figures = dict[str, float]

PEERS = (0, 1, 100, 1000, 10_000)
# Peers whose memory is told, callers whose handshakes are timed, bogus initiations for each.
ENGAGED, CALLERS, BOGUS = 1000, 300, 10
LOOKUPS = 100_000
FIRST_INNER = ip_address("10.100.0.1")


def daemon(host: Host, count: int) -> Figures:
    """Bring a daemon with `count` peers up, and look at it."""
    tunnel = LabTunnel(host, "10.9.0.1/24")
    path = tunnel.configuration(*crowd(count))
    start = time.monotonic()
    host.run([*PROGRAM, "up", str(path)])
    ready = time.monotonic() - start
    (process,) = host.process_ids()
    resident = _resident(process)
    start = time.monotonic()
    tunnel.command("status", tunnel.name, "--json")
    answered = time.monotonic() - start
    after = _resident(process)
    tunnel.command("down", tunnel.name)
    return {
        "up seconds": ready,
        "MB": resident / 1e6,
        "MB after status": after / 1e6,
        "status seconds": answered,
    }


def _resident(process: int) -> int:
    text = Path(f"/proc/{process}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0]) * 1024


def hub(count: int) -> tuple[Tunnel, list[bytes]]:
    """A tunnel with `count` peers, each with one address of 10.100.0.0/14; their private keys."""
    tunnel = Tunnel(StaticIdentity(os.urandom(32)), entropy=os.urandom, unix_ns=time.time_ns)
    privates = [clamped(os.urandom(32)) for _ in range(count)]
    for number, private in enumerate(privates):
        networks = [ip_network(FIRST_INNER + number)]
        tunnel.add_peer(PeerSettings(public_key(private)), networks, now=0.0)
    return tunnel, privates


def memory() -> Figures:
    """Bytes of Python's objects that each of ENGAGED peers takes, by what it has done.

    The ciphers of a session, some 4 KB, are OpenSSL's and not counted.
    """
    hub(1)  # what is made once for all is no peer's
    tracemalloc.start()
    before = _grown()
    tunnel, privates = hub(ENGAGED)
    met = tunnel.peers
    configured = _grown()
    for key in list(met):
        met.get(key)
    whole = _grown()
    now = 1000.0
    for number, private in enumerate(privates):
        now += 0.01  # less often than what means load
        caller = Caller(tunnel, private, number)
        caller.exchange(caller.let_in(now=now), now=now)
    active = _grown()
    while (deadline := tunnel.next_timer()) is not None:
        tunnel.handle_timer(now=deadline)  # nobody answers, and after nine minutes all is erased
        tunnel.datagrams_to_send()
        while tunnel.next_event():
            pass
    idle = _grown()
    tracemalloc.stop()
    return {
        "bytes a peer that never called": (configured - before) / ENGAGED,
        "bytes more once it has": (whole - configured) / ENGAGED,
        "bytes more with a session in use": (active - whole) / ENGAGED,
        "bytes more when idle again": (idle - whole) / ENGAGED,
    }


def _grown() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def lookups() -> Figures:
    """Nanoseconds to find a peer by receiver index and by inner address, of 1 and of 10,000."""
    figures = Figures()
    for count in (1, 10_000):
        tunnel, privates = hub(1)
        indices = _sessions(tunnel, privates[0], count)
        for number in range(1, count):
            key = public_key(os.urandom(32))
            networks = [ip_network(FIRST_INNER + number)]
            tunnel.add_peer(PeerSettings(key), networks, now=0.0)
            tunnel.peers.get(key)
        addresses = [(FIRST_INNER + number).packed for number in range(count)]
        keyring = tunnel.keyring
        figures[f"ns by index of {count}"] = _each(keyring.__getitem__, indices)
        figures[f"ns by prefix of {count}"] = _each(tunnel.route, addresses)
    return figures


def _sessions(tunnel: Tunnel, private: bytes, count: int) -> list[int]:
    """Return the receiver index of one session, and put as many others into the tables."""
    session = Caller(tunnel, private, 0).let_in(now=1.0)
    context = tunnel._context  # noqa: SLF001 - sessions that nobody had to shake hands for
    one = context.sessions[session.remote_index]
    others = [int.from_bytes(os.urandom(4), "little") for _ in range(count - 1)]
    for index in others:
        context.sessions[index], context.keyring[index] = one, one.opener
    return [session.remote_index, *others]


def _each(find: Callable[[Any], object], keys: list[Any]) -> float:
    """Nanoseconds of one call, over all of `keys` in turn; the median of some runs."""
    asked = [keys[number * 7919 % len(keys)] for number in range(LOOKUPS)]
    runs = []
    for _ in range(5):
        start = time.thread_time_ns()
        for key in asked:
            find(key)
        runs.append((time.thread_time_ns() - start) / LOOKUPS)
    return statistics.median(runs)


def handshakes() -> Figures:
    """Handshakes that one core answers in a second, and what bogus ones cost, also under load."""
    tunnel, privates = hub(2 * CALLERS)
    now = 1000.0
    spent = again = 0.0
    for number, private in enumerate(privates[:CALLERS]):
        now += 0.1
        caller = Caller(tunnel, private, number)
        caller.let_in(now=now)
        spent += caller.spent
        caller.let_in(now=now + 0.03)
        before = caller.spent
        caller.let_in(now=now + 0.06)
        again += caller.spent - before
    stranger = Caller(tunnel, clamped(os.urandom(32)), 9999)
    bogus = stranger.initiation(now=now)
    flipped = bogus[:-20] + bytes([bogus[-20] ^ 1]) + bogus[-19:]
    for _ in range(2 * UNDER_LOAD_HANDSHAKES_PER_SECOND):
        stranger.knock(bogus, now=now)
    served, flood = _under_flood(tunnel, privates[CALLERS:], stranger, bogus, now)
    wrong = _cost(stranger, flipped, now)
    return {
        "first handshakes a second": CALLERS / spent,
        "later handshakes a second": CALLERS / again,
        "first handshakes a second under flood": served,
        "us a bogus one with a wrong mac1": wrong,
        "us a bogus one answered by a cookie": flood,
    }


def _under_flood(
    tunnel: Tunnel, privates: list[bytes], stranger: Caller, bogus: bytes, now: float
) -> tuple[float, float]:
    """Let callers in among BOGUS initiations for each; handshakes a second, us a bogus one."""
    before, spent = stranger.spent, 0.0
    for number, private in enumerate(privates):
        now += 0.001
        caller = Caller(tunnel, private, number)
        for _ in range(BOGUS):
            stranger.knock(bogus, now=now)
        tunnel.datagrams_to_send()
        caller.call(now=now)  # a cookie comes
        caller.let_in(now=now)
        spent += caller.spent
    flood = stranger.spent - before
    return len(privates) / (spent + flood), flood / (BOGUS * len(privates)) * 1e6


def _cost(stranger: Caller, data: bytes, now: float) -> float:
    before = stranger.spent
    for _ in range(1000):
        stranger.knock(data, now=now)
    return (stranger.spent - before) / 1000 * 1e6


ALONE = {"memory": memory, "lookups": lookups, "handshakes": handshakes}


def measured(counts: list[int]) -> dict[str, Figures]:
    """Return all figures; each part of the second kind in a process of its own."""
    figures = {}
    for count in counts:
        with Network() as network:
            figures[f"{count} peers"] = daemon(network.host("hub"), count)
    for name in ALONE:
        command = [sys.executable, __file__, "--alone", name]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        figures[name] = json.loads(done.stdout)
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peers", type=int, nargs="+", default=list(PEERS))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--alone", choices=ALONE, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        print(json.dumps(ALONE[options.alone]()))
        return 0
    figures = measured(options.peers)
    for part, rows in figures.items():
        print(part)
        for name, value in rows.items():
            print(f"    {name:40} {value:12,.2f}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
