"""One event as a program gets it: public, frozen, and documented in docs/events.md."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from sacip_tun.agreement import kind_of


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened at one end of a tunnel.

    Each field is None where an event of this kind has no such thing. Endpoints are text,
    `192.0.2.7:51820` or `[2001:db8::7]:51820`.
    """

    kind: str
    """`prepared`, `moved`, `peer moved`, `held`, `degraded`, `recovered`, or another name."""
    interface: str
    time_unix: float
    """When it happened, in seconds since 1970."""
    peer: str | None = None
    """The peer's public key in base64; None where it is about no single peer."""
    side: str | None = None
    """Whose address it is about: `local` or `remote`."""
    old: str | None = None
    """The endpoint that was in use before."""
    new: str | None = None
    """The endpoint that is in use now, or will be."""
    observed: str | None = None
    """The new endpoint as the other end sees it: another one where there is a NAT between."""
    reason: str | None = None
    """Why: `address removed`, `carrier lost`, `requested` and others; for `held`, for what."""
    milliseconds: float | None = None
    """How long it took, or has lasted; docs/events.md says from when to when."""
    make_before_break: bool | None = None
    """Whether the new path was ready before the old one went."""
    released: int | None = None
    """Inner packets that had waited and are sent now."""
    resent: int | None = None
    """Datagrams that were lost on the old path and are sent again."""
    lost: int | None = None
    """Inner packets that had to be dropped."""
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The whole record, as `sacip-tun monitor --json` prints it."""


def event_of(record: Mapping[str, Any], interface: str) -> Event:
    """Read a record; what is not as it should be is None, and stands in `raw`."""
    manner = _text(record, "kind")
    return Event(
        kind=kind_of(record),
        interface=_text(record, "interface") or interface,
        time_unix=_number(record, "time_unix") or 0.0,
        peer=_text(record, "peer"),
        side=_text(record, "side"),
        old=_text(record, "old"),
        new=_text(record, "new"),
        observed=_text(record, "observed"),
        reason=_text(record, "reason") or _text(record, "why"),
        milliseconds=_number(record, "milliseconds"),
        make_before_break=None if manner is None else manner == "make before break",
        released=_count(record, "released"),
        resent=_count(record, "resent"),
        lost=_count(record, "lost"),
        raw=MappingProxyType(dict(record)),
    )


def _text(record: Mapping[str, Any], key: str) -> str | None:
    value = record.get(key)
    return value if isinstance(value, str) else None


def _number(record: Mapping[str, Any], key: str) -> float | None:
    value = record.get(key)
    return value if isinstance(value, int | float) else None


def _count(record: Mapping[str, Any], key: str) -> int | None:
    value = record.get(key)
    return value if isinstance(value, int) else None
