"""RUNS: the event loop, the clock, the sockets and one Tunnel; control socket and events."""
