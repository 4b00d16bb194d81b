"""sacip-tun: a VPN tunnel that does not notice when your address changes.

For programs: `async for event in sacip_tun.events("sacip0")` tells of each move, on both ends, and
`await sacip_tun.status("sacip0")` how it stands. docs/events.md has all of it.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sacip_tun.client.errors import FellBehind, NotAllowed, NotRunning, TunnelDown
    from sacip_tun.client.events import Event
    from sacip_tun.client.stream import EventStream, events, status
    from sacip_tun.outcome import Failure

__all__ = [
    "Event",
    "EventStream",
    "Failure",
    "FellBehind",
    "NotAllowed",
    "NotRunning",
    "TunnelDown",
    "__version__",
    "events",
    "status",
]

__version__ = "0.1.0"

# Where each name comes from. It is imported when it is used: the command line needs no asyncio.
_HOMES = {
    "Event": "client.events",
    "EventStream": "client.stream",
    "Failure": "outcome",
    "FellBehind": "client.errors",
    "NotAllowed": "client.errors",
    "NotRunning": "client.errors",
    "TunnelDown": "client.errors",
    "events": "client.stream",
    "status": "client.stream",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'sacip_tun' has no attribute {name!r}")
    return getattr(import_module(f"sacip_tun.{_HOMES[name]}"), name)
