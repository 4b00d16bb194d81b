"""Somebody on the path: an Ethernet bridge that can race, rewrite, hold back and replay.

    python -m sacip_tun.lab.relay eth0 eth1 --as 203.0.113.66 --port 51820

It passes frames between two interfaces and obeys lines on its input:

    pass            everything as it is
    race 10         datagrams to the port go ahead under its own address, and follow 10 ms later
    rewrite         they go under its own address alone, as from a NAT; so do answers
    reorder 8       they go in reverse, eight at a time
    delay 50        they go 50 ms later
    replay          everything that went to the port so far goes once more, under its own address
    replay as-is    the same under the addresses that it had

What comes to its own address from the port goes to whom it last spoke for, as if it came from the
port itself. It knows no keys. It answers each line with the same line when it is done.
"""

import argparse
import selectors
import socket
import struct
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from ipaddress import IPv4Address

# linux/if_packet.h and if_ether.h. With the header of virtio, segments and checksums that the
# kernel left for later are passed on as they are.
SOL_PACKET, PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING = 263, 15, 23
ETH_P_ALL, ETH_P_IPV4 = 3, 0x0800
VNET, ETHERNET, IPV4, UDP = 10, 14, 20, 8
CAPACITY = 1 << 17
# Datagrams kept for a replay: a minute of a busy tunnel.
MAX_RECORDED = 20_000
# UDP with UDP_SEGMENT; the low bits of gso_type (linux/virtio_net.h).
GSO_UDP_L4 = 5


@dataclass(frozen=True, slots=True)
class Datagram:
    """One UDP datagram of a frame, with the Ethernet addresses that it came under."""

    ethernet: bytes
    source: bytes
    destination: bytes
    source_port: int
    destination_port: int
    payload: bytes

    def frame(self, source: bytes, destination: bytes, source_port: int, to_port: int) -> bytes:
        """Return it as a frame between other ends, the checksum of UDP left out (RFC 768)."""
        length = UDP + len(self.payload)
        header = struct.pack(
            "!BBHHHBBH4s4s", 0x45, 0, IPV4 + length, 0, 0, 64, 17, 0, source, destination
        )
        header = header[:10] + _checksum(header) + header[12:]
        udp = struct.pack("!HHHH", source_port, to_port, length, 0)
        return bytes(VNET) + self.ethernet + header + udp + self.payload


def datagrams(frame: bytes) -> list[Datagram]:
    """Return the UDP datagrams of a frame with its virtio header; none where it is another."""
    packet = frame[VNET + ETHERNET :]
    kind = frame[VNET + 12 : VNET + 14]
    if kind != ETH_P_IPV4.to_bytes(2, "big") or len(packet) < IPV4 + UDP or packet[9] != 17:
        return []
    header = (packet[0] & 15) * 4
    total = int.from_bytes(packet[2:4], "big")
    source_port, destination_port = struct.unpack_from("!HH", packet, header)
    payload = packet[header + UDP : total]
    size = struct.unpack_from("<H", frame, 4)[0] if frame[1] & 127 == GSO_UDP_L4 else len(payload)
    parts = [payload[at : at + size] for at in range(0, len(payload), size or 1)] or [b""]
    ends = (packet[12:16], packet[16:20], source_port, destination_port)
    return [Datagram(frame[VNET : VNET + ETHERNET], *ends, part) for part in parts]


def _checksum(header: bytes) -> bytes:
    total: int = sum(struct.unpack("!10H", header))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return (~total & 0xFFFF).to_bytes(2, "big")


@dataclass(slots=True)
class Relay:
    """Two packet sockets, what to do, and what waits."""

    sides: tuple[socket.socket, socket.socket]
    own: bytes
    port: int
    mode: str = "pass"
    number: float = 0.0
    recorded: deque[bytes] = field(default_factory=lambda: deque(maxlen=MAX_RECORDED))
    later: deque[tuple[float, socket.socket, bytes]] = field(default_factory=deque)
    batch: list[bytes] = field(default_factory=list)
    spoke_for: Datagram | None = None

    def take(self, here: socket.socket, frame: bytes) -> None:
        """Pass a frame on, or do with it what was ordered."""
        there = self.sides[1] if here is self.sides[0] else self.sides[0]
        found = datagrams(frame)
        inside = here is self.sides[0]
        if inside and found and found[0].destination_port == self.port:
            self._towards(there, frame, found)
        elif found and found[0].destination == self.own:
            self._back(found)
        elif inside or not found or self.mode != "rewrite":
            _send(there, frame)
        # As with a NAT, nobody outside reaches an inside address.

    def _towards(self, there: socket.socket, frame: bytes, found: list[Datagram]) -> None:
        self.recorded.append(frame)
        if self.mode in {"race", "rewrite"}:
            self.spoke_for = found[0]
            self._pretend(there, found)
        if self.mode in {"race", "delay"}:
            self.later.append((time.monotonic() + self.number / 1000, there, frame))
        elif self.mode == "reorder":
            self.batch.append(frame)
            if len(self.batch) >= self.number:
                self._flush(there)
        elif self.mode == "pass":
            _send(there, frame)

    def _pretend(self, there: socket.socket, found: list[Datagram]) -> None:
        for one in found:
            _send(there, one.frame(self.own, one.destination, one.source_port, self.port))

    def _back(self, found: list[Datagram]) -> None:
        """What was sent to us goes to whom we spoke for."""
        client = self.spoke_for
        if client is None or self.mode not in {"race", "rewrite"}:
            return
        ethernet = client.ethernet[6:12] + client.ethernet[:6] + client.ethernet[12:]
        for one in found:
            answer = Datagram(ethernet, b"", b"", 0, 0, one.payload)
            frame = answer.frame(one.source, client.source, one.source_port, client.source_port)
            _send(self.sides[0], frame)

    def _flush(self, there: socket.socket) -> None:
        for frame in reversed(self.batch):
            _send(there, frame)
        self.batch.clear()

    def order(self, line: str) -> None:
        """Obey a line."""
        word, *rest = line.split()
        if word == "replay":
            for frame in list(self.recorded):
                if rest:
                    _send(self.sides[1], frame)
                else:
                    self._pretend(self.sides[1], datagrams(frame))
        else:
            self._flush(self.sides[1])
            self.mode, self.number = word, float(rest[0]) if rest else 0.0
        print(line, flush=True)

    def release(self) -> float | None:
        """Send what is due; return the seconds until the next, None where nothing waits."""
        while self.later and self.later[0][0] <= time.monotonic():
            _, there, frame = self.later.popleft()
            _send(there, frame)
        return max(0.0, self.later[0][0] - time.monotonic()) if self.later else None


def _send(side: socket.socket, frame: bytes) -> None:
    try:
        side.send(frame)
    except OSError as error:  # a queue is full, or the link is down: so lossy is any bridge
        print(error, file=sys.stderr, flush=True)


def _side(interface: str) -> socket.socket:
    side = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    side.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    side.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    side.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    side.bind((interface, ETH_P_ALL))
    # Promiscuous: frames are for others (PACKET_ADD_MEMBERSHIP, PACKET_MR_PROMISC).
    member = struct.pack("iHH8s", socket.if_nametoindex(interface), 1, 0, b"")
    side.setsockopt(SOL_PACKET, 1, member)
    side.setblocking(False)  # noqa: FBT003 - the name of the method says it
    return side


def main() -> int:
    """Bridge until the input ends."""
    parser = argparse.ArgumentParser(description="An attacker on the path.")
    parser.add_argument("inside")
    parser.add_argument("outside")
    parser.add_argument("--as", dest="own", type=IPv4Address, required=True)
    parser.add_argument("--port", type=int, default=51820)
    options = parser.parse_args()
    sides = (_side(options.inside), _side(options.outside))
    relay = Relay(sides, options.own.packed, options.port)
    with selectors.DefaultSelector() as selector:
        for side in sides:
            selector.register(side, selectors.EVENT_READ)
        selector.register(sys.stdin, selectors.EVENT_READ)
        print("ready", flush=True)
        while True:
            for key, _ in selector.select(relay.release()):
                if isinstance(key.fileobj, socket.socket):
                    _drain(relay, key.fileobj)
                elif line := sys.stdin.readline():
                    relay.order(line.strip())
                else:
                    return 0


def _drain(relay: Relay, side: socket.socket) -> None:
    for _ in range(64):
        try:
            frame = side.recv(CAPACITY)
        except OSError:
            return
        relay.take(side, frame)


if __name__ == "__main__":
    sys.exit(main())
