"""TOUCHES: the only room with system calls: TUN, UDP sockets, rtnetlink, addresses and routes."""
