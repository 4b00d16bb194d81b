"""The SACIP exchange: two state machines for each peer, as tables.

Rule 1: everything that decides which state follows stands in this file; what is done in a state
stands in local_move.py and remote_move.py.
Rule 2: a pair that is missing from a table means that the trigger changes nothing in that state.
Rule 3: the diagrams in docs/protocol.md are drawn from these tables by docs/state_diagrams.py.

The two directions are independent: our moves edit the peer's remote pair, the peer's edit ours.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Protocol, TypeVar

from sacip_tun.protocol.address import Endpoint, Host
from sacip_tun.protocol.events import Event
from sacip_tun.protocol.path import Path
from sacip_tun.protocol.received import Received
from sacip_tun.protocol.speech import Speech
from sacip_tun.protocol.timers import Timer
from sacip_tun.protocol.whereabouts import Whereabouts


class LocalState(Enum):
    """Where we are with our own address."""

    SETTLED = "settled"
    PREPARING = "preparing"
    PREPARED = "prepared"
    CHANGING = "changing"
    HUNTING = "hunting"
    DETACHED = "detached"


class LocalTrigger(Enum):
    """What happens to our own address."""

    STANDBY = "a second usable address"
    STANDBY_LOST = "the second address is gone"
    PREPARE_ACK = "PREPARE acknowledged"
    SWITCH = "the active address is gone, worse or given up"
    CHANGE_ACK = "CHANGE acknowledged"
    NO_ANSWER = "no acknowledgement to any copy"
    PLAIN_PEER = "a plain peer acknowledges nothing"
    NO_ADDRESS = "no usable address left"


class RemoteState(Enum):
    """Where we are with the peer's address."""

    SETTLED = "settled"
    PREPARED = "prepared"
    PROBATION = "probation"
    CHECKING = "checking"


class RemoteTrigger(Enum):
    """What happens to the peer's address."""

    ANNOUNCED = "PREPARE"
    MOVED = "CHANGE, claimed address observed or slot proven"
    MOVED_UNPROVEN = "CHANGE, claimed address not observed"
    STRANGER = "newest packet from an unannounced source"
    PROVEN = "challenge answered from the new address"
    STILL_HERE = "challenge answered from the old address"
    TIME_UP = "no answer in time"


LOCAL_TRANSITIONS: Mapping[tuple[LocalState, LocalTrigger], LocalState] = {
    (LocalState.SETTLED, LocalTrigger.STANDBY): LocalState.PREPARING,
    (LocalState.SETTLED, LocalTrigger.SWITCH): LocalState.CHANGING,
    (LocalState.SETTLED, LocalTrigger.NO_ADDRESS): LocalState.DETACHED,
    (LocalState.PREPARING, LocalTrigger.STANDBY): LocalState.PREPARING,
    (LocalState.PREPARING, LocalTrigger.STANDBY_LOST): LocalState.SETTLED,
    (LocalState.PREPARING, LocalTrigger.PREPARE_ACK): LocalState.PREPARED,
    (LocalState.PREPARING, LocalTrigger.NO_ANSWER): LocalState.SETTLED,
    (LocalState.PREPARING, LocalTrigger.SWITCH): LocalState.CHANGING,
    (LocalState.PREPARING, LocalTrigger.NO_ADDRESS): LocalState.DETACHED,
    (LocalState.PREPARED, LocalTrigger.STANDBY): LocalState.PREPARING,
    (LocalState.PREPARED, LocalTrigger.STANDBY_LOST): LocalState.SETTLED,
    (LocalState.PREPARED, LocalTrigger.SWITCH): LocalState.CHANGING,
    (LocalState.PREPARED, LocalTrigger.NO_ADDRESS): LocalState.DETACHED,
    (LocalState.CHANGING, LocalTrigger.CHANGE_ACK): LocalState.SETTLED,
    (LocalState.CHANGING, LocalTrigger.PLAIN_PEER): LocalState.SETTLED,
    (LocalState.CHANGING, LocalTrigger.NO_ANSWER): LocalState.HUNTING,
    (LocalState.CHANGING, LocalTrigger.SWITCH): LocalState.CHANGING,
    (LocalState.CHANGING, LocalTrigger.NO_ADDRESS): LocalState.DETACHED,
    (LocalState.HUNTING, LocalTrigger.CHANGE_ACK): LocalState.SETTLED,
    (LocalState.HUNTING, LocalTrigger.PLAIN_PEER): LocalState.SETTLED,
    (LocalState.HUNTING, LocalTrigger.SWITCH): LocalState.CHANGING,
    (LocalState.HUNTING, LocalTrigger.NO_ADDRESS): LocalState.DETACHED,
    (LocalState.DETACHED, LocalTrigger.SWITCH): LocalState.CHANGING,
}

REMOTE_TRANSITIONS: Mapping[tuple[RemoteState, RemoteTrigger], RemoteState] = {
    (RemoteState.SETTLED, RemoteTrigger.ANNOUNCED): RemoteState.PREPARED,
    (RemoteState.SETTLED, RemoteTrigger.MOVED_UNPROVEN): RemoteState.PROBATION,
    (RemoteState.SETTLED, RemoteTrigger.STRANGER): RemoteState.CHECKING,
    (RemoteState.PREPARED, RemoteTrigger.MOVED): RemoteState.SETTLED,
    (RemoteState.PREPARED, RemoteTrigger.MOVED_UNPROVEN): RemoteState.PROBATION,
    (RemoteState.PREPARED, RemoteTrigger.STRANGER): RemoteState.CHECKING,
    (RemoteState.PROBATION, RemoteTrigger.MOVED): RemoteState.SETTLED,
    (RemoteState.PROBATION, RemoteTrigger.PROVEN): RemoteState.SETTLED,
    (RemoteState.PROBATION, RemoteTrigger.TIME_UP): RemoteState.SETTLED,
    (RemoteState.CHECKING, RemoteTrigger.ANNOUNCED): RemoteState.PREPARED,
    (RemoteState.CHECKING, RemoteTrigger.MOVED): RemoteState.SETTLED,
    (RemoteState.CHECKING, RemoteTrigger.MOVED_UNPROVEN): RemoteState.PROBATION,
    (RemoteState.CHECKING, RemoteTrigger.STILL_HERE): RemoteState.SETTLED,
    (RemoteState.CHECKING, RemoteTrigger.TIME_UP): RemoteState.SETTLED,
}

State = TypeVar("State", bound=Enum)
Trigger = TypeVar("Trigger", bound=Enum)


def following(
    table: Mapping[tuple[State, Trigger], State], state: State, trigger: Trigger
) -> State:
    """Return the state that follows, `state` itself where the trigger changes nothing."""
    return table.get((state, trigger), state)


class Link(Protocol):
    """What the exchange and its two state machines need of the peer that they belong to."""

    path: Path
    speaks_sacip: bool
    speech: Speech
    where: Whereabouts

    @property
    def key(self) -> bytes:
        """The peer's public key."""

    @property
    def engaged(self) -> bool:
        """Whether the peer matters now: it has a session, or a handshake is under way."""

    @property
    def own_network(self) -> tuple[Host, Host | None] | None:
        """Our address in use and the gateway behind which it is, None where there is none."""

    @property
    def strayed(self) -> bool:
        """Whether the peer is addressed elsewhere than the user said."""

    def can_seal(self, *, now: float) -> bool:
        """Tell whether a session exists under which a frame can be sealed."""

    def received(self) -> tuple[Received, ...]:
        """Return which messages arrived in the current session and the one before it."""

    def recent_bytes(self, *, now: float) -> int:
        """Return how many authenticated bytes the peer sent in the last two seconds, once each."""

    def start_handshake(self, *, now: float, urgent: bool = False) -> None:
        """Begin a handshake; `urgent` does not wait out the 5 s since the last initiation."""

    def path_appeared(self, *, now: float) -> None:
        """The first address of ours that leads to the peer is there."""

    def emit(self, event: Event) -> None:
        """Tell the program that runs us."""

    def arm(self, timer: Timer, deadline: float) -> None:
        """Set a timer of this peer."""

    def disarm(self, timer: Timer) -> None:
        """Stop a timer of this peer."""


class Mover(Link, Protocol):
    """What our own moves need besides: everywhere the peer may be, and everyone who may know."""

    @property
    def own_candidates(self) -> tuple[Host, ...]:
        """The addresses of this host at which any peer may find it, best first."""

    @property
    def strict(self) -> bool:
        """Whether the peer is only where it says that it is."""

    def peer_found(self, remote: Endpoint) -> None:
        """Go over to an address of the peer that has just answered."""

    def carries(self, received: tuple[Received, ...], *, before: float, now: float) -> None:
        """A path carries: send what was lost before `before`, then what waits."""

    def resend_unheard(self, *, now: float) -> None:
        """Send again what went out since the peer was last heard: it may be lost."""
