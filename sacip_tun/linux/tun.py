"""The TUN interface: whole super-packets in and out, each behind a 10-byte virtio_net_hdr.

With IFF_VNET_HDR and TUNSETOFFLOAD the kernel hands over up to 64 KB of one TCP or UDP flow in one
read, and takes as much in one write. Where a kernel has no such header, this file puts a zero one
in front on read and drops it on write, so that the rooms above know only one shape.
"""

import errno
import fcntl
import os
import re
import socket
from collections.abc import Sequence
from pathlib import Path
from struct import Struct
from typing import Protocol, Self

import pytun

from sacip_tun.linux.errors import TunError
from sacip_tun.linux.offload import Switch

# virtio_net_hdr (linux/virtio_net.h): flags, gso_type, hdr_len, gso_size, csum_start, csum_offset.
VNET_HEADER = 10
NO_VNET_HEADER = bytes(VNET_HEADER)
# A virtio_net_hdr and the longest IP packet, in bytes.
SUPERPACKET_CAPACITY = VNET_HEADER + 65535

DEVICE = Path("/dev/net/tun")
# wg-quick's rule for interface names; IFNAMSIZ is 16 with its final zero.
NAME = re.compile(r"[a-zA-Z0-9_=+.-]{1,15}")

# linux/if_tun.h
TUNSETOFFLOAD, TUNGETIFF = 0x400454D0, 0x800454D2
# struct ifreq: a name, and here its flags.
IFREQ = Struct("=16sH22x")
TUN_F_CSUM, TUN_F_TSO4, TUN_F_TSO6, TUN_F_TSO_ECN = 1, 2, 4, 8
TUN_F_USO4, TUN_F_USO6 = 0x20, 0x40
USO = TUN_F_USO4 | TUN_F_USO6
# In falling order: Linux 6.2 has USO; 2.6.27 has the rest (datapath.md 3).
OFFLOADS = (
    USO | TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN,
    TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN,
    TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6,
)
VIRTIO_NET_HDR_GSO_UDP_L4 = 5

Buffer = bytes | bytearray | memoryview


class Device(Protocol):
    """What is open: python-pytun's, or a descriptor that somebody else opened."""

    @property
    def name(self) -> str:
        """The interface's name."""

    def fileno(self) -> int:
        """Return the descriptor."""

    def close(self) -> None:
        """Close it."""


class InterfaceGone(Exception):  # noqa: N818  a fact that ends the tunnel in order, not a mistake
    """The TUN was deleted by somebody else: `ip link delete`, or `wg-quick down`."""


class Tun:
    """A TUN interface that disappears when it is closed.

    `tcp` and `udp` tell what became of merged packets of either kind. `unreadable` counts packets
    that the kernel had for us and could not hand over.
    """

    def __init__(self, device: Device, offload: int | None, *, remember: bool = True) -> None:
        self._device = device
        self._fd: int = device.fileno()
        os.set_blocking(self._fd, False)
        self._has_header = offload is not None
        self.name: str = device.name
        self.index = socket.if_nametoindex(self.name)
        self.tcp: Switch[None] = Switch(usable=bool(offload), remember=remember)
        self.udp: Switch[None] = Switch(usable=bool(offload and offload & USO), remember=remember)
        self.unreadable = 0

    @classmethod
    def open(cls, name: str, *, offload: bool = True, remember: bool = True) -> Self:
        """Create the interface `name`, with a virtio_net_hdr if `offload`. Raises TunError.

        With `remember`, a kind of merged packet that was refused is not written for a while.
        """
        if not NAME.fullmatch(name) or name in {".", ".."}:
            raise TunError(
                f"{name!r} cannot be the name of an interface",
                "use 1 to 15 letters, digits or any of _=+.-",
            )
        if offload:
            device = _create(name, pytun.IFF_VNET_HDR)
            # pytun leaves it open across exec: a hook's child would keep the interface alive.
            os.set_inheritable(device.fileno(), False)  # noqa: FBT003 - the name says it
            accepted = _set_offload(device.fileno())
            if accepted is not None:
                return cls(device, accepted, remember=remember)
            device.close()
        return cls(_create(name, 0), None)

    @classmethod
    def adopt(cls, descriptor: int, *, offload: bool = True, remember: bool = True) -> Self:
        """Take a TUN that somebody else opened, as it was opened. Raises TunError."""
        try:
            device = _Adopted(descriptor)
        except OSError as error:
            raise TunError(
                f"descriptor {descriptor} is no TUN: {error.strerror}",
                "see WG_TUN_FD, or leave it out",
            ) from error
        if not device.has_header:
            return cls(device, None, remember=remember)
        accepted = _set_offload(descriptor) if offload else 0
        return cls(device, accepted or 0, remember=remember)

    def fileno(self) -> int:
        """Return the descriptor, to wait for readability."""
        return self._fd

    def read(self, buffer: memoryview) -> int:
        """Read one super-packet into `buffer`; return its length with the 10-byte header.

        `buffer` has SUPERPACKET_CAPACITY bytes. Raises BlockingIOError when there is none, and for
        one that the kernel dropped instead of handing it over, as it does with EINVAL where it
        knows no virtio_net_hdr for it. Raises InterfaceGone.
        """
        try:
            if self._has_header:
                return os.readv(self._fd, (buffer,))
            buffer[:VNET_HEADER] = NO_VNET_HEADER
            return VNET_HEADER + os.readv(self._fd, (buffer[VNET_HEADER:],))
        except BlockingIOError:
            raise
        except OSError as error:
            if error.errno == errno.EBADFD:
                raise InterfaceGone(self.name) from error
            self.unreadable += 1
            raise BlockingIOError(errno.EAGAIN, f"unreadable: {error}") from error

    def write(self, parts: Sequence[Buffer]) -> None:
        """Write one super-packet; the first of `parts` is its virtio_net_hdr.

        Raises InterfaceGone, and OSError: EIO while the interface is down, EINVAL where the kernel
        refuses the packet, ENOBUFS or ENOMEM where it has no memory for it.
        """
        try:
            os.writev(self._fd, parts if self._has_header else parts[1:])
        except OSError as error:
            if error.errno == errno.EBADFD:
                raise InterfaceGone(self.name) from error
            raise

    @property
    def offload(self) -> bool:
        """Whether packets are to be merged in front of a write."""
        return self.tcp.allows(None)

    @property
    def udp_offload(self) -> bool:
        """Whether UDP packets are to be merged too."""
        return self.udp.allows(None)

    def refused(self, gso_type: int) -> None:
        """Remember that the kernel refused a merged packet only for being merged."""
        (self.udp if gso_type == VIRTIO_NET_HDR_GSO_UDP_L4 else self.tcp).refused(None)

    def close(self) -> None:
        """Close, and with that delete the interface; harmless when closed already."""
        self._device.close()


def name_of(descriptor: int) -> str:
    """Return the interface of a descriptor, nothing where it is no TUN or its interface is gone."""
    try:
        return _described(descriptor)[0]
    except OSError:
        return ""


def _described(descriptor: int) -> tuple[str, int]:
    name, flags = IFREQ.unpack(fcntl.ioctl(descriptor, TUNGETIFF, bytes(IFREQ.size)))
    return name.rstrip(b"\0").decode("ascii", "replace"), flags


class _Adopted:
    """A descriptor that somebody else opened; `has_header` tells of the virtio_net_hdr."""

    def __init__(self, descriptor: int) -> None:
        self.name, flags = _described(descriptor)
        if flags & pytun.IFF_TUN == 0 or flags & pytun.IFF_NO_PI == 0:
            raise OSError(errno.EINVAL, "it is a TAP, or has packet information in front")
        self.has_header = bool(flags & pytun.IFF_VNET_HDR)
        self._descriptor = descriptor
        os.set_inheritable(descriptor, False)  # noqa: FBT003 - the name says it

    def fileno(self) -> int:
        return self._descriptor

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def _create(name: str, flags: int) -> pytun.TunTapDevice:
    flags |= pytun.IFF_TUN | pytun.IFF_NO_PI | pytun.IFF_TUN_EXCL
    try:
        return pytun.TunTapDevice(name=name, flags=flags, dev=str(DEVICE))
    except OSError as error:
        raise _explained(name, error) from error


def _explained(name: str, error: OSError) -> TunError:
    match error.errno:
        case errno.ENOENT | errno.ENXIO | errno.ENODEV:
            return TunError(
                f"there is no {DEVICE}",
                f"load it with `modprobe tun`, or start the container with `--device {DEVICE}`",
                missing=True,
            )
        case errno.EPERM | errno.EACCES:
            return TunError(
                f"no privilege to create {name}",
                "run as root or with CAP_NET_ADMIN (container: `--cap-add NET_ADMIN`)",
                missing=True,
            )
        case errno.EBUSY | errno.EEXIST:
            return TunError(
                f"the name {name} is taken by another interface",
                "choose another name; `ip link` lists those that are taken",
            )
        case _:
            return TunError(f"{name} cannot be created: {error}", "see `dmesg` and `ip link`")


def _set_offload(fd: int) -> int | None:
    """Return the offload mask that the kernel accepted, None for none."""
    for mask in OFFLOADS:
        try:
            fcntl.ioctl(fd, TUNSETOFFLOAD, mask)
        except OSError:
            continue
        return mask
    return None
