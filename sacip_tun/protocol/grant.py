"""Leave to send one super-packet: under which keys, with which counters, by which path."""

from typing import NamedTuple

from sacip_tun.protocol.address import Endpoint
from sacip_tun.protocol.session import Session


class Grant(NamedTuple):
    """Leave to send: seal under `session` from `first_counter` on, send `local` to `remote`."""

    session: Session
    first_counter: int
    local: Endpoint | None
    remote: Endpoint
