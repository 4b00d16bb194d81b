"""The moves of the handover benchmark, as data: who does what, when, and what that does to the net.

A step's lines are typed on one host, one right after the other. The network counts as unusable
from a step that is marked `breaks` until the end of the next one that is marked `mends` (the same
one, where an address is replaced): no tunnel can carry anything then. Where another path is there
all the time, nothing is marked: a tunnel that does not use it stalls by its own fault.
"""

from collections.abc import Callable
from dataclasses import dataclass

import places
from places import Place

from sacip_tun.lab.namespaces import Network

# Lines that are typed nowhere: the mover's tunnel is stopped, as a suspended machine stops it.
FREEZE, THAW = "freeze", "thaw"


@dataclass(frozen=True)
class Step:
    """Lines on one host, `at` seconds after the move began."""

    at: float
    host: str
    lines: tuple[str, ...]
    breaks: bool = False
    mends: bool = False
    without_ours: tuple[str, ...] = ()
    """What the others' users type, where ours have a command for it."""


@dataclass(frozen=True)
class Move:
    """One row of the table."""

    name: str
    title: str
    moves: str
    """Which side's address or path changes."""
    place: Callable[[Network], Place]
    steps: tuple[Step, ...]
    lasts: float = 0.0
    """How long to look at it at least, in seconds after its last step."""
    short: bool = True
    """It is quick enough for the short form."""
    long: bool = False
    """It is only made when asked for."""

    @property
    def seconds(self) -> float:
        """From the first step to the last."""
        return max(step.at for step in self.steps) + self.lasts


def _add(address: str, device: str = "eth0") -> str:
    return f"ip addr add {address} dev {device}"


def _delete(address: str, device: str = "eth0") -> str:
    return f"ip addr del {address} dev {device}"


OLD, NEW = "192.168.1.22/24", "192.168.1.2/24"
HUB_OLD, HUB_NEW = "192.168.1.101/24", "192.168.1.102/24"
V6 = "fd00::22/64"
WIFI = (
    _add("192.168.2.22/24", "wlan0"),
    "ip route add default via 192.168.2.1 dev wlan0 metric 600",
)
REPLACED = (_delete(OLD), _add(NEW))
HUB_REPLACED = (_delete(HUB_OLD), _add(HUB_NEW))
DROP_ALL = """nft 'table ip dead {
chain through { type filter hook forward priority filter; policy drop; }
}'"""


def _outage(seconds: int, *, short: bool = False, long: bool = False) -> Move:
    return Move(
        f"outage-{seconds}",
        f"no address for {seconds} s, then a new one",
        "mover",
        places.lan,
        (
            Step(0, "mover", (_delete(OLD),), breaks=True),
            Step(seconds, "mover", (_add(NEW),), mends=True),
        ),
        short=short,
        long=long,
    )


def _both(name: str, title: str, apart: float) -> Move:
    return Move(
        name,
        title,
        "both",
        places.lan,
        (
            Step(0, "mover", REPLACED, breaks=True, mends=True),
            Step(apart, "hub", HUB_REPLACED, breaks=True, mends=True),
        ),
    )


def _churn() -> tuple[Step, ...]:
    """What `docker run` and its end do to the host, ten times in two seconds."""
    steps = []
    for number in range(10):
        made = (
            f"ip link add br{number} type bridge",
            f"ip addr add 172.{17 + number}.0.1/16 dev br{number}",
            f"ip link set br{number} up",
            f"ip link add veth{number} type veth peer name inside{number}",
            f"ip link set veth{number} master br{number} up",
            f"ip link set inside{number} up",
        )
        gone = (f"ip link del veth{number}", f"ip link del br{number}")
        steps += [Step(0.2 * number, "mover", made), Step(0.2 * number + 0.3, "mover", gone)]
    return tuple(steps)


MOVES = (
    Move(
        "test-1",
        "the test 1 of 2007: a second address is added, the first deleted 1 s later",
        "mover",
        places.lan,
        (Step(0, "mover", (_add(NEW),)), Step(1, "mover", (_delete(OLD),))),
    ),
    Move(
        "planned",
        "planned, on the same subnet",
        "mover",
        places.lan,
        (
            Step(
                0,
                "mover",
                (f"sacip-tun move {{interface}} --to {NEW}",),
                without_ours=(_add(NEW), _delete(OLD)),
            ),
        ),
    ),
    Move(
        "second-interface",
        "Wi-Fi comes up, 1 s later the cable's interface is set down",
        "mover",
        places.wifi_not_yet_up,
        (Step(0, "mover", WIFI), Step(1, "mover", ("ip link set eth0 down",))),
    ),
    Move(
        "replaced",
        "the address is replaced, the old one already gone",
        "mover",
        places.lan,
        (Step(0, "mover", REPLACED, breaks=True, mends=True),),
    ),
    Move(
        "test-2",
        "the test 2 of 2007: to another subnet, from where the hub is behind a router",
        "mover",
        places.two_subnets,
        (
            Step(0, "mover", (_add("192.168.1.222/25"),)),
            Step(0.5, "mover", (_delete("192.168.1.2/25"),)),
        ),
    ),
    Move(
        "no-promotion",
        "the second address goes with the first, and is added again 0.5 s later",
        "mover",
        places.no_promotion,
        (
            Step(0, "mover", (_add(NEW),)),
            Step(0.5, "mover", (_delete(OLD),), breaks=True),
            Step(1, "mover", (_add(NEW),), mends=True),
        ),
    ),
    Move(
        "cable-pulled",
        "the cable is pulled while Wi-Fi is up, and plugged in again 2 s later",
        "mover",
        places.two_uplinks,
        (
            Step(0, "cable", ("ip link set port1 down",)),
            Step(2, "cable", ("ip link set port1 up",)),
        ),
    ),
    _outage(5, short=True),
    _outage(20),
    _outage(60),
    _outage(600, long=True),
    Move(
        "dead-path",
        "the cable's router forwards nothing for 5 s, with no sign of it; Wi-Fi is up",
        "network",
        places.two_uplinks,
        (
            Step(
                0,
                "cable-router",
                (DROP_ALL,),
            ),
            Step(5, "cable-router", ("nft delete table ip dead",)),
        ),
    ),
    Move(
        "nat-to-nat",
        "from behind one NAT to behind another, the old address already gone",
        "mover",
        places.two_nats,
        (Step(0, "mover", (_delete(OLD), *WIFI), breaks=True, mends=True),),
    ),
    Move(
        "nat-rebinding",
        "the NAT forgets, and gives other ports from then on; no local event",
        "network",
        places.two_nats,
        (
            Step(
                0,
                "cable-router",
                (
                    "nft delete table ip nat",
                    f"nft '{places.masquerade('50000-59999')}'",
                    "conntrack -F",
                ),
            ),
        ),
    ),
    Move(
        "nat-to-public",
        "from behind a NAT to a public address, the old address already gone",
        "mover",
        places.nat_and_public,
        (
            Step(
                0,
                "mover",
                (_delete(OLD), _add("203.0.113.50/24", "wlan0")),
                breaks=True,
                mends=True,
            ),
        ),
    ),
    Move(
        "family",
        "IPv4 to IPv6, and 2 s later back to IPv4; the old address already gone each time",
        "mover",
        places.lan,
        (
            Step(0, "mover", (_delete(OLD), _add(V6)), breaks=True, mends=True),
            Step(2, "mover", (_delete(V6), _add(OLD)), breaks=True, mends=True),
        ),
    ),
    Move(
        "hub-moves",
        "the fixed side's address is replaced, the old one already gone",
        "hub",
        places.lan,
        (Step(0, "hub", HUB_REPLACED, breaks=True, mends=True),),
    ),
    _both("both-at-once", "both addresses are replaced at once", 0),
    _both("both-10-ms", "both addresses are replaced, 10 ms apart", 0.01),
    _both("both-1-s", "both addresses are replaced, 1 s apart", 1),
    Move(
        "path-mtu",
        "the MTU of a link in the middle goes from 1500 to 1280, and 2 s later to 1400",
        "network",
        places.two_routers,
        tuple(
            Step(at, router, (f"ip link set eth1 mtu {mtu}",))
            for at, mtu in ((0, 1280), (2, 1400))
            for router in ("near-router", "far-router")
        ),
    ),
    Move(
        "churn",
        "ten containers come and go at the mover within 2 s",
        "nobody",
        places.lan,
        _churn(),
    ),
    Move(
        "suspend",
        "the mover's tunnel is stopped for 5 s; meanwhile its address is replaced",
        "mover",
        places.lan,
        (
            Step(0, "mover", (FREEZE,), breaks=True),
            Step(2, "mover", REPLACED),
            Step(5, "mover", (THAW,), mends=True),
        ),
    ),
)
BY_NAME = {move.name: move for move in MOVES}
