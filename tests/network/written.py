"""Our tunnel out of a file, for what the command line has no option, and with hosts of its own."""

from pathlib import Path
from typing import Self

from sacip_tun.lab.namespaces import Host
from sacip_tun.lab.tunnel import LabTunnel, Remote


class WrittenTunnel(LabTunnel):
    """`lines` go into every [Peer] section, `interface` into the other one.

    `names` says that it reads `Hosts` of its host.
    """

    def __init__(
        self,
        host: Host,
        address: str,
        lines: tuple[str, ...] = (),
        *,
        interface: tuple[str, ...] = (),
        names: bool = False,
    ) -> None:
        super().__init__(host, address)
        self.lines = lines
        self.interface = interface
        self.names = names

    def up(self, *remotes: Remote) -> None:
        path = self.configuration(*remotes, lines=self.interface)
        peer = "\n".join(["[Peer]", *self.lines])
        path.write_text(path.read_text().replace("[Peer]", peer))
        # What `ip netns exec` mounts over /etc/hosts is seen by the daemon only.
        inside = ("ip", "netns", "exec", self.host.namespace) if self.names else ()
        self._start(["up", str(path), "--foreground"], inside)


class Hosts:
    """/etc/hosts of one host, written where `ip netns exec` looks for it; a context manager."""

    def __init__(self, host: Host) -> None:
        self._directory = Path("/etc/netns") / host.namespace

    def __enter__(self) -> Self:
        self._made = not self._directory.parent.exists()
        self._directory.mkdir(parents=True)
        self.write({})
        return self

    def __exit__(self, *_: object) -> None:
        (self._directory / "hosts").unlink()
        self._directory.rmdir()
        if self._made and not any(self._directory.parent.iterdir()):
            self._directory.parent.rmdir()

    def write(self, names: dict[str, str]) -> None:
        """Say which name has which address; in place, since it is mounted elsewhere."""
        lines = [f"{address} {name}\n" for name, address in names.items()]
        (self._directory / "hosts").write_text("127.0.0.1 localhost\n" + "".join(lines))
