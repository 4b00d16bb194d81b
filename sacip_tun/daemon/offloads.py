"""All offloads of one interface: tried at the start, tried again after moves, and told of.

`Offload` in [Interface] says how they are used:

| mode | probe at the start | refused                                | known to corrupt |
|------|--------------------|----------------------------------------|------------------|
| auto | yes                | the plain way at once, and for a while | the plain way    |
| on   | no                 | the plain way at once, that one time   | not looked for   |
| off  | no                 | never asked for                        |                  |
"""

from collections.abc import Iterator, Sequence
from typing import Any

from sacip_tun.config import Offload
from sacip_tun.linux import probe
from sacip_tun.linux.offload import State, Switch
from sacip_tun.linux.tun import Tun
from sacip_tun.linux.udp import UdpSocket

Document = dict[str, Any]


def options(mode: Offload) -> dict[str, bool]:
    """Return how a TUN and sockets are to be opened."""
    return {"offload": mode is not Offload.OFF, "remember": mode is Offload.AUTO}


class Offloads:
    """The switches of a TUN and its sockets."""

    def __init__(self, mode: Offload, tun: Tun, sockets: Sequence[UdpSocket]) -> None:
        self._mode = mode
        self._tun = tun
        self._sockets = sockets
        self._corrupting: list[int] = []

    def probe(self) -> None:
        """Find out what this kernel cannot do, before the TUN is up and anything is sent."""
        if self._mode is not Offload.AUTO:
            return
        for socket in self._sockets:
            if socket.segmenting.usable and probe.corrupts_runs(socket.version):
                socket.segmenting.stop()
                self._corrupting.append(socket.version)
        probe.try_merged(self._tun)

    def retry(self) -> None:
        """Try everything again that was refused: we are somewhere else."""
        for switch in (self._tun.tcp, self._tun.udp):
            switch.retry()
        self.retry_sending()

    def retry_sending(self) -> None:
        """Try again what was refused on the way out: it may be another, or carry another size."""
        for socket in self._sockets:
            socket.segmenting.retry()

    def warnings(self) -> Iterator[str]:
        """Say what the user should know: a corrupting kernel slows other programs down too."""
        for version in self._corrupting:
            yield (
                f"this kernel corrupts IPv{version} datagrams that it cuts itself (UDP_SEGMENT): "
                "they are sent one by one, which is slower; see whether there is a newer kernel"
            )

    def document(self) -> Document:
        """Return the state of each; of two that depend on each other the one that is worse off."""
        tun, sockets = self._tun, self._sockets
        return {
            "mode": self._mode.value,
            "tun_tcp": _told(tun.tcp),
            # Nothing at all is merged while TCP is not (Codec.coalesce).
            "tun_udp": {**_told(tun.tcp, tun.udp), "refusals": tun.udp.refusals},
            "udp_segment": _told(*(socket.segmenting for socket in sockets)),
            "udp_receive": _told(*(socket.receiving for socket in sockets)),
        }


def _told(*switches: Switch[Any]) -> Document:
    states = {switch.state for switch in switches}
    worst = next(state for state in (State.REFUSED, State.OFF, State.ON) if state in states)
    return {"state": worst.value, "refusals": sum(switch.refusals for switch in switches)}
