"""The least that a tunnel in Python can cost: one cipher call and two system calls a packet.

    python benchmarks/least.py REMOTE INNER

It has no handshake, no peers, no replay window, no timers and no roaming, and its key is known to
everybody: it is a yardstick for the idle round trip, and not a tunnel. What it reports its round
trip to be is what uvloop, `cryptography` and the kernel take.
"""

import asyncio
import fcntl
import os
import socket
import subprocess
import sys
from struct import Struct

import uvloop
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

PORT = 51820
# linux/if_tun.h: TUNSETIFF, IFF_TUN | IFF_NO_PI.
TUNSETIFF, FLAGS = 0x400454CA, 0x1001
HEADER = Struct("<IIQ")
TAG = 16
INTERFACE = "least0"


class Least:
    """Moves each packet as it comes."""

    def __init__(self, remote: str) -> None:
        self.tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(self.tun, TUNSETIFF, Struct("16sH22x").pack(INTERFACE.encode(), FLAGS))
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.udp.bind(("", PORT))
        self._remote = (remote, PORT)
        self._cipher = ChaCha20Poly1305(bytes(32))
        self._counter = 0
        self._in, self._out = (memoryview(bytearray(1 << 16)) for _ in range(2))

    def out(self) -> None:
        length = os.readv(self.tun, (self._in,))
        self._counter += 1
        HEADER.pack_into(self._out, 0, 4, 0, self._counter)
        end = HEADER.size + length + TAG
        nonce = bytes(4) + self._out[8:16]
        self._cipher.encrypt_into(nonce, self._in[:length], None, self._out[HEADER.size : end])
        self.udp.sendmsg((self._out[:end],), (), 0, self._remote)

    def back(self) -> None:
        length = self.udp.recv_into(self._in)
        packet = self._out[: length - HEADER.size - TAG]
        nonce = bytes(4) + self._in[8:16]
        self._cipher.decrypt_into(nonce, self._in[HEADER.size : length], None, packet)
        os.writev(self.tun, (packet,))


def configure(inner: str) -> None:
    for line in (f"addr add {inner} dev {INTERFACE}", f"link set {INTERFACE} mtu 1420 up"):
        subprocess.run(["ip", *line.split()], check=True)


async def run(least: Least) -> None:
    loop = asyncio.get_running_loop()
    loop.add_reader(least.tun, least.out)
    loop.add_reader(least.udp.fileno(), least.back)
    await loop.create_future()


def main() -> None:
    remote, inner = sys.argv[1:]
    least = Least(remote)
    configure(inner)
    uvloop.run(run(least))


if __name__ == "__main__":
    main()
