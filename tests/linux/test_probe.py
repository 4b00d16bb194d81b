"""The probe: what a kernel makes of offloads, and that nothing is concluded from silence."""

import errno
import os
import socket

import pytest

from sacip_tun.linux import probe
from sacip_tun.linux.tun import Tun


@pytest.mark.parametrize("version", [4, 6])
def test_this_kernel_cuts_runs_right(version):
    assert not probe.corrupts_runs(version)


def corrupting(change):
    """A socket class whose kernel sends a run otherwise: `change` gets its datagrams."""

    class Corrupting(socket.socket):
        def sendmsg(self, buffers, _ancillary, _flags, sockaddr):
            data = b"".join(buffers)
            size = probe.SIZE
            for datagram in change([data[at : at + size] for at in range(0, len(data), size)]):
                self.sendto(datagram, sockaddr)

    return Corrupting


@pytest.mark.parametrize(
    ("change", "corrupts"),
    [
        (lambda run: run, False),
        (lambda run: [*run[:-1], run[-1][:-1] + bytes([run[-1][-1] ^ 1])], True),
        (lambda run: [*run[:-1], run[-1][:-8]], True),
        (lambda run: [b"".join(run)], True),  # before Linux 4.18 nobody reads UDP_SEGMENT
        (lambda run: run[:-1], False),
        (lambda _run: [], False),
    ],
    ids=["as it was", "a wrong bit", "a wrong length", "not cut", "one lost", "all lost"],
)
def test_wrong_bytes_are_seen_and_nothing_is_concluded_from_loss(monkeypatch, change, corrupts):
    monkeypatch.setattr(probe.socket, "socket", corrupting(change))
    assert probe.corrupts_runs(4) is corrupts


@pytest.mark.parametrize("number", [errno.EIO, errno.EINVAL, errno.ENETUNREACH, errno.EPERM])
def test_a_refusal_on_loopback_is_no_corruption(monkeypatch, number):
    class Refusing(socket.socket):
        def sendmsg(self, *_):
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(probe.socket, "socket", Refusing)
    assert not probe.corrupts_runs(4)


class Device:
    """A TUN whose kernel refuses some kinds of merged packets, and says that it is down else."""

    def __init__(self, *refused: int, number: int = errno.EINVAL) -> None:
        self.offload = self.udp_offload = True
        self.refuses = refused
        self.number = number
        self.written: list[bytes] = []
        self.told: list[int] = []

    def write(self, parts):
        self.written.append(b"".join(parts))
        number = self.number if parts[0][1] in self.refuses else errno.EIO
        raise OSError(number, os.strerror(number))

    def refused(self, gso_type):
        self.told.append(gso_type)
        if gso_type == 5:
            self.udp_offload = False
        else:
            self.offload = False


@pytest.mark.parametrize(
    ("refused", "told"), [((), []), ((1,), [1]), ((4,), [4]), ((1, 4), [1]), ((5,), [5])]
)
def test_a_refused_kind_is_told_once(refused, told):
    device = Device(*refused)
    probe.try_merged(device)
    assert device.told == told


def test_no_memory_is_no_refusal():
    device = Device(1, 4, 5, number=errno.ENOBUFS)
    probe.try_merged(device)
    assert device.told == []
    assert len(device.written) == 4


def test_what_is_not_used_is_not_tried():
    device = Device()
    device.offload = device.udp_offload = False
    probe.try_merged(device)
    assert device.written == []


def test_nobody_forwards_what_is_tried():
    device = Device()
    probe.try_merged(device)
    for packet in device.written:
        inner = packet[10:]
        assert inner[8 if inner[0] >> 4 == 4 else 7] == 0


@pytest.mark.network
def test_this_kernel_takes_every_kind_and_nothing_comes_in(namespace):
    tun = Tun.open("sacip0")
    probe.try_merged(tun)
    assert (tun.offload, tun.udp_offload) == (True, True)
    assert (tun.tcp.refusals, tun.udp.refusals) == (0, 0)
    counted = namespace.ip("-s link show dev sacip0").splitlines()[3]
    assert counted.split()[:2] == ["0", "0"]
    tun.close()


@pytest.mark.network
@pytest.mark.usefixtures("namespace")
def test_this_kernel_tells_a_wrong_header_while_the_interface_is_down(monkeypatch):
    """What the probe relies on: EINVAL before EIO."""
    monkeypatch.setattr(probe, "CSUM_OFFSETS", {6: 15, 17: 7})
    tun = Tun.open("sacip0")
    probe.try_merged(tun)
    assert tun.udp.refusals == 1
    tun.close()
