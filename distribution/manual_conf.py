"""sacip-tun.conf(5): every key of the grammar, in its order, with what it means."""

from collections.abc import Iterator

from manual import escaped, terms

from sacip_tun import __version__
from sacip_tun.config.grammar import KEYS, Section

INTRODUCTION = """\
A configuration is a file of wg-quick(8), which sacip-tun takes unchanged, with some keys more. Its
name without .conf is the name of the interface. Section names and keys are case-insensitive; a
hash sign begins a comment, except in commands. An unknown key is an error. A file that every user
can read is refused.
"""
EXAMPLE = """\
[Interface]
PrivateKey = what 'sacip-tun genkey' prints
Address = 10.9.0.2/24, fd09::2/64

[Peer]
# Name = hub
PublicKey = what 'sacip-tun pubkey' prints on the hub
Endpoint = hub.example.org:51820
AllowedIPs = 10.9.0.0/24, fd09::/64
"""
NAMES = """\
wg-quick refuses keys that it does not know, so what a peer is called is a comment in its section:
# Name = phone. sacip-tun peer reads and writes it.
"""
MEANINGS = {
    Section.INTERFACE: {
        "PrivateKey": "This side's key in base64; sacip-tun genkey makes one. It may be "
        "left out where a PostUp sets it: wg set %i private-key FILE.",
        "ListenPort": "UDP port of both families; without it a random one.",
        "FwMark": "Mark of the outer packets: off, a decimal number or 0x...",
        "Address": "This side's addresses in the tunnel, with their networks. Several, also by "
        "commas or in more lines.",
        "DNS": "Addresses of servers, and names that are search domains.",
        "MTU": "In bytes; without it, that of the routes to the peers less 80.",
        "Table": "Where routes go: auto, off, or the number or name of a routing table.",
        "PreUp": "A command that is run before; %i is the interface. Several, in their order.",
        "PostUp": "A command that is run when the interface is up.",
        "PreDown": "A command that is run before it goes down.",
        "PostDown": "A command that is run when it is down; after a kill by down, cleanup or the "
        "next up.",
        "EventHook": "A command that is run for events, such as a move: /path/to/program, or kinds "
        "of events, a colon and the command. No shell sees it.",
        "SaveConfig": "true or false: whether what was changed live is saved.",
        "Dscp": "The class of the outer packets: inherit, a number from 0 to 63, or a name as EF.",
        "ExcludeIPs": "Networks that stay out of the tunnel though AllowedIPs has them; @local "
        "stands for those that this host is connected to.",
        "HoldMegabytes": "MiB of packets that are held for each peer while no path carries; 4.",
        "KillSwitch": "yes or no: whether what is to go through the tunnel may go no other way, "
        "also while it is down.",
        "LeakProtection": "strict or compat: how a full tunnel is kept from routes of others.",
        "Offload": "auto, on or off: whether the kernel cuts and merges packets.",
        "ResendMegabytes": "MiB of what was sent to each peer, kept to be sent again; 4.",
        "Sacip": "on or off: whether moves are announced, to all peers that do not say otherwise.",
    },
    Section.PEER: {
        "PublicKey": "The other side's key in base64.",
        "PresharedKey": "A second secret that both sides have; sacip-tun genpsk makes one.",
        "AllowedIPs": "The peer's networks in the tunnel: what is sent to it, and accepted from "
        "it. Several, also by commas or in more lines.",
        "Endpoint": "HOST:PORT of the peer; without it, the peer calls.",
        "PersistentKeepalive": "Seconds from 1 to 65535, or off. Without it a NAT on the way to a "
        "peer that runs sacip-tun gets what it needs.",
        "Nat": "allow or strict. With strict a peer must be seen at the address that it says it "
        "has, which no NAT permits.",
        "Relay": "yes or no: whether this peer may hand notices of moves on.",
        "Sacip": "on or off, for this peer alone.",
    },
}


def manual_conf() -> str:
    """Return the page."""
    return "\n".join(_page()) + "\n"


def _page() -> Iterator[str]:
    yield f'.TH SACIP-TUN.CONF 5 "" "sacip-tun {__version__}" "File Formats"'
    yield ".SH NAME"
    yield escaped("sacip-tun.conf - configuration of a tunnel")
    yield ".SH SYNOPSIS"
    yield escaped("/etc/sacip-tun/NAME.conf, or else /etc/wireguard/NAME.conf")
    yield ".SH DESCRIPTION"
    yield escaped(INTRODUCTION)
    for section, rows in KEYS.items():
        yield f".SH [{section.value.upper()}]"
        meanings = MEANINGS[section]
        yield from terms({row.name: meanings[row.name] for row in rows.values()})
    yield ".SH NAMES OF PEERS"
    yield escaped(NAMES)
    yield f".SH EXAMPLE\n.nf\n{escaped(EXAMPLE)}\n.fi"
    yield ".SH SEE ALSO"
    yield escaped("sacip-tun(8), wg(8), wg-quick(8)")
