"""Splitting a load between two packets: a part leaves first, or its first packet is given up.

A train says the length of its segments itself, so that a part of it is a train as well: with the
same headers, another length, and the sequence number of its first segment.
"""

from struct import Struct
from typing import Final

from sacip_tun.datapath.checksum import MODULUS, finished, word_sum
from sacip_tun.datapath.load import Load
from sacip_tun.datapath.packet import IPV6_HEADER
from sacip_tun.datapath.segment import Train, parse
from sacip_tun.datapath.vnet import VNET_HEADER

_TCP: Final = 6
_CHECKSUM: Final = {6: 16, 17: 6}
_FLAGS: Final = 13
_FIN_PSH: Final = 0x09
_CWR: Final = 0x80
_WORD: Final = Struct(">H")
_LONG: Final = Struct(">I")


def without_first(load: Load) -> Load | None:
    """Give up the first packet of a load; None where nothing is left. The buffer is changed."""
    if len(load.packets) > 1:
        return _of(load, load.packets[1:])
    train = parse(load.packets[0])
    if train is None or train.segments == 1:
        return None
    return _of(load, [_behind(load.packets[0], train, 1)])


def split(load: Load, at_most: int) -> tuple[Load, Load | None]:
    """Return a load of about `at_most` bytes, one packet at least, and the rest; None for nothing.

    The first is a copy where it is a part of a train; the rest stays in the buffer.
    """
    if load.length <= at_most:
        return load, None
    count = len(load.packets)
    if count > 1:
        first = max(1, at_most // (load.length // count))
        return _of(load, load.packets[:first]), _of(load, load.packets[first:])
    train = parse(load.packets[0])
    first = max(1, (at_most - train.headers) // train.size) if train else 1
    if train is None or first >= train.segments:
        return load, None
    head = _before(load.packets[0], train, first)
    return _of(load, [head]), _of(load, [_behind(load.packets[0], train, first)])


def _of(load: Load, packets: list[memoryview]) -> Load:
    length = sum(map(len, packets)) - VNET_HEADER * len(packets)
    return Load(load.flow, load.destination, packets, length, load.since)


def _before(superpacket: memoryview, train: Train, segments: int) -> memoryview:
    """Return a copy of the first segments of a train."""
    part = memoryview(bytearray(superpacket[: VNET_HEADER + train.headers + segments * train.size]))
    packet = part[VNET_HEADER:]
    _resize(packet, train, len(superpacket) - len(part))
    if train.protocol == _TCP:
        packet[train.transport + _FLAGS] &= ~_FIN_PSH & 0xFF
    return part


def _behind(superpacket: memoryview, train: Train, segments: int) -> memoryview:
    """Return what follows the first segments; its headers are written over the end of those."""
    skipped = segments * train.size
    rest = superpacket[skipped:]
    headers = bytes(superpacket[: VNET_HEADER + train.headers])
    rest[: len(headers)] = headers
    packet = rest[VNET_HEADER:]
    if train.version == 4:
        (identification,) = _WORD.unpack_from(packet, 4)
        _WORD.pack_into(packet, 4, (identification + segments) & 0xFFFF)
    if train.protocol == _TCP:
        (sequence,) = _LONG.unpack_from(packet, train.transport + 4)
        _LONG.pack_into(packet, train.transport + 4, (sequence + skipped) & 0xFFFFFFFF)
        packet[train.transport + _FLAGS] &= ~_CWR & 0xFF
    _resize(packet, train, skipped)
    return rest


def _resize(packet: memoryview, train: Train, shorter: int) -> None:
    """Write the lengths of a train that is `shorter` by so many bytes, and mend the checksums."""
    if train.version == 4:
        _WORD.pack_into(packet, 2, len(packet))
        _WORD.pack_into(packet, 10, 0)
        _WORD.pack_into(packet, 10, finished(word_sum(packet[: train.transport])))
    else:
        _WORD.pack_into(packet, 4, len(packet) - IPV6_HEADER)
    if train.protocol != _TCP:
        _WORD.pack_into(packet, train.transport + 4, len(packet) - train.transport)
    # The pseudo-header holds the length as well; of a train its sum stands in the checksum field.
    at = train.transport + _CHECKSUM[train.protocol]
    (pseudo_sum,) = _WORD.unpack_from(packet, at)
    _WORD.pack_into(packet, at, (pseudo_sum - shorter) % MODULUS)
