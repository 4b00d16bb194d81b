"""What runs through a tunnel while the handover benchmark moves it. The mover calls the hub."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from verdict import Observed, Span, judge, judge_keystrokes, judge_stream

from sacip_tun.lab.connection import Connection
from sacip_tun.lab.namespaces import Host

# What is in flight when the stream's sender stops may still come, in seconds.
LAST_PACKETS = 0.3
# The benchmark itself decides how long to wait; in seconds, longer than any outage.
ENDLESS = ("--patience", "3600")


WORDS = {"up": "upload", "down": "download", "both": "both"}


class Flow:
    """A TCP connection at 20 Mbit/s; `direction` is up, down or both, as the mover sees it."""

    def __init__(self, direction: str, mover: Host, hub: Host, inner: str, seconds: float) -> None:
        self._directions = ("up", "down") if direction == "both" else (direction,)
        self._prefix = "both ways, " if direction == "both" else ""
        options = ("--direction", WORDS[direction], "--seconds", f"{seconds}")
        self.connection = Connection(mover, hub, inner, *options, common=ENDLESS)

    def ends_within(self, seconds: float) -> bool:
        return self.connection.ends_within(seconds)

    def finish(self, seconds: float, outages: Sequence[Span], move: float) -> list[Observed]:
        client, server = self.connection.finish_within(seconds)
        ends = {"up": (client, server), "down": (server, client)}
        return [
            judge(f"{self._prefix}{name}", *ends[name], outages, move) for name in self._directions
        ]


class Keystrokes:
    """Somebody types and waits for the echo."""

    def __init__(self, mover: Host, hub: Host, inner: str, seconds: float) -> None:
        self.connection = Connection(
            mover, hub, inner, "--seconds", f"{seconds}", port=5003, program="keystrokes"
        )

    def ends_within(self, seconds: float) -> bool:
        return self.connection.ends_within(seconds)

    def finish(self, seconds: float, outages: Sequence[Span], move: float) -> list[Observed]:
        return [judge_keystrokes(*self.connection.finish_within(seconds), outages, move)]


class Stream:
    """100 packets/s of UDP from the hub to the mover, which is silent."""

    def __init__(self, mover: Host, hub: Host, inner: str, seconds: float) -> None:
        del seconds
        self.connection = Connection(mover, hub, inner, port=5004, program="stream")

    def ends_within(self, seconds: float) -> bool:
        """Wait so long for packets to come in, now that they should; tell whether they do."""
        deadline = time.monotonic() + seconds
        while not self.connection.is_alive():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        return True

    def finish(self, seconds: float, outages: Sequence[Span], move: float) -> list[Observed]:
        self.ends_within(seconds)
        return [judge_stream(*self.connection.stop(LAST_PACKETS), outages, move)]


Running = Flow | Keystrokes | Stream


@dataclass(frozen=True)
class Traffic:
    """What runs at once in one lab."""

    name: str
    title: str
    start: Callable[[Host, Host, str, float], tuple[Running, ...]]
    """With the mover, the hub, the hub's inner address, and for how many seconds."""


BOTH = Traffic(
    "both",
    "TCP at 20 Mbit/s both ways, and keystrokes with their echo",
    lambda *to: (Flow("both", *to), Keystrokes(*to)),
)
DOWN = Traffic("down", "TCP at 20 Mbit/s from the hub alone", lambda *to: (Flow("down", *to),))
UP = Traffic("up", "TCP at 20 Mbit/s to the hub alone", lambda *to: (Flow("up", *to),))
STREAM = Traffic(
    "stream", "UDP, 100 packets/s from the hub, unanswered", lambda *to: (Stream(*to),)
)
# The mover says nothing but what TCP must acknowledge: the hardest case, for the short form.
LISTENING = Traffic(
    "listening", f"{DOWN.title}, and {STREAM.title}", lambda *to: (Flow("down", *to), Stream(*to))
)
# Two labs run at once: a heavy one and a light one, or two that are half as heavy.
PAIRS = ((BOTH, STREAM), (DOWN, UP))
