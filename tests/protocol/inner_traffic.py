"""Numbered inner packets between two hosts, and what became of them."""

from collections import Counter

from simulation import Host

INNER = {"laptop": "10.9.0.1", "hub": "10.9.0.2"}


def say(source: Host, target: Host, number: int) -> None:
    source.send(target.inner_address, b"#%08d" % number)


def say_tcp(source: Host, target: Host, number: int, payload: bytes = b"data") -> None:
    source.send_tcp(target.inner_address, number, payload)


def numbers(host: Host) -> list[int]:
    """The numbers that a host was given, in order."""
    return [int(p[21:29]) for p in host.delivered if p[9] == 253 and p[20:21] == b"#"]


def segments(host: Host) -> list[int]:
    """The sequence numbers of the TCP segments that a host was given, in order."""
    return [int.from_bytes(p[24:28], "big") for p in host.delivered if p[9] == 6]


def stream(world, source: Host, target: Host, first: int, count: int, pause: float = 0.001) -> None:
    for number in range(first, first + count):
        say(source, target, number)
        world.run(pause)


def duplicates(host: Host) -> list[bytes]:
    return [packet for packet, times in Counter(host.delivered).items() if times > 1]
