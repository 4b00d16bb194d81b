"""Where things are: control sockets and configurations."""

from dataclasses import dataclass
from pathlib import Path

from sacip_tun.agreement import RUN_DIRECTORY
from sacip_tun.linux.unix import UAPI_DIRECTORY


@dataclass(frozen=True, slots=True)
class Directories:
    """The directories that commands look into; tests give their own."""

    run: Path = RUN_DIRECTORY
    """Control sockets, one an interface: NAME.sock."""
    own: Path = Path("/etc/sacip-tun")
    """Our configurations and the keys that `up` makes."""
    wireguard: Path = Path("/etc/wireguard")
    """wg-quick's configurations, which we take unchanged."""
    uapi: Path = UAPI_DIRECTORY
    """The sockets of `wg`, one an interface: NAME.sock."""

    @property
    def configurations(self) -> tuple[Path, Path]:
        """Where a NAME is looked up, in this order."""
        return (self.own, self.wireguard)
