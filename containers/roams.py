"""What happens to the lab while a download and a session run through its tunnel."""

from dataclasses import dataclass

# How long a person waits between two commands, in seconds.
PAUSE = 1.0


@dataclass(frozen=True, slots=True)
class Roam:
    """One of them. A step is a line of `docker`, or of `roam` in the part that it begins with.

    `before` and `after` are typed without a connection: they bring about what the roam starts
    from, and what the next one does. `outage` says that there is no network from the first step
    to the last one.
    """

    name: str
    title: str
    steps: tuple[str, ...]
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    pause: float = PAUSE
    """Seconds between two steps."""
    outage: bool = False
    seconds: float = 4.0
    """How long the download runs where nothing stalls it."""


# In this order each begins where the one before it ended.
ROAMS = (
    Roam("lte", "from wifi behind a NAT to lte without one", ("laptop roam lte",)),
    Roam("wifi", "back behind the NAT", ("laptop roam wifi",)),
    Roam(
        "docker",
        "Docker connects lte and disconnects wifi",
        (
            "docker network connect --ip {net}.2.10 sacip-lte sacip-laptop",
            "docker network disconnect sacip-wifi sacip-laptop",
        ),
        before=("docker network disconnect sacip-lte sacip-laptop",),
        after=(
            "docker network connect --ip {net}.1.10 sacip-wifi sacip-laptop",
            "laptop roam wifi",
        ),
    ),
    Roam(
        "radio",
        "a laptop with one radio: Docker disconnects wifi, then connects lte",
        (
            "docker network disconnect sacip-wifi sacip-laptop",
            "docker network connect sacip-lte sacip-laptop",
        ),
        before=("docker network disconnect sacip-lte sacip-laptop",),
        after=(
            "docker network connect --ip {net}.1.10 sacip-wifi sacip-laptop",
            "laptop roam wifi",
        ),
        outage=True,
        seconds=3.0,
    ),
    Roam(
        "outage",
        "wifi is gone for five seconds",
        ("laptop roam off", "laptop roam wifi"),
        pause=5.0,
        outage=True,
        seconds=3.0,
    ),
    Roam("hub", "the hub changes its address, the laptop is behind the NAT", ("hub roam 20",)),
    Roam(
        "hub-lte",
        "the hub changes its address, no NAT",
        ("hub roam 10",),
        before=("laptop roam lte",),
        after=("laptop roam wifi",),
    ),
    Roam(
        "killed",
        "the hub's container is killed and started again",
        ("docker kill sacip-hub", "docker start sacip-hub"),
        outage=True,
        seconds=3.0,
    ),
)
