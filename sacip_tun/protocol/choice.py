"""The choice among this host's addresses: which of them lead to the peer, and which is best."""

from sacip_tun.protocol.address import Endpoint, Host
from sacip_tun.protocol.facts import Source
from sacip_tun.protocol.frames import Reason
from sacip_tun.protocol.suspects import Suspects


class Choice:
    """The usable sources towards one peer, best first.

    `pinned` is an address that the user or the peer chose: it is not left for one that routing
    prefers. `suspects` are addresses whose path died lately.
    """

    __slots__ = (
        "pinned",
        "sources",
        "suspects",
    )

    def __init__(self) -> None:
        self.sources: tuple[Source, ...] = ()
        self.pinned: Host | None = None
        self.suspects = Suspects()

    def of(self, endpoint: Endpoint | None) -> Source | None:
        """Return the source that has the address of `endpoint`."""
        for source in self.sources:
            if endpoint is not None and source.endpoint.host == endpoint.host:
                return source
        return None

    def steered(self, local: Endpoint) -> Endpoint:
        """Return where to send from so that it leaves by the interface of this address."""
        source = self.of(local)
        return source.endpoint if source is not None else local

    def best(self) -> Source:
        """Return the best source; there must be one."""
        return min(self.sources, key=self._demerit)

    def best_beside(self, mine: Source) -> Source | None:
        """Return the best of the others."""
        others = [source for source in self.sources if source is not mine]
        return min(others, key=self._demerit, default=None)

    def preference(self, mine: Source, other: Source) -> Reason | None:
        """Why `other` is better than `mine`; None where it is not."""
        if mine.deprecated != other.deprecated:
            return Reason.ADDRESS_DEPRECATED if mine.deprecated else None
        other_way = other.interface != mine.interface
        better = other.preferred and not mine.preferred
        free = self.pinned != mine.endpoint.host and other.endpoint.host not in self.suspects
        return Reason.ROUTE_CHANGED if better and other_way and free else None

    def _demerit(self, source: Source) -> tuple[bool, bool, bool]:
        suspect = source.endpoint.host in self.suspects
        return (source.deprecated, suspect, not source.preferred)
