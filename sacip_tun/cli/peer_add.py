"""peer add: a new peer gets keys and addresses, is let in, saved, and its own file is printed."""

from argparse import Namespace
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

from sacip_tun.cli.hub import Hub
from sacip_tun.cli.invitation import ANYWHERE, UNKNOWN_HOST, outer_address
from sacip_tun.cli.keyfile import write_secret
from sacip_tun.cli.newpeer import NewPeer, Wishes, checked_name, file_of, free_addresses
from sacip_tun.cli.parser import Parser
from sacip_tun.cli.terminal import warn
from sacip_tun.config import Config, editing
from sacip_tun.config.saving import alone, replace_text
from sacip_tun.config.values import allowed_ip, dns, endpoint, keepalive
from sacip_tun.outcome import Exit, Failure


def declare(parser: Parser) -> None:
    """Declare what `peer add` takes."""
    parser.add_argument("new_name", metavar="NAME", help="how you call it")
    parser.add_argument(
        "--endpoint",
        metavar="HOST[:PORT]",
        help="how it reaches this host, else the address by which this host goes out",
    )
    parser.add_argument(
        "--allowed-ips",
        nargs="+",
        metavar="NET",
        default=[],
        help="what it sends here, else the networks of the tunnel; all is 0.0.0.0/0 ::/0",
    )
    parser.add_argument("--dns", nargs="+", metavar="ADDR", default=[], help="its DNS servers")
    parser.add_argument(
        "--persistent-keepalive",
        metavar="SECONDS",
        default="off",
        help="for a phone that is called while it is idle behind a NAT: 25",
    )
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--output", metavar="FILE", help="write its configuration there, 0600")
    shown.add_argument("--qr", action="store_true", help="print it as a QR code")


def add(hub: Hub, options: Namespace) -> int:
    """Do it, all or nothing. Raises ConfigError and Failure."""
    name = checked_name(options.new_name)
    show = _shower(options)
    with alone(hub.path) as path:
        config, text = hub.read()
        if any(place.name == name for place in editing.places(text)):
            raise Failure(f"there is a peer named {name!r} already", "choose another name")
        if not config.interface.has_key:
            fix = "write it into the file: the new peer is told the public key that belongs to it"
            raise Failure("there is no PrivateKey in this file", fix)
        peer = NewPeer(name, free_addresses(config, hub.networks()))
        printed = file_of(peer, config, _wishes(options, config, hub))
        for warning in replace_text(path, editing.with_peer(text, peer.section)):
            warn(warning)
        try:
            live = hub.let_in(peer.public, peer.preshared, peer.allowed)
            show(printed)
        except BaseException:
            # Nobody has its key: it shall not be there.
            replace_text(path, text)
            with suppress(Failure):
                hub.keep_out(peer.public)
            raise
    hub.tell(f"{name} has {', '.join(map(str, peer.addresses))}", live=live)
    return Exit.OK


def _shower(options: Namespace) -> Callable[[str], None]:
    """Return what gives the new peer's file to the user, if that can be done. Raises Failure."""
    if options.qr:
        # Imported only here: no other command needs it.
        from sacip_tun.cli.qr import drawn  # noqa: PLC0415 - see above

        return lambda text: print(drawn(text), flush=True)
    if options.output is None:
        return lambda text: print(text, end="", flush=True)
    path = Path(options.output)
    if path.exists():
        raise Failure(f"{path} exists already", "give another --output", Exit.USAGE)
    return lambda text: write_secret(path, text)


def _wishes(options: Namespace, config: Config, hub: Hub) -> Wishes:
    return Wishes(
        _endpoint(options.endpoint, _port(config, hub)),
        tuple(str(allowed_ip(text)[0]) for text in options.allowed_ips),
        tuple(str(dns(text)) for text in options.dns),
        keepalive(options.persistent_keepalive),
    )


def _endpoint(given: str | None, port: int) -> str:
    """Return HOST:PORT as the new peer is to call it."""
    if given is None:
        given = _own_address()
    # A host alone has the hub's port. An IPv6 address alone has colons of its own, and no brackets.
    if given.endswith("]") or ":" not in given:
        given = f"{given}:{port}"
    elif given.count(":") > 1 and not given.startswith("["):
        given = f"[{given}]:{port}"
    return str(endpoint(given))


def _own_address() -> str:
    host = outer_address(ANYWHERE)
    if host == UNKNOWN_HOST:
        raise Failure("how others reach this host is not known", "give --endpoint", Exit.USAGE)
    with suppress(ValueError):
        if ip_address(host.strip("[]")).is_private:
            warn(f"{host} is a private address: who is elsewhere needs another --endpoint")
    return host


def _port(config: Config, hub: Hub) -> int:
    if config.interface.listen_port:
        return config.interface.listen_port
    status = hub.status()
    if not status:
        raise Failure(
            f"{hub.name} has no ListenPort: a peer could not call it",
            "add ListenPort = 51820 to its [Interface]",
            Exit.BAD_CONFIGURATION,
        )
    warn("there is no ListenPort in its file: after a restart it is another one")
    port: int = status["listen_port"]
    return port
