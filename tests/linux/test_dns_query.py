"""Questions about a peer's name, and what a name server may answer to them."""

import socket
import threading
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sacip_tun.linux import dns_query
from sacip_tun.linux.dns_query import AAAA, HEADER, IN, A, answers, look_up, question, servers_of

ASKED = question("hub.example", A, 7)


def record(kind, data, name=b"\xc0\x0c", of=IN):
    return name + kind.to_bytes(2) + of.to_bytes(2) + bytes(4) + len(data).to_bytes(2) + data


def answer(*records, asked=ASKED, flags=0x8180):
    head = HEADER.pack(int.from_bytes(asked[:2]), flags, 1, len(records), 0, 0)
    return head + asked[HEADER.size :] + b"".join(records)


def test_a_question_is_as_rfc_1035_writes_it():
    assert ASKED.hex(" ") == (
        "00 07 01 00 00 01 00 00 00 00 00 00 03 68 75 62 07 65 78 61 6d 70 6c 65 00 00 01 00 01"
    )


@pytest.mark.parametrize("name", ["", ".", "a..b", "x" * 64])
def test_what_is_no_name_cannot_be_asked_for(name):
    with pytest.raises(OSError, match="no name"):
        question(name, A, 1)


def test_addresses_behind_an_alias_are_found():
    alias = record(5, b"\x04home\xc0\x10")
    hosts = answers(answer(alias, record(A, bytes([192, 0, 2, 1]))), ASKED)
    assert hosts == [ip_address("192.0.2.1")]
    whole = record(AAAA, ip_address("2001:db8::1").packed, name=b"\x03hub\x07example\x00")
    assert answers(answer(whole), ASKED) == [ip_address("2001:db8::1")]


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        ASKED,
        answer(asked=question("hub.example", A, 8)),
        answer(asked=question("hob.example", A, 7)),
        answer(flags=0x0100),
    ],
)
def test_what_is_no_answer_to_this_question_is_none(datagram):
    assert answers(datagram, ASKED) is None


def test_records_that_lie_about_their_length_are_left_out():
    short = record(A, bytes([192, 0, 2, 1]))[:-2]
    assert answers(answer(short), ASKED) == []
    assert answers(answer(record(A, bytes(5))), ASKED) == []
    assert answers(answer(record(A, bytes(4), of=3)), ASKED) == []


@given(st.binary(max_size=200), st.integers(0, 65535))
def test_no_answer_harms(tail, count):
    head = HEADER.pack(7, 0x8180, 1, count, 0, 0)
    found = answers(head + ASKED[HEADER.size :] + tail, ASKED)
    assert found is not None
    assert len(found) * 14 <= len(tail)
    answers(tail, ASKED)


def test_servers_are_read_from_resolv_conf():
    text = "# x\nnameserver 10.0.0.1\nsearch a\nnameserver fd00::1\nnameserver\nnameserver x.y\n"
    assert servers_of(text) == [ip_address("10.0.0.1"), ip_address("fd00::1")]


def test_the_first_server_that_knows_is_believed(monkeypatch):
    """One server refuses, one answers; both are sockets of this test."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))

    def serve():
        for _ in range(2):
            asked, client = server.recvfrom(512)
            kind = int.from_bytes(asked[-4:-2])
            records = [record(A, bytes([192, 0, 2, 7]))] if kind == A else []
            server.sendto(answer(*records, asked=asked), client)

    serving = threading.Thread(target=serve)
    serving.start()
    monkeypatch.setattr(dns_query, "PORT", server.getsockname()[1])
    monkeypatch.setattr(dns_query, "PATIENCE", 0.1)
    found = look_up("hub.example", [ip_address("127.0.0.2"), ip_address("127.0.0.1")], mark=0)
    serving.join()
    server.close()
    assert found == [ip_address("192.0.2.7")]
    with pytest.raises(OSError, match="no name server"):
        look_up("hub.example", [ip_address("127.0.0.2")], mark=0)
