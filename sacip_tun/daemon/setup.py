"""Setting an interface up as its configuration says, in wg-quick's order."""

from sacip_tun.config import Config
from sacip_tun.daemon.resolver import literal
from sacip_tun.linux import interface

# wg-quick's words for where routes go; with `off` there are none.
TABLE_NAMES = {"auto": "main", "off": "main"}
# Bytes that IPv6, UDP and WireGuard put around an inner packet (wg-quick subtracts the same).
OVERHEAD = 80


def set_up(index: int, config: Config, *, prune: bool) -> int:
    """Give an interface its addresses, MTU and routes, and bring it up; returns the MTU.

    With `prune` it loses what it has from an earlier time. Raises InterfaceError, OSError.
    """
    settings = config.interface
    literals = [literal(str(peer.endpoint)) for peer in config.peers if peer.endpoint]
    hosts = [endpoint.host for endpoint in literals if endpoint is not None]
    mtu = settings.mtu or interface.route_mtu(hosts, mark=settings.fwmark) - OVERHEAD
    table = interface.table_number(TABLE_NAMES.get(settings.table, settings.table))
    interface.configure(index, settings.addresses, mtu, config.routes, table=table)
    if prune:
        interface.prune(index, settings.addresses, config.routes, table=table)
    return mtu
