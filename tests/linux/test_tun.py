import errno
import os
import re
import select
import socket
import struct

import pytest

from sacip_tun.linux import tun as tun_module
from sacip_tun.linux.errors import TunError
from sacip_tun.linux.tun import (
    NO_VNET_HEADER,
    SUPERPACKET_CAPACITY,
    VNET_HEADER,
    InterfaceGone,
    Tun,
)

# A kernel's answer to IFF_VNET_HDR and each of the masks, as pytun and fcntl would give it.


@pytest.mark.parametrize(
    "name", ["", "a" * 16, "with space", "sla/sh", ".", "..", "naïve", "tun%d", "new\nline"]
)
def test_a_bad_name_is_refused_before_the_kernel_sees_it(name):
    with pytest.raises(TunError, match="1 to 15 letters"):
        Tun.open(name)


@pytest.mark.parametrize(
    ("number", "advice", "missing"),
    [
        (errno.ENOENT, "--device /dev/net/tun", True),
        (errno.ENODEV, "modprobe tun", True),
        (errno.EPERM, "CAP_NET_ADMIN", True),
        (errno.EACCES, "CAP_NET_ADMIN", True),
        (errno.EBUSY, "choose another name", False),
        (errno.EINVAL, "dmesg", False),
    ],
)
def test_errors_name_their_cure(monkeypatch, number, advice, missing):
    def refuse(**_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(tun_module.pytun, "TunTapDevice", refuse)
    with pytest.raises(TunError) as caught:
        Tun.open("tun7")
    assert advice in caught.value.fix
    assert caught.value.missing is missing


def test_a_missing_device_file_is_recognised(monkeypatch, tmp_path):
    monkeypatch.setattr(tun_module, "DEVICE", tmp_path / "tun")
    with pytest.raises(TunError) as caught:
        Tun.open("tun7")
    assert caught.value.missing


class Pipe:
    """A device of which the test has the other end."""

    name = "lo"

    def __init__(self):
        self.far, self.near = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def fileno(self):
        return self.near.fileno()

    def close(self):
        self.near.close()


@pytest.fixture
def pipe():
    made = Pipe()
    yield made
    made.far.close()
    made.near.close()


def test_without_a_kernel_header_a_zero_one_is_put_in_front_and_taken_off(pipe):
    tun = Tun(pipe, None)
    buffer = memoryview(bytearray(b"\xff" * SUPERPACKET_CAPACITY))
    pipe.far.send(b"packet")
    length = tun.read(buffer)
    assert bytes(buffer[:length]) == NO_VNET_HEADER + b"packet"
    tun.write([NO_VNET_HEADER, b"pac", b"ket"])
    assert pipe.far.recv(99) == b"packet"
    assert not tun.offload


def test_with_a_kernel_header_it_goes_through(pipe):
    tun = Tun(pipe, 0x0F)
    buffer = memoryview(bytearray(SUPERPACKET_CAPACITY))
    pipe.far.send(b"0123456789packet")
    assert bytes(buffer[: tun.read(buffer)]) == b"0123456789packet"
    tun.write([b"0123456789", b"packet"])
    assert pipe.far.recv(99) == b"0123456789packet"
    assert (tun.offload, tun.udp_offload) == (True, False)


@pytest.mark.parametrize(
    ("gso_type", "left"), [(1, (False, True)), (4, (False, True)), (5, (True, False))]
)
def test_a_refused_kind_is_merged_no_more_until_it_is_tried_again(pipe, gso_type, left):
    tun = Tun(pipe, 0x6F)
    tun.refused(gso_type)
    assert (tun.offload, tun.udp_offload) == left
    assert tun.tcp.refusals + tun.udp.refusals == 1
    tun.tcp.retry()
    tun.udp.retry()
    assert (tun.offload, tun.udp_offload) == (True, True)


def refusing(number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    return refuse


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EIO, errno.ENOBUFS, errno.EAGAIN])
def test_a_refused_write_is_told_as_it_is(pipe, monkeypatch, number):
    tun = Tun(pipe, 0x6F)
    monkeypatch.setattr(tun_module.os, "writev", refusing(number))
    with pytest.raises(OSError, match=re.escape(os.strerror(number))):
        tun.write([bytes([0, 1]) + bytes(8), b"packet"])
    assert tun.offload


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EIO, errno.ENOMEM])
def test_what_the_kernel_cannot_hand_over_is_counted_and_is_no_end(
    pipe, monkeypatch, buffer, number
):
    tun = Tun(pipe, 0x6F)
    with monkeypatch.context() as patch:
        patch.setattr(tun_module.os, "readv", refusing(number))
        with pytest.raises(BlockingIOError):
            tun.read(buffer)
    assert tun.unreadable == 1
    pipe.far.send(b"0123456789packet")
    assert tun.read(buffer) == 16


def test_an_empty_device_counts_nothing(pipe, buffer):
    tun = Tun(pipe, 0x6F)
    with pytest.raises(BlockingIOError):
        tun.read(buffer)
    assert tun.unreadable == 0


@pytest.fixture
def tun(namespace):
    """A TUN that is up, in a namespace of its own, with 10.9.0.1/24."""
    opened = Tun.open("sacip0")
    namespace.ip("link set sacip0 addrgenmode none")
    namespace.ip("link set sacip0 up")
    namespace.ip("addr add 10.9.0.1/24 dev sacip0")
    yield opened
    opened.close()


@pytest.fixture
def buffer():
    return memoryview(bytearray(SUPERPACKET_CAPACITY))


@pytest.mark.network
@pytest.mark.usefixtures("namespace")
def test_it_has_a_name_and_an_index_and_disappears_when_closed():
    tun = Tun.open("sacip0")
    assert tun.name == "sacip0"
    assert socket.if_nametoindex("sacip0") == tun.index
    tun.close()
    tun.close()
    with pytest.raises(OSError, match=r"No such device|no interface"):
        socket.if_nametoindex("sacip0")


@pytest.mark.network
@pytest.mark.parametrize("command", ["tuntap add sacip0 mode tun", "link add sacip0 type bridge"])
def test_a_taken_name_says_so(namespace, command):
    namespace.ip(command)
    with pytest.raises(TunError, match="is taken"):
        Tun.open("sacip0")


@pytest.mark.network
def test_an_empty_tun_blocks_nobody(tun, buffer):
    with pytest.raises(BlockingIOError):
        tun.read(buffer)


@pytest.mark.network
def test_a_large_udp_send_arrives_as_one_super_packet(tun, buffer):
    assert tun.offload
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        segment = [(socket.SOL_UDP, 103, struct.pack("=H", 1000))]
        sender.sendmsg([b"x" * 40000], segment, 0, ("10.9.0.2", 9))
    length = tun.read(buffer)
    assert length == VNET_HEADER + 28 + 40000
    assert buffer[1] == 5  # VIRTIO_NET_HDR_GSO_UDP_L4


@pytest.mark.network
def test_without_offload_packets_come_one_by_one(namespace, buffer):
    tun = Tun.open("sacip0", offload=False)
    namespace.ip("link set sacip0 addrgenmode none")
    namespace.ip("link set sacip0 up")
    namespace.ip("addr add 10.9.0.1/24 dev sacip0")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"x" * 100, ("10.9.0.2", 9))
    length = tun.read(buffer)
    assert length == VNET_HEADER + 28 + 100
    assert bytes(buffer[:VNET_HEADER]) == NO_VNET_HEADER
    tun.close()


@pytest.mark.network
@pytest.mark.usefixtures("namespace")
def test_a_kernel_without_offloads_is_opened_again_without_the_header(monkeypatch):
    monkeypatch.setattr(tun_module, "OFFLOADS", (1 << 30,))
    tun = Tun.open("sacip0")
    assert (tun.offload, tun.udp_offload) == (False, False)
    tun.close()


@pytest.mark.network
def test_what_is_written_arrives(tun):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("10.9.0.1", 0))
        receiver.settimeout(5)
        port = receiver.getsockname()[1]
        tun.write([NO_VNET_HEADER, ipv4_udp("10.9.0.2", "10.9.0.1", port, b"hello")])
        assert receiver.recv(99) == b"hello"


def ipv4_udp(source, destination, port, payload):
    """One IPv4 packet; UDP without a checksum, which IPv4 allows (RFC 768)."""
    length = 28 + len(payload)
    ends = socket.inet_aton(source) + socket.inet_aton(destination)
    header = struct.pack("!BBHHHBBH", 0x45, 0, length, 1, 0, 64, 17, 0) + ends
    total = sum(struct.unpack("!10H", header))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    header = header[:10] + struct.pack("!H", ~total & 0xFFFF) + header[12:]
    return header + struct.pack("!HHHH", 9, port, length - 20, 0) + payload


@pytest.mark.network
def test_down_and_up_again_is_no_end(tun, namespace, buffer):
    namespace.ip("link set sacip0 down")
    with pytest.raises(BlockingIOError):
        tun.read(buffer)
    with pytest.raises(OSError, match="Input/output error"):
        tun.write([NO_VNET_HEADER, ipv4_udp("10.9.0.2", "10.9.0.1", 9, b"")])
    namespace.ip("link set sacip0 up")
    tun.write([NO_VNET_HEADER, ipv4_udp("10.9.0.2", "10.9.0.1", 9, b"")])


@pytest.mark.network
def test_deleted_from_outside_is_gone_and_wakes_the_reader(tun, namespace, buffer):
    namespace.ip("link delete sacip0")
    poll = select.poll()
    poll.register(tun.fileno(), select.POLLIN)
    assert poll.poll(5000)
    with pytest.raises(InterfaceGone):
        tun.read(buffer)
    with pytest.raises(InterfaceGone):
        tun.write([NO_VNET_HEADER, b"\x45" + bytes(19)])
