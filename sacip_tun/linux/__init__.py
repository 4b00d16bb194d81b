"""TOUCHES: the only room with system calls: TUN, UDP sockets, rtnetlink, addresses and routes.

Rules of this room:
1. One batch is one system call: a super-packet on the TUN, up to 64 datagrams on a UDP socket.
2. pyroute2 stands behind messages.py and rtnetlink.py and is imported on first use: it costs 75 to
   190 ms and 13 MB.
3. What netlink says becomes plain frozen values (addresses.py, routes.py) as early as possible; all
   choices (sources.py) are pure functions of these.
4. An error that a user can cure names its cause and its cure (errors.py); an error of one packet is
   the OSError as the kernel gave it.
"""
