"""What was on the wire: tcpdump on an interface, and a reader of its file."""

import struct
import time
from dataclasses import dataclass
from ipaddress import ip_address

from sacip_tun.lab.namespaces import Host

PATIENCE = 10.0
ICMP, IGMP, UDP = 1, 2, 17


@dataclass(frozen=True)
class Packet:
    """One IP packet; ports and payload are those of UDP, 0 and the IP payload otherwise.

    `traffic_class` has the DSCP and ECN bits.
    """

    time: float
    protocol: int
    source: str
    destination: str
    source_port: int
    destination_port: int
    payload: bytes
    traffic_class: int = 0

    def __repr__(self) -> str:
        ends = f"{self.source}:{self.source_port} > {self.destination}:{self.destination_port}"
        return f"<{self.time:.3f} {ends} proto {self.protocol} {self.payload[:16].hex(' ')}>"


class Capture:
    """Everything that an interface sends and receives, from construction to `stop`."""

    def __init__(self, host: Host, interface: str = "eth0") -> None:
        self._path = host.network.directory / f"{host.name}-{interface}.pcap"
        # -Z: as root, since the directory is for nobody else. Each packet at once, so that none is
        # missing at the end.
        self._process = host.start(
            [
                "tcpdump",
                "-Z",
                "root",
                "-U",
                "--immediate-mode",
                "-n",
                "-i",
                interface,
                "-w",
                str(self._path),
            ]
        )
        deadline = time.monotonic() + PATIENCE
        while "listening on" not in host.log(self._process):
            assert time.monotonic() < deadline, host.log(self._process)
            time.sleep(0.02)

    def stop(self) -> list[Packet]:
        self._process.terminate()
        self._process.wait(PATIENCE)
        return list(_packets(self._path.read_bytes()))


def _packets(file: bytes):
    assert struct.unpack_from("<I", file)[0] == 0xA1B2C3D4
    position = 24
    while position < len(file):
        seconds, microseconds, length = struct.unpack_from("<III", file, position)
        frame = file[position + 16 : position + 16 + length]
        position += 16 + length
        packet = _packet(seconds + microseconds / 1e6, frame)
        if packet is not None:
            yield packet


def _packet(moment: float, frame: bytes) -> Packet | None:
    ethertype = struct.unpack_from("!H", frame, 12)[0]
    datagram = frame[14:]
    if ethertype == 0x0800:
        header = (datagram[0] & 15) * 4
        total = struct.unpack_from("!H", datagram, 2)[0]
        protocol, addresses = datagram[9], (datagram[12:16], datagram[16:20])
        traffic_class = datagram[1]
    elif ethertype == 0x86DD:
        header, total = 40, 40 + struct.unpack_from("!H", datagram, 4)[0]
        protocol, addresses = datagram[6], (datagram[8:24], datagram[24:40])
        traffic_class = struct.unpack_from("!H", datagram)[0] >> 4 & 0xFF
    else:
        return None
    payload, ports = datagram[header:total], (0, 0)
    if protocol == UDP:
        ports, payload = struct.unpack_from("!HH", payload), payload[8:]
    source, destination = (str(ip_address(address)) for address in addresses)
    return Packet(moment, protocol, source, destination, *ports, payload, traffic_class)
