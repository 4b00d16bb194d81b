"""Inside a network namespace: the time from RTM_DELADDR to the first packet from a new address."""

import json
import select
import socket
import sys
import time

RTM_DELADDR, RTMGRP_IPV4_IFADDR, ETH_P_ALL = 21, 0x10, 0x0003
# struct sockaddr_ll.sll_pkttype of what this host sends (linux/if_packet.h).
PACKET_OUTGOING = 4
SOURCE = slice(14 + 12, 14 + 16)


def main(new: str) -> None:
    netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    netlink.bind((0, RTMGRP_IPV4_IFADDR))
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    print("ready", flush=True)
    deleted = None
    while True:
        ready, _, _ = select.select([netlink, wire], [], [], 10)
        now = time.monotonic()
        if netlink in ready and int.from_bytes(netlink.recv(65536)[4:6], "little") == RTM_DELADDR:
            deleted = now
        if wire in ready:
            frame, (_, _, kind, *_) = wire.recvfrom(65536)
            ours = kind == PACKET_OUTGOING and frame[SOURCE] == socket.inet_aton(new)
            if ours and deleted is not None:
                print(json.dumps({"seconds": now - deleted}), flush=True)
                return
        if not ready:
            sys.exit("nothing came")


if __name__ == "__main__":
    main(sys.argv[1])
