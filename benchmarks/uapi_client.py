"""What is asked over a UAPI socket as `wg` does it, and the largest thing that is set over it."""

import socket

from sacip_tun.linux.unix import UAPI_DIRECTORY

# Allowed IPs of each family: as many as WireGuard's own test suite sets (netns.sh).
HOSTS = 255 * 256


def connected(name: str) -> socket.socket:
    """A connection to an interface."""
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(UAPI_DIRECTORY / f"{name}.sock"))
    return client


def ask(name: str, request: str) -> str:
    """The whole answer to a request."""
    with connected(name) as client:
        client.sendall(request.encode())
        return answer_of(client)


def answer_of(client: socket.socket) -> str:
    """One whole answer, or what there is where the other end closes."""
    parts: list[bytes] = []
    while not (parts and parts[-1].endswith(b"\n\n")):
        parts.append(client.recv(1 << 20))
        if not parts[-1]:
            break
    return b"".join(parts).decode()


def many_allowed_ips(four: str = "10.0", six: str = "fd00") -> list[str]:
    """HOSTS of each family, of the networks that begin so."""
    hosts = [(high, low) for high in range(255) for low in range(256)]
    found = [f"{four}.{high}.{low}/32" for high, low in hosts]
    return found + [f"{six}::{high << 8 | low:x}/128" for high, low in hosts]
