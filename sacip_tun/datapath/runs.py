"""Runs: packets that follow each other in a batch as the segments of one train.

A batch of received packets normally is a piece of one TCP flow: equal lengths, and sequence numbers
that count up. So packets of equal length are joined to a matrix with one row a packet, and numpy
asks of all rows at once: does this row continue the one before, and are both intact?
What is no such batch (short, mixed, corrupt) comes out as runs of one packet, which coalesce.py
then compares one by one, by the same rules.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sacip_tun.datapath.checksum import MODULUS, row_sums
from sacip_tun.datapath.codec import MAX_COALESCED, MAX_PACKET
from sacip_tun.datapath.flow import (
    ADDRESSES,
    FLAGS,
    PSH,
    TCP,
    UDP,
    Candidate,
    Facts,
    examine,
    pseudo_header,
    same_bytes,
)
from sacip_tun.datapath.packet import IPV4_HEADER, IPV6_HEADER, inner_length

# Below this, numpy's fixed cost is more than that of comparing one by one.
_MIN_ROWS: Final = 6

_STEPS: Final = np.arange(MAX_PACKET, dtype=np.uint32)

# Places that say how to normalise the others: version, length, DF, protocol, TCP data offset.
_LAYOUT: Final = {
    (4, TCP): [0, 2, 3, 6, 9, 32],
    (4, UDP): [0, 2, 3, 6, 9],
    (6, TCP): [0, 4, 5, 6, 52],
    (6, UDP): [0, 4, 5, 6],
}


class Run(NamedTuple):
    """One packet or more, every one `length` bytes without its padding; 0 if malformed.

    More than one means that all are intact and each continues the one before; `facts` are those of
    the first.
    """

    packets: Sequence[memoryview]
    length: int
    facts: Facts


def runs(packets: Sequence[memoryview], *, udp: bool = True) -> Iterator[Run]:
    """Split a batch into runs, in order. Without `udp`, UDP packets are no candidates."""
    for _, stretch in groupby(packets, len):
        yield from _runs_of_stretch(list(stretch), udp=udp)


def _runs_of_stretch(stretch: list[memoryview], *, udp: bool) -> Iterator[Run]:
    """Split packets that have one length, padding included."""
    joined: list[bool] = []
    position = 0
    while position < len(stretch):
        packet, end = stretch[position], position + 1
        length = inner_length(packet)
        facts = examine(packet, length) if length else Facts(None, None)
        if facts.candidate and not udp and facts.candidate.protocol == UDP:
            facts = Facts(facts.connection, None)
        if facts.candidate:
            if not joined and len(stretch) - position >= _MIN_ROWS:
                joined = [False] * position + _continuations(stretch[position:], facts.candidate)
            if joined:
                end = min(joined.index(False, end), position + _room(facts.candidate))
        yield Run(stretch[position:end], length, facts)
        position = end


def _room(candidate: Candidate) -> int:
    """Return how many packets of this size one super-packet takes."""
    return max(1, min(MAX_COALESCED, (MAX_PACKET - candidate.headers) // candidate.payload))


def _continuations(stretch: list[memoryview], first: Candidate) -> list[bool]:
    """Tell for each packet whether it continues the one before, and one False behind the last.

    Only packets with the same layout as `first` are looked at.
    """
    rows = _rows(stretch)
    good = _intact(rows, first)
    alike = _alike(_normalised(rows, first), first)
    joined: NDArray[np.bool_] = alike & good[1:] & good[:-1]
    if first.protocol == TCP:
        joined &= rows[:-1, first.transport + FLAGS] & PSH == 0
    else:
        checksummed = _column(rows, first.transport + 6, ">u2") != 0
        joined &= checksummed[1:] == checksummed[:-1]
    return [False, *joined.tolist(), False]


def _rows(stretch: list[memoryview]) -> NDArray[np.uint8]:
    """Join packets of one length to an (n, even width) matrix.

    The copy is cheaper than n views in numpy, and it makes all rows aligned.
    """
    odd = b"\0" if len(stretch[0]) & 1 else b""
    joined = odd.join([*stretch, b""]) if odd else b"".join(stretch)
    return np.frombuffer(joined, np.uint8).reshape(len(stretch), -1)


def _normalised(rows: NDArray[np.uint8], first: Candidate) -> NDArray[np.uint8]:
    """Return the headers as they would be at the place of the first row, were all rows one train.

    What differs by its nature (checksums, PSH, an identification that nobody uses) is blanked; what
    counts up is counted back. So the rows of a train are equal.
    """
    heads = rows[:, : first.headers] & _mask(
        first.version, first.protocol, first.headers, atomic=first.atomic
    )
    if first.protocol == TCP:
        steps = _STEPS[: len(rows)] * np.uint32(first.payload)
        _column(heads, first.transport + 4, ">u4")[...] -= steps
    if not first.atomic:
        _column(heads, 4, ">u2")[...] -= _STEPS[: len(rows)].astype(np.uint16)
    return heads


def _alike(heads: NDArray[np.uint8], first: Candidate) -> NDArray[np.bool_]:
    """Tell for each row but the first whether it and the one before are equal.

    A row whose layout is not that of `first` was not normalised by its own measure, so it is like
    no other.
    """
    flat = heads.tobytes()
    if flat == flat[: heads.shape[1]] * len(heads):  # the common case: one train
        return np.ones(len(heads) - 1, np.bool_)
    layout = _LAYOUT[first.version, first.protocol]
    known: NDArray[np.bool_] = np.logical_and.reduce(heads[:, layout] == heads[0, layout], axis=1)
    alike: NDArray[np.bool_] = np.logical_and.reduce(heads[1:] == heads[:-1], axis=1)
    alike &= known[1:] & known[:-1]
    return alike


def _intact(rows: NDArray[np.uint8], first: Candidate) -> NDArray[np.bool_]:
    """Verify the checksums of rows that have the layout of `first`."""
    sums = row_sums(rows[:, ADDRESSES[first.version] : first.length])
    good: NDArray[np.bool_] = (sums + pseudo_header(first)) % MODULUS == 0
    if not first.checksummed:
        good |= _column(rows, first.transport + 6, ">u2") == 0
    if first.version == 4:
        good &= row_sums(rows[:, :IPV4_HEADER]) % MODULUS == 0
    return good


def _column(rows: NDArray[np.uint8], at: int, kind: str) -> NDArray[np.unsignedinteger]:
    """Return a view of one number a row, `at` bytes from where it begins."""
    return np.ndarray((len(rows),), kind, rows, at, rows.strides[:1])


@lru_cache(maxsize=256)
def _mask(version: int, protocol: int, headers: int, *, atomic: bool) -> NDArray[np.uint8]:
    """Return `same_bytes`, with 255 also for lengths, and for what is counted back."""
    mask = np.frombuffer(same_bytes(version, protocol, headers), np.uint8).copy()
    transport = IPV4_HEADER if version == 4 else IPV6_HEADER
    mask[2:4] = 0xFF  # IPv4 length
    mask[4:6] = 0 if version == 4 and atomic else 0xFF  # identification, IPv6 length
    width = 4 if protocol == TCP else 2  # sequence, UDP length
    mask[transport + 4 : transport + 4 + width] = 0xFF
    return mask
