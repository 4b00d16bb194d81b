"""All offloads of an interface: the modes, the start-up probe, and what status says."""

import errno
import os
import socket

import pytest

from sacip_tun.config import Offload
from sacip_tun.daemon import offloads as module
from sacip_tun.daemon.offloads import Offloads, options
from sacip_tun.linux.tun import Tun
from sacip_tun.linux.udp import UdpSocket

NAMES = ("tun_tcp", "tun_udp", "udp_segment", "udp_receive")
ON = {"state": "on", "refusals": 0}
OFF = {"state": "off", "refusals": 0}


class Device:
    """What pytun would give; every write to it fails as on a TUN that is down."""

    name = "lo"

    def __init__(self):
        self.far, self.near = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def fileno(self):
        return self.near.fileno()


class Bench:
    def __init__(self, mode: Offload, mask: int | None = 0x6F) -> None:
        how = options(mode)
        self.device = Device()
        self.sockets = [UdpSocket(version, 0, **how) for version in (4, 6)]
        accepted = mask if how["offload"] else None
        self.tun = Tun(self.device, accepted, remember=how["remember"])
        self.offloads = Offloads(mode, self.tun, self.sockets)

    def close(self) -> None:
        for closing in (*self.sockets, self.device.far, self.device.near):
            closing.close()


@pytest.fixture
def bench(monkeypatch):
    made = []

    def make(mode: Offload, *refused: int, corrupting: tuple[int, ...] = ()) -> Bench:
        def refuse(_descriptor, parts):
            number = errno.EINVAL if parts[0][1] in refused else errno.EIO
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr("sacip_tun.linux.tun.os.writev", refuse)
        monkeypatch.setattr(module.probe, "corrupts_runs", lambda version: version in corrupting)
        made.append(Bench(mode))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.mark.parametrize("mode", [Offload.AUTO, Offload.ON])
def test_a_kernel_that_can_all_has_all_on(bench, mode):
    one = bench(mode)
    one.offloads.probe()
    assert one.offloads.document() == {"mode": mode.value, **dict.fromkeys(NAMES, ON)}
    assert list(one.offloads.warnings()) == []


def test_off_is_off_and_nothing_is_tried(bench):
    one = bench(Offload.OFF, 1, 4, 5, corrupting=(4, 6))
    one.offloads.probe()
    one.offloads.retry()
    assert one.offloads.document() == {"mode": "off", **dict.fromkeys(NAMES, OFF)}
    assert list(one.offloads.warnings()) == []


def test_a_corrupting_kernel_gets_datagrams_one_by_one_for_good_and_the_user_is_told(bench):
    one = bench(Offload.AUTO, corrupting=(6,))
    one.offloads.probe()
    one.offloads.retry()
    assert one.offloads.document()["udp_segment"] == OFF
    assert [sock.segmenting.usable for sock in one.sockets] == [True, False]
    (warning,) = one.offloads.warnings()
    assert "corrupts IPv6" in warning


def test_on_does_not_look(bench):
    one = bench(Offload.ON, 1, 4, 5, corrupting=(4, 6))
    one.offloads.probe()
    assert one.offloads.document()["udp_segment"] == ON
    assert one.offloads.document()["tun_tcp"] == ON


@pytest.mark.parametrize(
    ("refused", "tcp", "udp"),
    [((1,), "refused", "refused"), ((4,), "refused", "refused"), ((5,), "on", "refused")],
)
def test_what_the_probe_was_refused_is_tried_again_after_a_move(bench, refused, tcp, udp):
    one = bench(Offload.AUTO, *refused)
    one.offloads.probe()
    found = one.offloads.document()
    assert (found["tun_tcp"]["state"], found["tun_udp"]["state"]) == (tcp, udp)
    assert found["tun_tcp"]["refusals"] + found["tun_udp"]["refusals"] == 1
    one.offloads.retry()
    found = one.offloads.document()
    assert found["tun_tcp"]["state"] == found["tun_udp"]["state"] == "on"
    assert found["tun_tcp"]["refusals"] + found["tun_udp"]["refusals"] == 1


def test_one_refused_path_is_shown_until_it_is_tried_again(bench):
    one = bench(Offload.AUTO)
    one.sockets[0].segmenting.refused((None, None))
    assert one.offloads.document()["udp_segment"] == {"state": "refused", "refusals": 1}
    one.offloads.retry()
    assert one.offloads.document()["udp_segment"] == {"state": "on", "refusals": 1}
