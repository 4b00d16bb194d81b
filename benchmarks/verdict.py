"""What a flow went through: its silences beyond the network's own, and how it ended. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sacip_tun.lab.part import STOPPED
from sacip_tun.lab.stream import Loss

Document = dict[str, Any]
Span = tuple[float, float]
"""From and until, in seconds since 1970."""

# A stream of 100 packets/s that was silent for so long, in seconds, when it was stopped, had not
# come back: a hundred packets in a row.
GONE = 1.0


class Outcome(StrEnum):
    """How a flow ended."""

    HELD = "held"
    """All that was sent came, unchanged; for the stream: it came back."""
    NEVER = "never"
    """It still stood, and nothing came until we stopped waiting."""
    DIED = "died"
    """An end was told by its kernel that the connection is over."""
    CORRUPT = "corrupt"
    """It ended in peace and the bytes are not those that were sent."""


@dataclass(frozen=True)
class Observed:
    """One direction of one flow."""

    name: str
    outcome: Outcome
    silence: float
    """The longest since the move began, in seconds; for keystrokes the longest wait for an echo."""
    beyond: float
    """The longest without the time in which the network was unusable, in seconds."""
    retransmissions: int | None = None
    lost: int | None = None
    lost_beyond: int | None = None
    """Of the lost ones, those that were sent while the network was usable."""
    duplicated: int | None = None
    first_unix: float | None = field(default=None, repr=False)
    bins: tuple[int, ...] = field(default=(), repr=False)


def beyond(span: Span, outages: Sequence[Span]) -> float:
    """Return the part of `span`, in seconds, that lies in none of the disjoint `outages`."""
    since, until = span
    covered = sum(max(0.0, min(until, end) - max(since, start)) for start, end in outages)
    return max(0.0, until - since - covered)


def longest(spans: Sequence[Span], outages: Sequence[Span], move: float) -> tuple[float, float]:
    """Return the longest span that ends after `move`, and the longest beyond the outages."""
    concerned = [(since, until) for since, until in spans if until > move]
    return (
        max((until - since for since, until in concerned), default=0.0),
        max((beyond(span, outages) for span in concerned), default=0.0),
    )


def outcome(sender: Document, receiver: Document) -> Outcome:
    """Tell how a direction of a TCP connection ended."""
    if receiver.get("intact"):
        return Outcome.HELD
    errors = {end["error"] for end in (sender, receiver) if end.get("error") is not None}
    if errors - {STOPPED}:
        return Outcome.DIED
    return Outcome.NEVER if errors else Outcome.CORRUPT


def judge(
    name: str, sender: Document, receiver: Document, outages: Sequence[Span], move: float
) -> Observed:
    """Judge one direction of a TCP connection by what its two ends saw."""
    return Observed(
        name,
        outcome(sender, receiver),
        *longest(receiver.get("silences", ()), outages, move),
        retransmissions=sender.get("retransmissions"),
        first_unix=receiver.get("first_unix"),
        bins=tuple(receiver.get("bins", ())),
    )


def judge_keystrokes(
    client: Document, server: Document, outages: Sequence[Span], move: float
) -> Observed:
    """Judge the round trips that a person at the keyboard waits for."""
    ended = outcome(server, client)
    return Observed(
        "keystrokes",
        ended,
        *longest(client.get("waits", ()), outages, move),
        retransmissions=client.get("retransmissions", 0) + server.get("retransmissions", 0),
    )


def judge_stream(
    client: Document, server: Document, outages: Sequence[Span], move: float
) -> Observed:
    """Judge the one-way stream from the server to the client."""
    sent = server.get("sent_unix", ())
    loss = Loss.between(len(sent), client.get("numbers", ()))
    usable = [number for number in loss.lost if not _within(sent[number], outages)]
    # After the last packet was sent there is nothing to wait for.
    end = sent[-1] if sent else 0.0
    silences = [(since, min(until, end)) for since, until in client.get("silences", ())]
    return Observed(
        "stream",
        Outcome.NEVER if _is_gone(client, sent) else Outcome.HELD,
        *longest(silences, outages, move),
        lost=len(loss.lost),
        lost_beyond=len(usable),
        duplicated=loss.duplicated,
        first_unix=client.get("first_unix"),
        bins=tuple(client.get("bins", ())),
    )


def _is_gone(client: Document, sent: Sequence[float]) -> bool:
    """Tell whether nothing came in the last second of sending."""
    numbers = client.get("numbers", ())
    if not sent or not numbers:
        return True
    return bool(sent[-1] - sent[max(numbers)] >= GONE)


def _within(moment: float, spans: Sequence[Span]) -> bool:
    return any(start <= moment <= end for start, end in spans)
