"""Leave to send one super-packet: under which keys, with which counters, by which path."""

from dataclasses import dataclass

from sacip_tun.protocol.address import Endpoint
from sacip_tun.protocol.session import Session


@dataclass(frozen=True, slots=True)
class Grant:
    """Leave to send: seal under `session` from `first_counter` on, send `local` to `remote`."""

    session: Session
    first_counter: int
    local: Endpoint | None
    remote: Endpoint
