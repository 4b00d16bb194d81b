"""What it means when the kernel refuses to send a datagram, and so what to do about it."""

import errno
from enum import Enum


class SendError(Enum):
    """The meaning of an errno of sendmsg(2); the value is its name in `status`."""

    NO_ROUTE = "no route"
    NO_NEIGHBOUR = "host unreachable"
    BAD_SOURCE = "source address gone"
    FORBIDDEN = "forbidden"
    FULL = "queue full"
    TOO_BIG = "too big"
    STRAY = "late complaint"


# From udp(7), ip(7), and what net/ipv4 and net/ipv6 return on these paths.
MEANINGS = {
    errno.ENETUNREACH: SendError.NO_ROUTE,
    errno.ENETDOWN: SendError.NO_ROUTE,
    # A route of type unreachable, and IPv6 where the neighbour does not answer.
    errno.EHOSTUNREACH: SendError.NO_NEIGHBOUR,
    errno.EHOSTDOWN: SendError.NO_NEIGHBOUR,
    # IP_PKTINFO names an address that no interface has, or an interface that is gone.
    errno.EADDRNOTAVAIL: SendError.BAD_SOURCE,
    errno.EINVAL: SendError.BAD_SOURCE,
    errno.ENODEV: SendError.BAD_SOURCE,
    errno.ENXIO: SendError.BAD_SOURCE,
    # netfilter's drop in OUTPUT; a route of type prohibit, and a broadcast address.
    errno.EPERM: SendError.FORBIDDEN,
    errno.EACCES: SendError.FORBIDDEN,
    errno.EAGAIN: SendError.FULL,
    errno.ENOBUFS: SendError.FULL,
    errno.ENOMEM: SendError.FULL,
    errno.EMSGSIZE: SendError.TOO_BIG,
}
FIXES = {
    errno.EPERM: "look for a rule that drops it: nft list ruleset, or iptables -L OUTPUT",
    errno.EACCES: "look for a route that prohibits it: ip route get ADDRESS",
}


def meaning(number: int) -> SendError:
    """Return what an errno means; one that is unknown tells nothing about this datagram.

    Errors such as ECONNREFUSED come from ICMP about an earlier datagram: the one at hand was not
    looked at, and can be sent again.
    """
    return MEANINGS.get(number, SendError.STRAY)


def fix(number: int) -> str:
    """Return what the user can do about an errno, "" where that is nothing."""
    return FIXES.get(number, "")
