"""One outer path to a peer: where from, where to, its round trip time, what it may carry."""

from sacip_tun.protocol.address import AddressPair, Endpoint, Host

# Without a sample a round trip is assumed to take this long, in seconds (RFC 6298 2.1).
INITIAL_RTT = 1.0
# Weight of a new sample (RFC 6298 2.3).
RTT_GAIN = 0.125
# Longer round trips count as this long, in seconds: no peer holds a verdict up by answering late.
SLOWEST_RTT = 1.0
# An address that was not proven may be sent three times what came from it (RFC 9000 8.1).
AMPLIFICATION_LIMIT = 3
# Credit in bytes for an unproven address that an authenticated peer moved to: a full TCP window of
# a moderate flow, so that a move through a NAT does not stall while the challenge is under way.
MAX_CREDIT = 64 * 1024
# How long a peer may take to answer a challenge: max(3 RTT, 1 s) (RFC 9853 T; RFC 9000 8.2.4).
MIN_VALIDATION_TIME = 1.0


class Path:
    """Both address pairs, the round trip time and the byte budget of an unproven remote address.

    `local` holds our two addresses (deck: sac_rcv_saddr[2], sac_rcv_saddr_act), `remote` the peer's
    (sac_daddr[2], sac_daddr_act). Each is replaced whole, in one assignment. `exhausted` tells that
    the budget did not suffice for what was to be sent last.
    """

    __slots__ = ("_budget", "exhausted", "local", "observed", "remote", "rtt")

    def __init__(self, remote: Endpoint | None) -> None:
        self.local = AddressPair()
        self.remote = AddressPair.of(remote)
        self.observed: Endpoint | None = None
        self.rtt: float | None = None
        self._budget: int | None = None
        self.exhausted = False

    @property
    def matched(self) -> bool:
        """Whether both ends are known and of one family, so that something can be sent."""
        local, remote = self.local.active, self.remote.active
        return remote is not None and (local is None or type(local.host) is type(remote.host))

    @property
    def pair(self) -> tuple[Endpoint | None, Endpoint | None]:
        """The two addresses in use, ours and the peer's."""
        return self.local.active, self.remote.active

    def own_host(self, default: Endpoint) -> Host:
        """Return our address in use, that of `default` where the kernel chooses."""
        return (self.local.active or default).host

    @property
    def behind_nat(self) -> bool | None:
        """Whether the peer sees us elsewhere than we are, or another port; None: not known yet."""
        mine, seen = self.local.active, self.observed
        return None if mine is None or seen is None else mine.same_place != seen.same_place

    def sampled(self, seconds: float) -> None:
        """Take a measured round trip into the smoothed time."""
        seconds = min(max(seconds, 0.0), SLOWEST_RTT)
        self.rtt = seconds if self.rtt is None else self.rtt + RTT_GAIN * (seconds - self.rtt)

    def round_trips(self, count: float, at_least: float) -> float:
        """Return the time of `count` round trips, no less than `at_least` seconds."""
        return max(at_least, count * (INITIAL_RTT if self.rtt is None else self.rtt))

    def limit(self, credit: int) -> None:
        """Start a byte budget: the active remote address is not proven."""
        self._budget = min(credit, MAX_CREDIT)
        self.exhausted = False

    @property
    def limited(self) -> bool:
        """Whether the active remote address is not proven."""
        return self._budget is not None

    def lift_limit(self) -> None:
        """End the byte budget: the address is proven, or given up."""
        self._budget = None
        self.exhausted = False

    def received(self, length: int) -> None:
        """Account bytes that came from the active remote address."""
        if self._budget is not None:
            self._budget += AMPLIFICATION_LIMIT * length
            self.exhausted = False

    def affords(self, length: int) -> bool:
        """Tell whether the budget suffices for `length` bytes, and spend nothing."""
        return self._budget is None or length <= self._budget

    def may_carry(self, length: int) -> bool:
        """Spend `length` bytes of the budget; False where it does not suffice."""
        if self._budget is None:
            return True
        if length > self._budget:
            self.exhausted = True
            return False
        self._budget -= length
        return True
