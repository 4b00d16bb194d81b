"""What the other side has to type: the exact command, derived from this side's configuration."""

import shlex
import socket
from collections.abc import Iterator, Sequence
from contextlib import suppress
from ipaddress import ip_address

from sacip_tun.cli.inline import Setting
from sacip_tun.config import Config, PeerConfig
from sacip_tun.config.model import Interface
from sacip_tun.protocol.keys import public_key, to_base64

# A connected UDP socket sends nothing: asking for the way to this address (RFC 5737, never in use)
# only tells which of our addresses the default route would use.
ANYWHERE = "192.0.2.1"
# Stands where only the user can know how the other side reaches this host.
UNKNOWN_HOST = "HOST"


def invitation(config: Config, settings: Sequence[Setting]) -> str:
    """Return this side's public key, and for each peer the command for its side."""
    own = to_base64(public_key(config.interface.private_key))
    lines = [f"public key of this side: {own}"]
    secrets = {setting.text for setting in settings if setting.option == "--preshared-key-file"}
    for peer in config.peers or (None,):
        lines.append(f"on the other side{f', {to_base64(peer.public_key)}' if peer else ''}:")
        lines.append(f"  {shlex.join(_command(config, peer, own))}")
        if peer is not None and peer.preshared_key:
            lines.append(f"  and there --preshared-key-file with a copy of {' or '.join(secrets)}")
    if any(f"@{UNKNOWN_HOST}:" in line for line in lines):
        lines.append(f"with an address or a name of this host for {UNKNOWN_HOST}: it has several")
    if not config.peers:
        lines.append(
            "then 'down' here, and 'up' again with --peer and the key that it prints there"
        )
    return "\n".join(lines)


def _command(config: Config, peer: PeerConfig | None, own: str) -> Iterator[str]:
    interface = config.interface
    yield from ("sacip-tun", "up", "--interface", interface.name)
    for address in interface.addresses:
        yield from ("--address", _address_of_other(address, peer))
    endpoint = peer.endpoint if peer else None
    if endpoint:
        yield from ("--listen-port", str(endpoint.port))
    yield "--peer"
    if interface.listen_port:
        outer = outer_address(endpoint.host if endpoint else ANYWHERE)
        yield f"{own}@{outer}:{interface.listen_port}"
    else:
        yield own
    hosts = [str(address.ip) for address in interface.addresses if _is_host(address)]
    if hosts:
        yield from ("--allowed-ips", ",".join(hosts))


def _is_host(address: Interface) -> bool:
    return address.network.num_addresses == 1


def _address_of_other(address: Interface, peer: PeerConfig | None) -> str:
    """Return what AllowedIPs says, else the first address of the network that is not ours."""
    for network in peer.allowed_ips if peer else ():
        if network.version == address.version and network.num_addresses == 1:
            return f"{network.network_address}/{address.network.prefixlen}"
    others = (host for host in address.network.hosts() if host != address.ip)
    found = next(others, None)
    return f"{found}/{address.network.prefixlen}" if found else "ADDRESS"


def outer_address(towards: str) -> str:
    """Return this host's address on the way to a literal address, bracketed for IPv6."""
    try:
        version = ip_address(towards).version
    except ValueError:
        return outer_address(ANYWHERE)
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((towards, 9))
            host = str(probe.getsockname()[0])
    except OSError:
        return _only_address(version)
    return host if version == 4 else f"[{host}]"


def _only_address(version: int) -> str:
    """Return the one address of this host where it has just one, without any route to ask."""
    from sacip_tun.linux.snapshot import Snapshot  # noqa: PLC0415 - only here, and it is heavy

    with suppress(OSError):
        found = {
            str(host)
            for host in Snapshot.taken().hosts
            if host.version == version and not (host.is_loopback or host.is_link_local)
        }
        if len(found) == 1:
            host = found.pop()
            return host if version == 4 else f"[{host}]"
    return UNKNOWN_HOST
