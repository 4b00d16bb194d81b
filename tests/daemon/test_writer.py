"""Every refusal of the TUN: nothing is lost but what cannot be written, and nothing comes twice."""

import errno
import os
from collections import Counter

import pytest
from datapath.superpackets import FLOWS, payload_of
from hypothesis import given, settings
from hypothesis import strategies as st

from sacip_tun.daemon.writer import Writer
from sacip_tun.datapath.coalesce import Coalescer
from sacip_tun.linux.offload import REFUSALS
from sacip_tun.linux.tun import InterfaceGone
from sacip_tun.protocol.errors import Drop

PLAIN = bytes(10)
ERRORS = [
    errno.EINVAL, errno.EMSGSIZE, errno.EOPNOTSUPP,
    errno.ENOBUFS, errno.ENOMEM, errno.EAGAIN, errno.EIO,
]  # fmt: skip


class Device:
    """A TUN whose kernel gives these errors, one for each write, and takes what comes then.

    `merged` is the error that every merged packet gets.
    """

    def __init__(self, merged: int = 0, answers: tuple[int, ...] = ()) -> None:
        self.merged = merged
        self.answers = list(answers)
        self.taken: list[bytes] = []
        self.told: list[int] = []

    def write(self, parts) -> None:
        data = b"".join(parts)
        number = self.merged if data[1] else 0
        if not number and self.answers:
            number = self.answers.pop(0)
        if number:
            raise OSError(number, os.strerror(number))
        self.taken.append(data)

    def refused(self, gso_type: int) -> None:
        self.told.append(gso_type)


def merged(flow, count: int = 6, size: int = 1000):
    """A merged packet and the packets that it was made of."""
    packets = flow.segments(payload_of(count * size - 300), size)
    (superpacket,) = Coalescer().coalesce([memoryview(packet) for packet in packets], offload=True)
    assert len(superpacket.parts) == count + 2
    return superpacket.parts, packets


def written(device: Device, parts) -> Counter:
    drops: Counter[Drop] = Counter()
    Writer(device, drops).write(parts)
    return drops


@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize("number", sorted(REFUSALS - {errno.EIO}))
def test_the_packets_of_a_refused_merged_one_are_written_one_by_one_at_once(flow, number):
    parts, packets = merged(flow)
    device = Device(merged=number)
    assert written(device, parts) == {}
    assert device.taken == [PLAIN + packet for packet in packets]
    assert device.told == [parts[0][1]]


@pytest.mark.parametrize("number", [errno.ENOBUFS, errno.ENOMEM])
def test_no_memory_for_all_in_one_piece_is_no_reason_to_merge_no_more(number):
    parts, packets = merged(FLOWS[0])
    device = Device(merged=number)
    assert written(device, parts) == {}
    assert device.taken == [PLAIN + packet for packet in packets]
    assert device.told == []


@pytest.mark.parametrize(
    ("number", "reason"), [(errno.EIO, Drop.INTERFACE_DOWN), (errno.EAGAIN, Drop.NO_MEMORY)]
)
def test_what_one_by_one_would_not_mend_is_dropped_and_each_packet_counted(number, reason):
    parts, packets = merged(FLOWS[0])
    device = Device(merged=number)
    assert written(device, parts) == {reason: len(packets)}
    assert device.taken == device.told == []


def test_merging_is_not_at_fault_where_the_packets_are_refused_too():
    parts, packets = merged(FLOWS[0])
    device = Device(merged=errno.EINVAL, answers=(errno.EINVAL,) * len(packets))
    assert written(device, parts) == {Drop.WRITE_FAILED: len(packets)}
    assert device.told == []


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.EINVAL, Drop.WRITE_FAILED),
        (errno.EMSGSIZE, Drop.WRITE_FAILED),
        (errno.EPERM, Drop.WRITE_FAILED),
        (errno.EIO, Drop.INTERFACE_DOWN),
        (errno.ENOBUFS, Drop.NO_MEMORY),
        (errno.ENOMEM, Drop.NO_MEMORY),
        (errno.EAGAIN, Drop.NO_MEMORY),
    ],
)
def test_a_single_packet_is_dropped_and_the_reason_counted(number, reason):
    device = Device(answers=(number,))
    packet = FLOWS[0].packet(b"data")
    assert written(device, [PLAIN, memoryview(packet)]) == {reason: 1}
    assert device.told == []


def test_a_tun_that_is_gone_is_told():
    class Gone:
        def write(self, _parts):
            raise InterfaceGone("sacip0")

    with pytest.raises(InterfaceGone):
        written(Gone(), [PLAIN, b"E"])


@settings(max_examples=60, deadline=None)
@given(
    flow=st.sampled_from(FLOWS),
    count=st.integers(2, 40),
    number=st.sampled_from([0, *ERRORS]),
    answers=st.lists(st.sampled_from([0, *ERRORS]), max_size=30),
)
def test_every_packet_is_written_once_or_counted_once_and_in_order(flow, count, number, answers):
    parts, packets = merged(flow, count, size=400)
    device = Device(merged=number, answers=tuple(answers))
    drops = written(device, parts)
    if any(data[1] for data in device.taken):
        assert device.taken == [b"".join(parts)]
        assert drops == {}
        return
    assert len(device.taken) + sum(drops.values()) == len(packets)
    rest = iter(PLAIN + packet for packet in packets)
    assert all(data in rest for data in device.taken)
