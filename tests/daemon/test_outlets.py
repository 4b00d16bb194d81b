"""The UDP sockets of a tunnel change their port and mark, or nothing at all."""

import socket

import pytest

from sacip_tun.config import Offload
from sacip_tun.daemon.outlets import Outlets
from sacip_tun.linux.errors import SocketError


@pytest.fixture
def outlets():
    outlets = Outlets(Offload.AUTO)
    outlets.open(0, 0)
    yield outlets
    outlets.close()


def free_port() -> int:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.bind(("::", 0))
        return sock.getsockname()[1]


def test_another_port_is_opened_before_the_old_one_is_closed(outlets):
    swapped = []
    outlets.swap = lambda new: swapped.append((outlets.port, [sock.port for sock in new]))
    before, port = outlets.port, free_port()
    listed = outlets.sockets
    assert outlets.change(port, None)
    assert swapped == [(before, [port] * len(listed))]
    assert outlets.sockets is listed
    assert outlets.port == port
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("", before))


def test_a_port_that_is_taken_changes_nothing(outlets):
    before = outlets.port
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as taken:
        taken.bind(("::", 0))
        with pytest.raises(SocketError):
            outlets.change(taken.getsockname()[1], 7)
    assert (outlets.port, outlets.mark) == (before, 0)


def test_a_random_port_stays_and_a_chosen_one_becomes_random(outlets):
    before = outlets.port
    assert not outlets.change(0, None)
    assert outlets.port == before
    assert not outlets.change(before, None)  # asked for now: the next 0 leaves it
    assert outlets.change(0, None)
    assert outlets.port != before
    assert not outlets.change(None, None)
