"""Documents as a daemon would answer them."""

from typing import Any

KEY_A = "q" * 42 + "A="
KEY_B = "o4uPbVJ9" + "B" * 35 + "="
NOW = 1_700_000_000.0
COUNTERS = ("moves", "peer_moves", "refused_moves", "released", "resent", "lost")


def peer_document(**fields: Any) -> dict[str, Any]:
    return {
        "public_key": KEY_B,
        "preshared_key": False,
        "endpoint_configured": None,
        "sacip": None,
        "state": "no endpoint",
        "allowed_ips": ["10.9.0.2/32"],
        "latest_handshake_unix": None,
        "handshake_age": None,
        "rx_bytes": 0,
        "tx_bytes": 0,
        "persistent_keepalive": 0,
        "local": {"slots": [None, None], "active": 0},
        "remote": {"slots": [None, None], "active": 0},
        "local_move": "settled",
        "remote_move": "settled",
        "held": 0,
        "counters": dict.fromkeys(COUNTERS, 0),
        "moves": [],
        **fields,
    }


def offload_document(mode: str = "auto", **states: str) -> dict[str, Any]:
    """All on, but for those that are named."""
    names = ("tun_tcp", "tun_udp", "udp_segment", "udp_receive")
    found = {name: states.get(name, "on") for name in names}
    refusals = {"on": 0, "off": 0, "refused": 3}
    switches = {n: {"state": state, "refusals": refusals[state]} for n, state in found.items()}
    return {"mode": mode, **switches}


def status_document(*peers: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "schema": "sacip-tun/status/1",
        "interface": "sacip0",
        "public_key": KEY_A,
        "listen_port": 51820,
        "fwmark": 0,
        "mtu": 1420,
        "addresses": ["10.9.0.1/24"],
        "offload": offload_document(),
        "drops": {},
        "peers": list(peers),
        **fields,
    }


MOVES = [
    {
        "time_unix": NOW - 3700,
        "side": "remote",
        "old": "192.168.1.9:51820",
        "new": "192.168.1.1:51820",
        "observed": "198.51.100.7:1024",
        "reason": "carrier lost",
        "kind": "break before make",
        "milliseconds": 41.32,
    },
    {
        "time_unix": NOW - 12,
        "side": "local",
        "old": "192.168.1.22:51820",
        "new": "192.168.1.2:51820",
        "observed": "192.168.1.2:51820",
        "reason": "address removed",
        "kind": "make before break",
        "milliseconds": 1.9,
    },
]

MOVED_PEER = peer_document(
    preshared_key=True,
    endpoint_configured="hub.example:51820",
    sacip=True,
    relay=True,
    state="connected",
    allowed_ips=["10.9.0.2/32", "fd00:9::/64"],
    latest_handshake_unix=NOW - 65,
    handshake_age=65.2,
    rx_bytes=1_268_312,
    tx_bytes=1023,
    persistent_keepalive=25,
    rtt_milliseconds=0.4,
    path_mtu={"bytes": 1400, "state": "searching"},
    local={"slots": ["192.168.1.22:51820", "192.168.1.2:51820"], "active": 1},
    remote={"slots": ["192.168.1.1:51820", None], "active": 0},
    local_move="preparing",
    held=2,
    counters={
        "moves": 4,
        "peer_moves": 1,
        "refused_moves": 3,
        "released": 5,
        "resent": 12,
        "lost": 0,
    },
    moves=MOVES,
)
