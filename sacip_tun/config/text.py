"""A Config as the text of a file: what `save` writes, and what a reload is compared by.

`parse(text_of(config), name)` gives the same again. Comments are not kept, as with wg-quick, but
for the names of peers (editing).
"""

import os
import shlex
from collections.abc import Iterator, Mapping
from hashlib import blake2s
from types import MappingProxyType

from sacip_tun.config.model import (
    Config,
    EventHook,
    InterfaceConfig,
    LeakProtection,
    Nat,
    Offload,
    PeerConfig,
)
from sacip_tun.config.values import LOCAL
from sacip_tun.protocol.keys import to_base64

_SALT = os.urandom(32)
# What holds where a file says nothing.
DEFAULT = InterfaceConfig("", b"")

NAMELESS: Mapping[bytes, str] = MappingProxyType({})

Line = tuple[str, object]


def text_of(config: Config, *, secrets: bool = True, names: Mapping[bytes, str] = NAMELESS) -> str:
    """Return the text of a file; without `secrets` something stands for each.

    `names` are those of peers, by public key.
    """
    lines = ["[Interface]"]
    lines += _written(_interface(config.interface), secrets=secrets)
    for peer in config.peers:
        lines += ["", "[Peer]"]
        if name := names.get(peer.public_key):
            lines.append(f"# Name = {name}")
        lines += _written(_peer(peer, sacip=config.interface.sacip), secrets=secrets)
    return "\n".join(lines) + "\n"


def _written(lines: Iterator[Line], *, secrets: bool) -> Iterator[str]:
    for key, value in lines:
        hidden = not secrets and key in {"PrivateKey", "PresharedKey"}
        yield f"{key} = {_hidden(str(value)) if hidden else value}"


def _hidden(secret: str) -> str:
    """Return what stands for a secret: another one is told from it, and only in this process."""
    return f"(hidden, {blake2s(secret.encode(), key=_SALT, digest_size=2).hexdigest()})"


def _interface(interface: InterfaceConfig) -> Iterator[Line]:
    for address in interface.addresses:
        yield "Address", address
    names = [*map(str, interface.dns_servers), *interface.dns_search]
    if names:
        yield "DNS", ", ".join(names)
    if interface.mtu is not None:
        yield "MTU", interface.mtu
    if interface.table != "auto":
        yield "Table", interface.table
    if interface.save_config:
        yield "SaveConfig", "true"
    yield from _commands(interface)
    yield from _full_tunnel(interface)
    if interface.listen_port:
        yield "ListenPort", interface.listen_port
    if interface.fwmark:
        yield "FwMark", hex(interface.fwmark)
    if interface.has_key:
        yield "PrivateKey", to_base64(interface.private_key)
    yield from _ours(interface)


def _commands(interface: InterfaceConfig) -> Iterator[Line]:
    for command in interface.pre_up:
        yield "PreUp", command
    for command in interface.post_up:
        yield "PostUp", command
    for command in interface.pre_down:
        yield "PreDown", command
    for command in interface.post_down:
        yield "PostDown", command
    for hook in interface.event_hooks:
        yield "EventHook", _hook(hook)


def _hook(hook: EventHook) -> str:
    return f"{', '.join(hook.kinds)}: {shlex.join(hook.command)}"


def _full_tunnel(interface: InterfaceConfig) -> Iterator[Line]:
    excluded = [*map(str, interface.exclude_ips), *([LOCAL] if interface.exclude_local else [])]
    if excluded:
        yield "ExcludeIPs", ", ".join(excluded)
    if interface.leak_protection is not LeakProtection.STRICT:
        yield "LeakProtection", interface.leak_protection.value
    if interface.kill_switch:
        yield "KillSwitch", "yes"


def _ours(interface: InterfaceConfig) -> Iterator[Line]:
    if not interface.sacip:
        yield "Sacip", "off"
    if interface.offload is not Offload.AUTO:
        yield "Offload", interface.offload.value
    if interface.hold_megabytes != DEFAULT.hold_megabytes:
        yield "HoldMegabytes", interface.hold_megabytes
    if interface.resend_megabytes != DEFAULT.resend_megabytes:
        yield "ResendMegabytes", interface.resend_megabytes
    if interface.dscp != 0:
        yield "Dscp", "inherit" if interface.dscp is None else interface.dscp


def _peer(peer: PeerConfig, *, sacip: bool) -> Iterator[Line]:
    yield "PublicKey", to_base64(peer.public_key)
    if peer.preshared_key is not None:
        yield "PresharedKey", to_base64(peer.preshared_key)
    if peer.allowed_ips:
        yield "AllowedIPs", ", ".join(map(str, peer.allowed_ips))
    if peer.endpoint is not None:
        yield "Endpoint", peer.endpoint
    if peer.persistent_keepalive is not None:
        yield "PersistentKeepalive", peer.persistent_keepalive or "off"
    if peer.nat is not Nat.ALLOW:
        yield "Nat", peer.nat.value
    if peer.relay:
        yield "Relay", "yes"
    if peer.sacip != sacip:
        yield "Sacip", "on" if peer.sacip else "off"
