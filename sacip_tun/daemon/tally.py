"""The tally: how often each thing happened with one peer since the interface is up."""

from dataclasses import asdict, dataclass

from sacip_tun.protocol.events import Event, Moved, MoveRefused, Recovered, Side


@dataclass(slots=True)
class Tally:
    """Counts out of events, for `status`."""

    moves: int = 0
    """Moves of our address that are complete."""
    peer_moves: int = 0
    """Moves of the peer's address that were applied."""
    refused_moves: int = 0
    """Claims and strangers that were not believed: more than a few are an alarm."""
    released: int = 0
    """Inner packets that waited and then went."""
    resent: int = 0
    """Datagrams that were lost on an old path and sent again."""
    lost: int = 0
    """Inner packets that the bounds of what may wait have dropped."""

    def count(self, event: Event) -> None:
        """Take an event into account."""
        if isinstance(event, Moved) and event.side is Side.LOCAL:
            self.moves += 1
        elif isinstance(event, Moved):
            self.peer_moves += 1
        elif isinstance(event, MoveRefused):
            self.refused_moves += 1
        elif isinstance(event, Recovered):
            self.released += event.released
            self.resent += event.resent
            self.lost += event.lost

    def document(self) -> dict[str, int]:
        """Return the counts as they stand in the status document."""
        return asdict(self)
