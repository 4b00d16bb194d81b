import errno
import os
import socket

import pytest

from sacip_tun.linux import messages, rtnetlink
from sacip_tun.linux.messages import codecs
from sacip_tun.linux.rtnetlink import RtnetlinkSocket, datagrams, notification_socket, present

ABSENT = 0x7FFFFFF0


def test_dumps_hold_the_loopback():
    with RtnetlinkSocket() as sock:
        links = present(messages.link_of, sock.links())
        addresses = present(messages.address_of, sock.addresses())
        routes, rules = sock.routes(), sock.rules()
    assert any(link.name == "lo" and link.loopback for link in links)
    assert any(address.host.is_loopback for address in addresses)
    assert any(route.destination.is_loopback for route in routes)
    assert any(rule.table == 255 for rule in rules)


def test_a_refused_request_raises_the_kernels_error():
    message = codecs().link()
    message["index"] = ABSENT
    message["change"] = message["flags"] = 1
    with RtnetlinkSocket() as sock, pytest.raises(OSError, match=r"No such device|not permitted"):
        sock.request(message, rtnetlink.RTM_NEWLINK)


class Answering(RtnetlinkSocket):
    """A socket of which the test gives the answers."""

    def __init__(self, *answers):
        super().__init__()
        self.asked = 0
        self.answers = list(answers)

    def _answers(self):
        self.asked += 1
        return iter(self.answers.pop(0))


def interrupted(flag):
    message = codecs().link()
    message["header"]["flags"] = flag
    return message


def test_an_interrupted_dump_is_done_again():
    torn, whole = [interrupted(rtnetlink.NLM_F_DUMP_INTR)], [interrupted(0)]
    with Answering(torn, torn, whole) as sock:
        assert sock.links() == whole
        assert sock.asked == 3


def test_a_kernel_without_rules_has_the_standard_ones(monkeypatch):
    def refuse(*_):
        raise OSError(errno.EOPNOTSUPP, "no rules")

    with RtnetlinkSocket() as sock:
        monkeypatch.setattr(sock, "dump", refuse)
        assert sock.rules() == list(rtnetlink.DEFAULT_RULES)


def test_messages_of_other_processes_are_ignored():
    with (
        notification_socket() as hearing,
        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as forger,
    ):
        forger.bind((0, 0))
        try:
            forger.sendto(b"\0" * 16, (hearing.getsockname()[0], 0))
        except PermissionError:
            assert os.geteuid() != 0
        assert list(datagrams(hearing, 10)) == []
