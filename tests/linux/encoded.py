"""rtnetlink messages made with pyroute2, and decoded again as they would come from the kernel."""

from sacip_tun.linux import messages, rtnetlink
from sacip_tun.linux.messages import codecs

UP = messages.IFF_UP | messages.IFF_LOWER_UP


def wire(message, kind, flags=0):
    message["header"]["type"] = kind
    message["header"]["flags"] = flags
    message.encode()
    return bytes(message.data)


def over_the_wire(message, kind):
    (decoded,) = messages.decoded(wire(message, kind))
    return decoded


def link_message(index=2, flags=UP, family=0, attributes=()):
    message = codecs().link()
    message["family"], message["index"], message["flags"] = family, index, flags
    message["attrs"] = [["IFLA_IFNAME", "eth0"], ["IFLA_MTU", 1400], *attributes]
    return over_the_wire(message, rtnetlink.RTM_NEWLINK)


def address_message(family=2, flags=0, length=24, **attributes):
    message = codecs().address()
    message["family"], message["prefixlen"], message["index"] = family, length, 2
    message["flags"] = flags & 0xFF
    message["attrs"] = [[f"IFA_{name}", value] for name, value in attributes.items()]
    return over_the_wire(message, rtnetlink.RTM_NEWADDR)


def route_message(family=2, length=0, kind=1, **attributes):
    message = codecs().route()
    message["family"], message["dst_len"], message["type"] = family, length, kind
    message["table"] = 254
    message["attrs"] = [[f"RTA_{name}", value] for name, value in attributes.items()]
    return over_the_wire(message, rtnetlink.RTM_NEWROUTE)


def rule_message(flags=0, source=0, destination=0, **attributes):
    message = codecs().rule()
    message["family"], message["action"], message["table"] = 2, 1, 254
    message["flags"], message["src_len"], message["dst_len"] = flags, source, destination
    message["attrs"] = [[f"FRA_{name}", value] for name, value in attributes.items()]
    return over_the_wire(message, rtnetlink.RTM_NEWRULE)
