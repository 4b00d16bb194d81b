"""What systemd puts into the environment, and what it is told: sd_notify(3), sd_listen_fds(3)."""

import os
import socket
import threading

import pytest

from sacip_tun.linux import service_manager
from sacip_tun.linux.service_manager import ServiceManager

OURS = str(os.getpid())


@pytest.fixture
def listening(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(2)
        yield sock, str(tmp_path / "notify")


def test_nobody_is_told_where_nobody_listens():
    manager = ServiceManager.of({})
    assert (manager.is_there, manager.tell("READY=1"), manager.kept) == (False, False, {})
    manager.keep("tun", 0)
    manager.wait()


def test_the_environment_is_not_left_to_our_children(monkeypatch):
    pair = socket.socketpair()
    monkeypatch.setattr(service_manager, "FIRST_DESCRIPTOR", pair[0].fileno())
    environment = {
        "PATH": "/bin",
        "NOTIFY_SOCKET": "@x",
        "WATCHDOG_USEC": "15000000",
        "WATCHDOG_PID": OURS,
        "LISTEN_PID": OURS,
        "LISTEN_FDS": "1",
        "LISTEN_FDNAMES": "tun",
    }
    pair[0].set_inheritable(True)
    manager = ServiceManager.of(environment)
    assert environment == {"PATH": "/bin"}
    assert manager.kept == {"tun": [pair[0].fileno()]}
    assert not pair[0].get_inheritable()
    assert (manager.is_there, manager.watchdog) == (True, 15.0)
    for end in pair:
        end.close()


@pytest.mark.parametrize(
    ("name", "text"),
    [("LISTEN_PID", "1"), ("LISTEN_FDS", "-1"), ("LISTEN_FDS", "x"), ("LISTEN_FDS", "")],
)
def test_what_is_meant_for_another_process_is_not_taken(name, text):
    found = {"LISTEN_PID": OURS, "LISTEN_FDS": "1", "LISTEN_FDNAMES": "tun", name: text}
    assert ServiceManager.of(found).kept == {}


def test_descriptors_that_are_not_open_are_passed_over(monkeypatch):
    monkeypatch.setattr(service_manager, "FIRST_DESCRIPTOR", 1_000_000)
    assert ServiceManager.of({"LISTEN_PID": OURS, "LISTEN_FDS": "3"}).kept == {}


@pytest.mark.parametrize(
    ("found", "seconds"),
    [
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "3000000"}, 3.0),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_is_somebody_elses_or_none(found, seconds):
    assert ServiceManager.of(found).watchdog == seconds


def test_a_descriptor_is_kept_under_its_name_and_not_watched(listening):
    sock, address = listening
    ServiceManager(address).keep("udp4", 0)
    data, descriptors, _, _ = socket.recv_fds(sock, 4096, 4)
    assert data == b"FDSTORE=1\nFDNAME=udp4\nFDPOLL=0"
    assert os.path.sameopenfile(descriptors[0], 0)
    os.close(descriptors[0])


def test_a_barrier_is_over_when_the_other_side_closes_it(listening):
    sock, address = listening
    seen = []

    def answer():
        data, descriptors, _, _ = socket.recv_fds(sock, 4096, 4)
        seen.append(data)
        os.close(descriptors[0])

    thread = threading.Thread(target=answer)
    thread.start()
    ServiceManager(address).wait()
    thread.join()
    assert seen == [b"BARRIER=1"]


def test_a_manager_that_is_gone_harms_nobody(tmp_path):
    manager = ServiceManager(str(tmp_path / "gone"))
    assert manager.tell("READY=1") is False
    manager.wait()
