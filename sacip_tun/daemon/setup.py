"""Setting an interface up as its configuration says, in wg-quick's order."""

from sacip_tun.config import Config
from sacip_tun.daemon.resolver import literal
from sacip_tun.linux import interface
from sacip_tun.linux.policy import Policy
from sacip_tun.linux.routes import TABLE_MAIN, Network

# wg-quick's words for where routes go; with `off` there are none.
TABLE_NAMES = {"auto": "main", "off": "main"}
# Bytes that IPv6, UDP and WireGuard put around an inner packet (wg-quick subtracts the same).
OVERHEAD = 80


def set_up(index: int, config: Config, wanted: Policy | None, mark: int, *, prune: bool) -> int:
    """Give an interface its addresses, MTU and routes, and bring it up; returns the MTU.

    `mark` is that of the outer sockets, by which their routes are found. With `prune` it loses what
    it has from an earlier time. Raises InterfaceError, OSError.
    """
    addresses = config.interface.addresses
    mtu = config.interface.mtu or derived_mtu(config, mark)
    tables = routes_of(config, wanted)
    interface.configure(index, addresses, mtu, connected=TABLE_MAIN in tables)
    for table, routes in tables.items():
        connected = addresses if table == TABLE_MAIN else ()
        interface.add_routes(index, routes, table, connected, gateways=leads_on(wanted))
    if prune:
        interface.prune(index, addresses, tables)
    return mtu


def leads_on(wanted: Policy | None) -> bool:
    """Tell whether gateways are looked for behind the tunnel: not where it goes before main."""
    return wanted is None or not wanted.strict


def derived_mtu(config: Config, mark: int) -> int:
    """Return what the routes to the peers carry, less what is put around an inner packet."""
    endpoints = [literal(str(peer.endpoint)) for peer in config.peers if peer.endpoint]
    hosts = [endpoint.host for endpoint in endpoints if endpoint is not None]
    return interface.route_mtu(hosts, mark=mark) - OVERHEAD


def routes_of(config: Config, wanted: Policy | None) -> dict[int, list[Network]]:
    """Return what is to be routed into the tunnel, by the number of a routing table.

    Raises InterfaceError where the file names a table that is not there.
    """
    if wanted is None:
        table = config.interface.table
        number = interface.table_number(TABLE_NAMES.get(table, table))
        return {TABLE_MAIN: [], number: list(config.routes)}
    connected = [address.network for address in config.interface.addresses]
    if wanted.strict:
        # Nothing in main, where others write too: not even for the tunnel's own network.
        return {wanted.table: list(dict.fromkeys([*config.routes, *connected]))}
    return {
        TABLE_MAIN: [network for network in config.routes if network.prefixlen],
        wanted.table: [network for network in config.routes if not network.prefixlen],
    }
