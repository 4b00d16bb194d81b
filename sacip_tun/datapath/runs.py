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
    Candidate,
    Facts,
    examine,
    pseudo_header,
    same_bytes,
)
from sacip_tun.datapath.packet import IPV4_HEADER, inner_length

# Below this, numpy's fixed cost is more than that of comparing one by one.
_MIN_ROWS: Final = 6


class Run(NamedTuple):
    """One packet or more, every one `length` bytes without its padding; 0 if malformed.

    More than one means that all are intact and each continues the one before; `facts` are those of
    the first.
    """

    packets: Sequence[memoryview]
    length: int
    facts: Facts


def runs(packets: Sequence[memoryview]) -> Iterator[Run]:
    """Split a batch into runs, in order."""
    for _, stretch in groupby(packets, len):
        yield from _runs_of_stretch(list(stretch))


def _runs_of_stretch(stretch: list[memoryview]) -> Iterator[Run]:
    """Split packets that have one length, padding included."""
    joined: list[bool] = []
    position = 0
    while position < len(stretch):
        packet, end = stretch[position], position + 1
        length = inner_length(packet)
        facts = examine(packet, length) if length else Facts(None, None)
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

    Only packets with the same layout as `first` (versions, header lengths, length) are looked at.
    """
    rows = _rows(stretch)
    heads = rows[:, : first.headers]
    layout = _layout(first.version, first.protocol)
    good = _alike(heads[:, layout], heads[0, layout]) & _intact(rows, first)
    masked = heads & _mask(first.version, first.protocol, first.headers)
    joined: NDArray[np.bool_] = _alike(masked[1:], masked[:-1]) & good[1:] & good[:-1]
    if first.version == 4:
        joined &= _identifications_follow(heads)
    if first.protocol == TCP:
        joined &= _sequences_follow(heads, first)
    else:
        checksummed = _numbers(heads[:, -2:], ">u2") != 0
        joined &= checksummed[1:] == checksummed[:-1]
    return [False, *joined.tolist(), False]


def _rows(stretch: list[memoryview]) -> NDArray[np.uint8]:
    """Join packets of one length to an (n, even width) matrix.

    The copy is cheaper than n views in numpy, and it makes all rows aligned.
    """
    odd = b"\0" if len(stretch[0]) & 1 else b""
    joined = odd.join([*stretch, b""]) if odd else b"".join(stretch)
    return np.frombuffer(joined, np.uint8).reshape(len(stretch), -1)


def _alike(rows: NDArray[np.uint8], others: NDArray[np.uint8]) -> NDArray[np.bool_]:
    alike: NDArray[np.bool_] = np.logical_and.reduce(rows == others, axis=1)
    return alike


def _intact(rows: NDArray[np.uint8], first: Candidate) -> NDArray[np.bool_]:
    """Verify the checksums of rows that have the layout of `first`."""
    sums = row_sums(rows[:, ADDRESSES[first.version] : first.length])
    good: NDArray[np.bool_] = (sums + pseudo_header(first)) % MODULUS == 0
    if not first.checksummed:
        good |= _numbers(rows[:, first.headers - 2 : first.headers], ">u2") == 0
    if first.version == 4:
        good &= row_sums(rows[:, :IPV4_HEADER]) == 0
    return good


def _identifications_follow(heads: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Tell for each row but the first whether its IPv4 identification counts up, or is free."""
    identifications = _numbers(heads[:, 4:6], ">u2")
    atomic: NDArray[np.bool_] = heads[1:, 6] & 0x40 != 0
    atomic |= np.equal(identifications[1:], identifications[:-1] + np.uint16(1))
    return atomic


def _sequences_follow(heads: NDArray[np.uint8], first: Candidate) -> NDArray[np.bool_]:
    """Tell for each row but the first whether its data follows that of a row without PSH."""
    at = first.transport
    sequences = _numbers(heads[:, at + 4 : at + 8], ">u4")
    follows: NDArray[np.bool_] = sequences[1:] == sequences[:-1] + np.uint32(first.payload)
    follows &= heads[:-1, at + FLAGS] & PSH == 0
    return follows


def _numbers(columns: NDArray[np.uint8], kind: str) -> NDArray[np.unsignedinteger]:
    """Return one native number a row; arithmetic wraps as the protocols' numbers do."""
    numbers = np.ascontiguousarray(columns).view(kind)[:, 0]
    return numbers.astype(numbers.dtype.newbyteorder("="))


@lru_cache(maxsize=256)
def _mask(version: int, protocol: int, headers: int) -> NDArray[np.uint8]:
    return np.frombuffer(same_bytes(version, protocol, headers), np.uint8)


@lru_cache(maxsize=4)
def _layout(version: int, protocol: int) -> list[int]:
    """Return the places that say where everything else is: version, length, protocol, offset."""
    places = [0, 2, 3, 9] if version == 4 else [0, 4, 5, 6]
    offset = [32 if version == 4 else 52]
    return places + offset if protocol == TCP else places
