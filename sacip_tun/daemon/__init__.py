"""RUNS: the event loop, the clock, the sockets and one Tunnel; control socket and events.

`start(config, foreground=...)` is the room's door.
"""

from sacip_tun.daemon.launch import start

__all__ = ["start"]
