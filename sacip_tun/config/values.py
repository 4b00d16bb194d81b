"""Readers of single values: text in, a checked value out, or a ConfigError with the remedy.

The rules are those of wg(8) and wg-quick(8), stricter only where theirs let a slip of the pen
through (an IPv4 address with three parts, an octal mark). A message never repeats a secret.
"""

import re
from collections.abc import Mapping
from ipaddress import ip_address, ip_interface
from typing import TypeVar

from sacip_tun.config.errors import ConfigError
from sacip_tun.config.model import (
    EndpointName,
    Interface,
    LeakProtection,
    Nat,
    Network,
    Offload,
)
from sacip_tun.protocol.address import Host
from sacip_tun.protocol.errors import LocalError
from sacip_tun.protocol.keys import from_base64

T = TypeVar("T")

# RFC 791: every host takes a datagram of 576 bytes. RFC 8200 wants 1280 of an IPv6 link.
MIN_MTU, MIN_IPV6_MTU = 576, 1280
# Outer IPv6 and UDP headers, WireGuard's header and tag: 40 + 8 + 16 + 16 bytes.
OVERHEAD = 80
MAX_MTU = 65535 - OVERHEAD

# The private networks that this host is in.
LOCAL = "@local"
INTERFACE_NAME = re.compile(r"[a-zA-Z0-9_=+.-]{1,15}")
_HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")
_DIGITS_AND_DOTS = re.compile(r"[0-9.]+")
# The names of IANA's registry of DSCPs (RFC 2474, 2597, 3246, 5865, 8622).
_DSCP_NAMES = {
    **{f"CS{number}": 8 * number for number in range(8)},
    **{f"AF{x}{y}": 8 * x + 2 * y for x in range(1, 5) for y in range(1, 4)},
    "LE": 1,
    "VOICE-ADMIT": 44,
    "EF": 46,
}
# wg(8) would read a leading zero as octal, which nobody means.
_MARK = re.compile(r"0|[1-9][0-9]{0,9}|0[xX][0-9a-fA-F]{1,8}")
_PLACEHOLDER = re.compile(r"<[^<>]*>")

GET_PRIVATE_KEY = "make one with 'sacip-tun genkey'"
GET_PUBLIC_KEY = "it is what 'sacip-tun pubkey' prints for the other side's private key"
GET_PRESHARED_KEY = "make one with 'sacip-tun genpsk' and give both sides the same"


def interface_name(text: str) -> str:
    """Check a name as wg-quick and the kernel do: 1 to 15 of `a-z A-Z 0-9 _ = + . -`."""
    if not INTERFACE_NAME.fullmatch(text) or text in {".", ".."}:
        raise ConfigError(
            f"{text!r} cannot be the name of an interface",
            "use 1 to 15 characters out of a-z A-Z 0-9 _ = + . -",
        )
    return text


def refuse_placeholder(key: str, text: str) -> None:
    """Raise ConfigError where an example's `<...>` has not been filled in."""
    if placeholder := _PLACEHOLDER.search(text):
        raise ConfigError(f"{key} is still a placeholder: {placeholder[0]}", "fill in this line")


def _key(text: str, kind: str, fix: str) -> bytes:
    try:
        key = from_base64(text)
    except LocalError:
        cause = f"this is not a {kind}: a key is 44 characters of base64 that end in '='"
        if len(text) != 44:
            cause += f", this has {len(text)}"
        raise ConfigError(cause, fix) from None
    return key


def private_key(text: str) -> bytes:
    """Return 32 bytes."""
    key = _key(text, "private key", GET_PRIVATE_KEY)
    if not any(key):
        raise ConfigError("this private key is all zeros", GET_PRIVATE_KEY)
    return key


def public_key(text: str) -> bytes:
    """Return 32 bytes."""
    key = _key(text, "public key", GET_PUBLIC_KEY)
    if not any(key):
        raise ConfigError("this public key is all zeros", GET_PUBLIC_KEY)
    return key


def preshared_key(text: str) -> bytes | None:
    """Return 32 bytes; zeros mean none, as in wg(8)."""
    key = _key(text, "preshared key", GET_PRESHARED_KEY)
    return key if any(key) else None


def _number(text: str, low: int, high: int, what: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 10 or not low <= int(text) <= high:
        raise ConfigError(f"{text!r} is not {what}", f"use a number from {low} to {high}")
    return int(text)


def port(text: str) -> int:
    """Return a UDP port to listen on; 0 lets the kernel choose."""
    return _number(text, 0, 65535, "a UDP port")


def fwmark(text: str) -> int:
    """Read `off`, a decimal number or `0x...`; 32 bits."""
    if text.lower() == "off":
        return 0
    if not _MARK.fullmatch(text) or int(text, 0) >= 1 << 32:
        raise ConfigError(
            f"{text!r} is not a firewall mark", "use 'off', 51820 or 0xca6c, 32 bits at most"
        )
    return int(text, 0)


def keepalive(text: str) -> int:
    """Read `off` or seconds."""
    if text.lower() == "off":
        return 0
    try:
        return _number(text, 0, 65535, "a keepalive interval")
    except ConfigError as error:
        raise ConfigError(error.cause, "use 'off' or seconds from 1 to 65535, often 25") from None


def megabytes(text: str) -> int:
    """Return an amount of memory for each peer, in MiB; 0 is none."""
    return _number(text, 0, 1024, "an amount of memory in MiB")


def dscp(text: str) -> int | None:
    """Read the number or IANA's name of a DSCP, or `inherit`, which is None."""
    if text.lower() == "inherit":
        return None
    if text.upper() in _DSCP_NAMES:
        return _DSCP_NAMES[text.upper()]
    try:
        return _number(text, 0, 63, "a DSCP")
    except ConfigError as error:
        fix = "use 'inherit', a number from 0 to 63, or a name: CS0 to CS7, AF11 to AF43, EF, LE"
        raise ConfigError(error.cause, fix) from None


def mtu(text: str) -> int:
    """Return the tunnel's MTU in bytes."""
    try:
        return _number(text, MIN_MTU, MAX_MTU, "an MTU")
    except ConfigError:
        raise ConfigError(
            f"{text!r} is not a usable MTU",
            f"use {MIN_MTU} to {MAX_MTU} bytes, {MIN_IPV6_MTU} or more with IPv6 inside; "
            "1420 fits an outer network of 1500; without the key it is worked out from the routes",
        ) from None


def table(text: str) -> str:
    """Read `auto`, `off`, or the number or name of a routing table."""
    if text.lower() in {"auto", "off"}:
        return text.lower()
    if text.isascii() and text.isdigit():
        return str(_number(text, 1, (1 << 32) - 1, "a routing table"))
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", text):
        raise ConfigError(f"{text!r} is not a routing table", "use auto, off, a number or a name")
    return text


def _choice(text: str, choices: Mapping[str, T]) -> T:
    if text.lower() not in choices:
        raise ConfigError(f"{text!r} is not one of its values", f"use {' or '.join(choices)}")
    return choices[text.lower()]


def true_or_false(text: str) -> bool:
    """Read `true` or `false`."""
    return _choice(text, {"true": True, "false": False})


def on_or_off(text: str) -> bool:
    """Read `on` or `off`."""
    return _choice(text, {"on": True, "off": False})


def yes_or_no(text: str) -> bool:
    """Read `yes` or `no`."""
    return _choice(text, {"yes": True, "no": False})


def nat(text: str) -> Nat:
    """Read `allow` or `strict`."""
    return _choice(text, {mode.value: mode for mode in Nat})


def offload(text: str) -> Offload:
    """Read `auto`, `on` or `off`."""
    return _choice(text, {mode.value: mode for mode in Offload})


def leak_protection(text: str) -> LeakProtection:
    """Read `strict` or `compat`."""
    return _choice(text, {mode.value: mode for mode in LeakProtection})


def excluded(text: str) -> Network | None:
    """Read a network that stays outside a full tunnel, or `@local`, which is None."""
    if text.lower() == LOCAL:
        return None
    if text.startswith("@"):
        raise ConfigError(f"{text!r} is no network", f"use {LOCAL} or a network: 192.168.0.0/16")
    network, _ = allowed_ip(text)
    if not network.prefixlen:
        raise ConfigError(
            f"{network} would leave nothing for the tunnel", "take the /0 out of AllowedIPs instead"
        )
    return network


def _interface(text: str) -> Interface | None:
    """Read an address with a length in digits, or with none; None if it is anything else."""
    _, slash, length = text.partition("/")
    if "%" in text or (slash and not (length.isascii() and length.isdigit())):
        return None
    try:
        return ip_interface(text)
    except ValueError:
        return None


def address(text: str) -> Interface:
    """Read `10.9.0.1/24`; without a length it is the single host."""
    found = _interface(text)
    if found is None:
        raise ConfigError(f"{text!r} is not an address", "write it as 10.9.0.1/24 or fd00:9::1/64")
    if found.ip.is_multicast or found.ip.is_unspecified:
        raise ConfigError(f"{found.ip} cannot be the address of a host", "take another address")
    return found


def allowed_ip(text: str) -> tuple[Network, bool]:
    """Read `10.9.0.0/24`; without a length it is the single host.

    Returns the network, and whether host bits were set and have been cleared, as wg(8) does.
    """
    found = _interface(text)
    if found is None:
        raise ConfigError(
            f"{text!r} is not a network", "write it as 10.9.0.0/24 or fd00:9::/64, or a single host"
        )
    return found.network, found.ip != found.network.network_address


def dns(text: str) -> Host | str:
    """Return a server's address or a search domain, told apart as wg-quick does."""
    if ":" in text or _DIGITS_AND_DOTS.fullmatch(text):
        try:
            return ip_address(text)
        except ValueError:
            raise ConfigError(f"{text!r} is not the address of a DNS server") from None
    if not _HOST_NAME.fullmatch(text):
        raise ConfigError(
            f"{text!r} is neither the address of a DNS server nor a search domain",
            "use letters, digits, '-' and '.'",
        )
    return text


def endpoint(text: str) -> EndpointName:
    """Read `host.example:51820`, `192.0.2.1:51820` or `[2001:db8::1]:51820`, zone allowed."""
    host, colon, number = text.rpartition(":")
    digits = number.isascii() and number.isdigit() and len(number) <= 5
    if not colon or not host or not digits or not 0 < int(number) < 65536:
        raise ConfigError(f"{text!r} has no port from 1 to 65535", "write it as host.example:51820")
    if host.startswith("[") and host.endswith("]"):
        return EndpointName(_somebodys(_ipv6(host[1:-1])), int(number))
    if ":" in host:
        raise ConfigError(
            f"{text!r} is ambiguous", f"an IPv6 address needs brackets: [{host}]:{number}"
        )
    return EndpointName(_somebodys(_host(host)), int(number))


def _somebodys(text: str) -> str:
    """Return a name or an address as it is, unless no single host can have it."""
    host = host_of(text)
    if host is not None and (host.is_unspecified or host.is_multicast):
        raise ConfigError(f"{text} is no host's address", "write the peer's own address or name")
    return text


def host_of(text: str) -> Host | None:
    """Return the address that `text` is, without its zone; None where it is a name."""
    try:
        return ip_address(text.partition("%")[0])
    except ValueError:
        return None


def _ipv6(text: str) -> str:
    try:
        if ip_address(text).version == 6:
            return text
    except ValueError:
        pass
    raise ConfigError(
        f"{text!r} is not an IPv6 address", "only those are in brackets: [2001:db8::1]:51820"
    )


def _host(text: str) -> str:
    if _DIGITS_AND_DOTS.fullmatch(text):
        try:
            ip_address(text)
        except ValueError:
            raise ConfigError(
                f"{text!r} is not an IPv4 address", "write four numbers from 0 to 255: 192.0.2.1"
            ) from None
    elif len(text) > 253 or not _HOST_NAME.fullmatch(text):
        raise ConfigError(
            f"{text!r} cannot be the name of a host", "use letters, digits, '-' and '.'"
        )
    return text
