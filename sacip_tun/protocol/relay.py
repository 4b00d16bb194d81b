"""Relaying: a peer that both ends still reach hands over a sealed notice from one to the other.

Where both ends moved at once to addresses that the other never heard of, neither can tell the
other. A third SACIP peer may be in touch with both. It gets a whole data message that only the
other end can open, and passes it on with the address that it sees the sender at. What comes out of
it moves nothing: it is a hint where to ask, and the answer from there decides.
Both ends and the relay must permit it for each other (`Relay = yes` in the [Peer] section).
"""

from collections.abc import Callable

from cryptography.exceptions import InvalidTag

from sacip_tun.protocol.address import Endpoint
from sacip_tun.protocol.context import Context
from sacip_tun.protocol.errors import Drop, RemoteError
from sacip_tun.protocol.frames import Code, Frame
from sacip_tun.protocol.messages import DATA_HEADER, data_counter, data_receiver
from sacip_tun.protocol.roster import Roster
from sacip_tun.protocol.session import Session
from sacip_tun.protocol.timers import NEVER

# Notices of one peer are relayed so far apart, in seconds; hunting sends them ever more slowly.
MIN_INTERVAL = 0.1


class Relay:
    """All three roles of relaying in one tunnel: asking, passing on, being told."""

    def __init__(self, peers: Roster, context: Context) -> None:
        self._peers = peers
        self._context = context
        self._relayed: dict[bytes, float] = {}

    def ask(self, key: bytes, seal: Callable[[], bytes], *, now: float) -> None:
        """Have every peer that may pass on what `seal` makes for the peer with `key`."""
        for other in self._peers.met:
            permitted = other.key != key and other.settings.relay and other.speaks_sacip
            if permitted and other.can_send(now=now):
                other.speech.tell(Frame(Code.RELAY, peer=key, sealed=seal()), now=now)

    def pass_on(self, asking: bytes, frame: Frame, observed: Endpoint, *, now: float) -> None:
        """Take RELAY. Raises RemoteError where it is not permitted or not possible."""
        source, target = self._peers.get(asking), self._peers.get(frame.peer)
        if source is None or target is None or target is source:
            raise RemoteError(Drop.RELAY_REFUSED)
        if not (source.settings.relay and target.settings.relay and target.speaks_sacip):
            raise RemoteError(Drop.RELAY_REFUSED)
        if now - self._relayed.get(asking, NEVER) < MIN_INTERVAL:
            raise RemoteError(Drop.RATE_LIMITED)
        self._relayed[asking] = now
        told = Frame(Code.RELAYED, observed=observed, peer=asking, sealed=frame.sealed)
        target.speech.tell(told, now=now)

    def hand_over(self, via: bytes, frame: Frame, *, now: float) -> None:
        """Take RELAYED: open what is in it, and ask where it says. Raises RemoteError."""
        relay = self._peers.get(via)
        if relay is None or not relay.settings.relay:
            raise RemoteError(Drop.RELAY_REFUSED)
        index = data_receiver(frame.sealed)
        session = self._context.sessions.get(index)
        peer = self._peers.get(self._context.owners.get(index, b""))
        if session is None or peer is None or not peer.settings.sacip:
            raise RemoteError(Drop.UNKNOWN_INDEX)
        notice = Frame.parse_short(_opened(session, frame.sealed, now=now))
        if notice.code == Code.CHANGE:
            # Where the relay sees a peer may be a NAT's address, or somebody's in between.
            seen = None if peer.strict else frame.observed
            peer.exchange.heard_of((seen, notice.new))
            peer.liveness.search(now=now)


def _opened(session: Session, sealed: bytes, *, now: float) -> bytes:
    """Return the plaintext of a data message. Raises RemoteError."""
    if not session.may_receive(now=now):
        raise RemoteError(Drop.EXPIRED_SESSION)
    counter = data_counter(sealed)
    nonce = bytes(4) + counter.to_bytes(8, "little")
    try:
        plain = session.opener.decrypt(nonce, sealed[DATA_HEADER:], None)
    except InvalidTag:
        raise RemoteError(Drop.BAD_TAG) from None
    if not session.window.accept(counter):
        raise RemoteError(Drop.REPLAYED)
    return plain
