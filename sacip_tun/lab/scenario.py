"""The moves that the lab can show: where the mover is, and what is typed there.

The addresses are those of the deck's tests (slides 19-21 and 24).
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scenario:
    """One demonstration. Each step is a line of `ip`, or of `sacip-tun` with the interface."""

    title: str
    old: str
    new: str
    steps: tuple[str, ...]
    route: str | None = None

    @property
    def new_host(self) -> str:
        """The new address without its prefix length."""
        return self.new.partition("/")[0]


def _replaced(old: str, new: str) -> tuple[str, str]:
    return (f"ip addr add {new} dev eth0", f"ip addr del {old} dev eth0")


DEFAULT = "replace"
SCENARIOS = {
    "replace": Scenario(
        "test 1 of 2007: a second address is added, then the first one is deleted",
        "192.168.1.22/24",
        "192.168.1.2/24",
        _replaced("192.168.1.22/24", "192.168.1.2/24"),
    ),
    "subnet": Scenario(
        "test 2 of 2007: to another subnet, from where the peer is behind a router",
        "192.168.1.2/25",
        "192.168.1.222/25",
        _replaced("192.168.1.2/25", "192.168.1.222/25"),
        # 192.168.1.4 is in neither subnet's reach after the move: the kernel is told that it is
        # on this link all the same.
        "default via 192.168.1.4 dev eth0 onlink",
    ),
    "planned": Scenario(
        "a planned move: the peer acknowledges before the old address goes",
        "192.168.1.22/24",
        "192.168.1.2/24",
        ("sacip-tun move {interface} --to 192.168.1.2/24",),
    ),
}
