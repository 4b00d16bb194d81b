"""The reference codec: numpy lays out a batch, `cryptography` seals and opens it.

Where the time goes, in microseconds for one segment of 1,420 bytes (benchmarks/codec.py): 1.4 for
ChaCha20-Poly1305 itself, which is one call a datagram; all the rest of `seal`, or of `open` and
`coalesce` together, costs about as much as that one call, because it is done a batch at a time.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from itertools import compress, groupby, repeat
from struct import Struct
from typing import Final

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from numpy.typing import NDArray

from sacip_tun.datapath import segment
from sacip_tun.datapath.coalesce import Coalescer
from sacip_tun.datapath.codec import OPEN_CAPACITY, Opened, Sealed, SuperPacket
from sacip_tun.datapath.views import Views, slices
from sacip_tun.datapath.vnet import VNET_HEADER, checksum_end
from sacip_tun.protocol.messages import (
    DATA,
    DATA_FORMAT,
    DATA_HEADER,
    MIN_DATA_SIZE,
    TAG,
    padded_length,
)

# The nonce is the counter, little endian, behind four zero bytes (WireGuard 5.4.6).
_NONCE: Final = Struct("<4xQ")

_NOTHING: Final = Sealed(0, 0, 0)
_TOO_SHORT: Final = (0, 0, 0)


class PythonCodec:
    """The `Codec` of this project that needs no compiler; see codec.py for what the calls mean."""

    def __init__(self) -> None:
        self._segmenter = segment.Segmenter()
        self._coalescer = Coalescer()
        self._arena = Views(memoryview(bytearray(OPEN_CAPACITY)))
        # What was asked for last is sealed next: its headers need not be read twice.
        self._parsed: tuple[memoryview | None, segment.Train | None] = (None, None)

    @property
    def malformed(self) -> int:
        """Inner packets that `coalesce` dropped."""
        return self._coalescer.malformed

    def segments(self, superpacket: memoryview) -> int:
        """Return how many counters `seal` will use, 0 for a malformed super-packet."""
        train = segment.parse(superpacket)
        self._parsed = superpacket, train
        return train.segments if train else 0

    def seal(
        self,
        superpacket: memoryview,
        cipher: ChaCha20Poly1305,
        receiver: int,
        first_counter: int,
        mtu: int,
        out: memoryview,
    ) -> Sealed:
        """Segment a super-packet and seal every segment into `out`."""
        before, train = self._parsed
        if before is not superpacket:
            train = segment.parse(superpacket)
        if train is None:
            return _NOTHING
        plaintexts = self._segmenter.segment(superpacket, train, mtu)
        return _encrypt(plaintexts, cipher, receiver, first_counter, out)

    def seal_single(
        self,
        superpacket: memoryview,
        cipher: ChaCha20Poly1305,
        receiver: int,
        counter: int,
        mtu: int,
        out: memoryview,
    ) -> int:
        """Seal one plain packet into `out`."""
        length = len(superpacket) - VNET_HEADER
        if checksum_end(superpacket) > length:
            return 0
        plaintext = self._segmenter.single(superpacket, length, padded_length(length, mtu))
        end = MIN_DATA_SIZE + len(plaintext)
        DATA_FORMAT.pack_into(out, 0, DATA, receiver, counter)
        cipher.encrypt_into(_NONCE.pack(counter), plaintext, None, out[DATA_HEADER:end])
        return end

    def seal_alike(
        self,
        packets: Sequence[memoryview],
        cipher: ChaCha20Poly1305,
        receiver: int,
        first_counter: int,
        mtu: int,
        out: memoryview,
    ) -> Sealed:
        """Seal single packets that are alike into `out`."""
        train = segment.parse(packets[0])
        if train is None or train.protocol:
            return _NOTHING
        plaintexts = self._segmenter.pad_alike(packets, train.size, mtu)
        return _encrypt(plaintexts, cipher, receiver, first_counter, out)

    def open(
        self, buffer: memoryview, segment_size: int, keyring: Mapping[int, ChaCha20Poly1305]
    ) -> list[Opened]:
        """Open the datagrams in `buffer`, `segment_size` bytes each but the last."""
        size = segment_size if 0 < segment_size < len(buffer) else len(buffer)
        opened = []
        for receiver, counters, start, end in _sessions(buffer, size, keyring):
            if receiver is None:
                untouched = [buffer[at : at + size] for at in range(start, end, size)]
                opened.append(Opened(None, [], untouched, 0))
            else:
                places = range(start, end, size)
                opened.append(self._open(receiver, keyring[receiver], counters, buffer, places))
        return opened

    def open_single(
        self, datagram: memoryview, keyring: Mapping[int, ChaCha20Poly1305]
    ) -> tuple[int, int, memoryview] | None:
        """Open one datagram, where it is what it should be."""
        if len(datagram) < MIN_DATA_SIZE:
            return None
        kind, receiver, counter = DATA_FORMAT.unpack_from(datagram)
        cipher = keyring.get(receiver)
        if kind != DATA or cipher is None:
            return None
        packet = self._arena.buffer[: len(datagram) - MIN_DATA_SIZE]
        try:
            cipher.decrypt_into(_NONCE.pack(counter), datagram[DATA_HEADER:], None, packet)
        except InvalidTag:
            return None
        return receiver, counter, packet

    def coalesce(
        self, packets: Sequence[memoryview], *, offload: bool, udp_offload: bool = True
    ) -> list[SuperPacket]:
        """Merge inner packets into few super-packets."""
        return self._coalescer.coalesce(packets, offload=offload, udp_offload=udp_offload)

    def _open(
        self,
        receiver: int,
        cipher: ChaCha20Poly1305,
        counters: list[int],
        buffer: memoryview,
        places: range,
    ) -> Opened:
        """Open a run of datagrams that begin at `places`.

        Each plaintext goes to the arena at the place of its datagram, so nothing overlaps. The last
        datagram may be short: slices end with the buffer, and so must the view of the arena.
        """
        size, count = places.step, len(places)
        cut = slices(count, size, size - DATA_HEADER)
        sealed = list(map(buffer[places.start + DATA_HEADER :].__getitem__, cut))
        arena = self._arena if not places.start else Views(self._arena.buffer[places.start :])
        last = min(size, len(buffer) - places[-1]) - MIN_DATA_SIZE
        packets = arena.cut(count, size, size - MIN_DATA_SIZE, last)
        nonces = list(map(_NONCE.pack, counters))
        try:
            _exhaust(map(cipher.decrypt_into, nonces, sealed, repeat(None), packets))
        except InvalidTag:
            good = list(map(partial(_opens, cipher), nonces, sealed, packets))
            counters = list(compress(counters, good))
            return Opened(receiver, counters, list(compress(packets, good)), good.count(False))
        return Opened(receiver, counters, packets, 0)


def _opens(cipher: ChaCha20Poly1305, nonce: bytes, sealed: memoryview, packet: memoryview) -> bool:
    """Open one datagram; False where it does not authenticate."""
    try:
        cipher.decrypt_into(nonce, sealed, None, packet)
    except InvalidTag:
        return False
    return True


def _exhaust(calls: Iterable[object]) -> None:
    """Make calls that `map` stands for, without a step in Python between two of them."""
    deque(calls, maxlen=0)


def _encrypt(
    plaintexts: list[memoryview],
    cipher: ChaCha20Poly1305,
    receiver: int,
    first_counter: int,
    out: memoryview,
) -> Sealed:
    """Seal plaintexts of one length, the last perhaps shorter, into `out`."""
    count = len(plaintexts)
    size = DATA_HEADER + len(plaintexts[0]) + TAG
    _write_headers(out, size, count, receiver, first_counter)
    end = (count - 1) * size + MIN_DATA_SIZE + len(plaintexts[-1])
    slots = map(out[DATA_HEADER:end].__getitem__, slices(count, size, size - DATA_HEADER))
    nonces = map(_NONCE.pack, range(first_counter, first_counter + count))
    _exhaust(map(cipher.encrypt_into, nonces, plaintexts, repeat(None), slots))
    return Sealed(size, count, end)


def _write_headers(out: memoryview, size: int, count: int, receiver: int, first: int) -> None:
    """Write the WireGuard header of `count` datagrams, `size` bytes apart."""
    if count == 1:
        DATA_FORMAT.pack_into(out, 0, DATA, receiver, first)
        return
    words = _words(out, count, size)
    words[0] = DATA | receiver << 32
    words[1] = np.arange(first, first + count, dtype=np.uint64)


def _sessions(
    buffer: memoryview, size: int, keyring: Mapping[int, ChaCha20Poly1305]
) -> Iterator[tuple[int | None, list[int], int, int]]:
    """Split a buffer into runs of one session: receiver, counters, start and end in the buffer."""
    if size == len(buffer):
        if size:
            yield _session_of_one(buffer, keyring)
        return
    run = _one_session(buffer, size, keyring)
    if run is not None:  # the common case, without a step in Python for each datagram
        yield run
        return
    heads = _heads(buffer, size)
    at = 0
    owner = partial(_owner, keyring)
    for receiver, group in groupby(heads, owner):
        counters = [counter for _, _, counter in group]
        end = min(at + len(counters) * size, len(buffer))
        yield receiver, counters, at, end
        at = end


def _one_session(
    buffer: memoryview, size: int, keyring: Mapping[int, ChaCha20Poly1305]
) -> tuple[int, list[int], int, int] | None:
    """Return what `_sessions` says where all datagrams are of one session, None where not."""
    count = -(-len(buffer) // size)
    if min(size, len(buffer) - (count - 1) * size) < MIN_DATA_SIZE:
        return None
    firsts, counters = _words(buffer, count, size).tolist()
    receiver, kind = divmod(firsts[0], 1 << 32)
    if kind != DATA or receiver not in keyring or firsts.count(firsts[0]) < count:
        return None
    return receiver, counters, 0, len(buffer)


def _words(buffer: memoryview, count: int, size: int) -> NDArray[np.uint64]:
    """Return two rows: type and receiver of each datagram as one word, and its counter."""
    return np.ndarray((2, count), "<u8", buffer, 0, (8, size))


def _session_of_one(
    datagram: memoryview, keyring: Mapping[int, ChaCha20Poly1305]
) -> tuple[int | None, list[int], int, int]:
    """Return what `_sessions` says of a datagram that came alone: nothing need be grouped."""
    if len(datagram) >= MIN_DATA_SIZE:
        kind, receiver, counter = DATA_FORMAT.unpack_from(datagram)
        if kind == DATA and receiver in keyring:
            return receiver, [counter], 0, len(datagram)
    return None, [], 0, len(datagram)


def _owner(keyring: Mapping[int, ChaCha20Poly1305], head: tuple[int, int, int]) -> int | None:
    kind, receiver, _ = head
    return receiver if kind == DATA and receiver in keyring else None


def _heads(buffer: memoryview, size: int) -> list[tuple[int, int, int]]:
    """Return type, receiver and counter of each datagram; zeros for one that is too short."""
    if size < MIN_DATA_SIZE:
        return [_TOO_SHORT] * -(-len(buffer) // size) if size else []
    whole = len(buffer) // size * size
    heads = list(_spaced_header(size).iter_unpack(buffer[:whole]))
    if whole < len(buffer):
        long_enough = len(buffer) - whole >= MIN_DATA_SIZE
        heads.append(DATA_FORMAT.unpack_from(buffer, whole) if long_enough else _TOO_SHORT)
    return heads


@lru_cache(maxsize=64)
def _spaced_header(size: int) -> Struct:
    """Return the header of a data message and the skipped rest of `size` bytes."""
    return Struct(f"{DATA_FORMAT.format}{size - DATA_HEADER}x")
