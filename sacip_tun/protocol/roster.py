"""The roster: all peers by public key. One that nobody has dealt with yet is its settings alone.

A hub may know thousands of which few ever call. A peer becomes whole when a handshake, an inner
packet or the user asks for it, and stays so: what it said counts for as long as the tunnel runs.
"""

from collections.abc import Iterator, ValuesView

from sacip_tun.protocol.context import Context
from sacip_tun.protocol.peer import Peer
from sacip_tun.protocol.settings import PeerSettings


class Roster:
    """Peers by public key, in the order in which they were added."""

    __slots__ = ("_context", "_met", "_settings")

    def __init__(self, context: Context) -> None:
        self._context = context
        self._settings: dict[bytes, PeerSettings] = {}
        self._met: dict[bytes, Peer] = {}

    def add(self, settings: PeerSettings) -> None:
        """Add a peer; what has an endpoint, or is to be told something, is asked for by `get`."""
        self._settings[settings.public_key] = settings

    def change(self, settings: PeerSettings) -> None:
        """Keep other settings of a peer; a whole one is told by who asks. Raises KeyError."""
        if settings.public_key not in self._settings:
            raise KeyError(settings.public_key)
        self._settings[settings.public_key] = settings

    def is_met(self, key: bytes) -> bool:
        """Tell whether a peer is whole."""
        return key in self._met

    def holds(self, peer: Peer) -> bool:
        """Tell whether it is this very peer that is there, and not another one with its key."""
        return self._met.get(peer.key) is peer

    def remove(self, key: bytes) -> Peer | None:
        """Forget a peer; returns what is to be undone of it, None where it is only settings."""
        del self._settings[key]
        self._context.identity.forget(key)
        return self._met.pop(key, None)

    @property
    def met(self) -> ValuesView[Peer]:
        """The whole ones: no other has an address, a session, a timer, or anything that waits."""
        return self._met.values()

    def get(self, key: bytes) -> Peer | None:
        """Return a peer, which is whole from here on; None where there is no such."""
        peer = self._met.get(key)
        if peer is None and key in self._settings:
            peer = self._met[key] = self.glance(key)
            self._context.identity.remember(key)
        return peer

    def glance(self, key: bytes) -> Peer:
        """Return a peer to read from. Raises KeyError where there is no such."""
        return self._met.get(key) or Peer(self._settings[key], self._context)

    def settings_of(self, key: bytes) -> PeerSettings:
        """Return what the user says about a peer. Raises KeyError where there is no such."""
        return self._settings[key]

    def __getitem__(self, key: bytes) -> Peer:
        peer = self.get(key)
        if peer is None:
            raise KeyError(key)
        return peer

    def __contains__(self, key: object) -> bool:
        return key in self._settings

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._settings)

    def __len__(self) -> int:
        return len(self._settings)
