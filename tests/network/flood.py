"""A flood of initiations from forged sources: each has a right mac1, and no more that is right.

    python flood.py KEY_OF_THE_HUB ADDRESS PORT A_SECOND SECONDS

Sources are 10.200.0.0/16, whose every address differs from the one before. Ends by itself; prints
how many went out. To be run in a network namespace of its own.
"""

import os
import socket
import sys
import time
from ipaddress import ip_address
from itertools import cycle
from struct import pack

from sacip_tun.protocol.cookie import CookieJar
from sacip_tun.protocol.keys import from_base64
from sacip_tun.protocol.messages import Initiation

FIRST = int(ip_address("10.200.0.1"))
# Distinct messages, and what goes out before the clock is looked at.
VARIETY, BURST = 256, 16


def initiation(jar: CookieJar) -> bytes:
    """Random keys and seals: what they cost is found out by opening them."""
    bogus = Initiation(
        int.from_bytes(os.urandom(4), "little"), os.urandom(32), os.urandom(48), os.urandom(28)
    )
    return jar.seal(bogus.encode(), now=0.0)


def datagram(source: int, target: bytes, port: int, data: bytes) -> bytes:
    """IPv4 and UDP around `data`; the kernel fills in the checksum and length (raw(7))."""
    udp = pack("!HHHH", 1024 + source % 60000, port, 8 + len(data), 0) + data
    head = pack("!BBHHHBBH", 0x45, 0, 0, 0, 0, 64, socket.IPPROTO_UDP, 0)
    return head + source.to_bytes(4, "big") + target + udp


def main(key: str, address: str, port: int, rate: int, seconds: float) -> None:
    jar = CookieJar(from_base64(key))
    messages = cycle([initiation(jar) for _ in range(VARIETY)])
    target = ip_address(address).packed
    sent, start = 0, time.monotonic()
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        while (elapsed := time.monotonic() - start) < seconds:
            while sent < elapsed * rate:
                for _ in range(BURST):
                    forged = datagram(FIRST + sent % 60000, target, port, next(messages))
                    raw.sendto(forged, (address, 0))
                    sent += 1
            time.sleep(BURST / rate / 2)
    print(sent)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]))
