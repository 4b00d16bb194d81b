"""Who changed something: as far as the kernel tells, and as long as that process still runs."""

from contextlib import suppress
from pathlib import Path
from struct import Struct

from sacip_tun.linux.rtnetlink import NLMSGHDR

# linux/netfilter/nfnetlink.h and nf_tables.h: a new generation of the ruleset, and who made it.
NFNL_SUBSYS_NFTABLES, NFT_MSG_NEWGEN = 10, 15
NFTA_GEN_PROC_PID, NFTA_GEN_PROC_NAME = 2, 3
# struct nlmsghdr and struct nfgenmsg in front of the attributes; struct nlattr.
ATTRIBUTES, NLATTR = 20, Struct("=HH")
TYPE_MASK = 0x3FFF
# A process's second netlink socket, and those that follow, get numbers from up here.
NO_PROCESS = 1 << 31


def named(port: int) -> str:
    """Return who has a netlink port, which is the process id for the first socket of each."""
    if not 0 < port < NO_PROCESS:
        return "the kernel" if not port else "a process that netlink does not name"
    with suppress(OSError):
        return f"{Path(f'/proc/{port}/comm').read_text().strip()} (process {port})"
    return f"process {port}, which is gone"


def of_ruleset(datagram: bytes) -> str | None:
    """Return who made the change of the nftables ruleset that a notification ends; else None."""
    position = 0
    while position + ATTRIBUTES <= len(datagram):
        length, kind, *_ = NLMSGHDR.unpack_from(datagram, position)
        if not ATTRIBUTES <= length <= len(datagram) - position:
            return None
        if kind == NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWGEN:
            return _author(datagram[position + ATTRIBUTES : position + length])
        position += length + 3 & ~3
    return None


def _author(attributes: bytes) -> str:
    found = dict[int, bytes]()
    position = 0
    while position + NLATTR.size <= len(attributes):
        length, kind = NLATTR.unpack_from(attributes, position)
        if length < NLATTR.size:
            break
        found[kind & TYPE_MASK] = attributes[position + NLATTR.size : position + length]
        position += length + 3 & ~3
    name = found.get(NFTA_GEN_PROC_NAME, b"").rstrip(b"\0").decode(errors="replace")
    number = int.from_bytes(found.get(NFTA_GEN_PROC_PID, b""), "big")
    return f"{name or 'a process'} (process {number})"
