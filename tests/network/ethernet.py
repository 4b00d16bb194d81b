"""The deck's Ethernet (slide 19), and tunnels between two hosts on it.

mover             peer              router
eth0 (varies)     eth0 .101         eth0 .4
──────┴─────────────┴─────────────────┴──────  192.168.1.0/24 and fd00::/64
"""

import time
from dataclasses import dataclass

from sacip_tun.lab.namespaces import Host, Network, Segment
from sacip_tun.lab.tunnel import LabTunnel, Remote

PEER, PEER_V6 = "192.168.1.101", "fd00::101"
ROUTER = "192.168.1.4"
PATIENCE, PAUSE = 10.0, 0.05
# What one look may cost of that: a machine that stands still for a while fails no test.
LONGEST_LOOK = 0.5


@dataclass(frozen=True)
class Ethernet:
    lan: Segment
    mover: Host
    peer: Host
    router: Host


def ethernet(network: Network, mover_address: str, *, promote_secondaries: int = 1) -> Ethernet:
    lan = network.segment("lan")
    mover = network.host("mover", promote_secondaries=promote_secondaries)
    peer, router = network.host("peer"), network.host("router")
    router.write_sysctl("ipv4/ip_forward", 1)
    mover.plug(lan, "eth0", mover_address)
    peer.plug(lan, "eth0", f"{PEER}/24", f"{PEER_V6}/64")
    router.plug(lan, "eth0", f"{ROUTER}/24")
    return Ethernet(lan, mover, peer, router)


def at(host: str, port: int = 51820) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def tunnel(
    net: Ethernet, towards: str = PEER, options: tuple[str, ...] = ()
) -> tuple[LabTunnel, LabTunnel]:
    """Our tunnel on both hosts, up; the mover calls."""
    return tunnel_between(net.mover, net.peer, towards, options)


def tunnel_between(
    caller: Host, called: Host, towards: str, options: tuple[str, ...] = ()
) -> tuple[LabTunnel, LabTunnel]:
    mover = LabTunnel(caller, "10.9.0.2/24", options=options)
    peer = LabTunnel(called, "10.9.0.1/24", options=options)
    peer.up(Remote(mover.keys.public))
    mover.up(Remote(peer.keys.public, at(towards)))
    mover.reach(peer.inner)
    wait_until(lambda: _both_know_sacip(mover, peer), "HELLO was not exchanged")
    return mover, peer


def _both_know_sacip(mover: LabTunnel, peer: LabTunnel) -> bool:
    ends = (mover.peer(peer.keys.public), peer.peer(mover.keys.public))
    return all(end["sacip"] for end in ends)


# What a command runs in that is to be interrupted: a shell's background jobs have SIGINT ignored,
# and so may whoever runs the tests.
INTERRUPTIBLE = ("env", "--default-signal=INT")


def wait_until(is_so, otherwise: str, patience: float = PATIENCE) -> None:
    spent = 0.0
    while True:
        began = time.monotonic()
        if is_so():
            return
        assert spent < patience, f"{otherwise} within {patience} s"
        time.sleep(PAUSE)
        spent += min(time.monotonic() - began, LONGEST_LOOK)


def wait_until_moved(mover: LabTunnel, peer: LabTunnel, new: str) -> None:
    """Both ends use the new address of the mover."""

    def ends():
        return (
            mover.active(peer.keys.public, "local"),
            peer.active(mover.keys.public, "remote"),
        )

    wait_until(lambda: ends() == (at(new), at(new)), f"not both ends came to {new}")


def idle(tunnel: LabTunnel, public: str, side: str) -> str | None:
    pair = tunnel.peer(public)[side]
    return pair["slots"][1 - pair["active"]]
