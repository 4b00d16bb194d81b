"""Who changed something, as netlink tells it."""

import os
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sacip_tun.linux import culprit

GENERATION = 10 << 8 | 15


def attribute(kind, data):
    padding = bytes(-len(data) % 4)
    return struct.pack("=HH", 4 + len(data), kind) + data + padding


def message(kind, attributes=b""):
    body = bytes(4) + attributes
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body


AUTHOR = attribute(1, bytes(4)) + attribute(2, (4711).to_bytes(4)) + attribute(3, b"firewalld\0")


def test_this_process_is_named():
    name = culprit.named(os.getpid())
    assert name.endswith(f"(process {os.getpid()})")
    assert culprit.named(0) == "the kernel"
    assert "does not name" in culprit.named(4294963200)
    assert "is gone" in culprit.named(2**22 + 1)


def test_the_author_of_a_ruleset_is_in_its_last_message():
    datagram = message(10 << 8 | 6, attribute(1, b"abcd")) + message(GENERATION, AUTHOR)
    assert culprit.of_ruleset(datagram) == "firewalld (process 4711)"
    assert culprit.of_ruleset(message(10 << 8 | 6)) is None
    assert culprit.of_ruleset(b"") is None


@given(st.binary(max_size=100))
def test_nothing_harms(data):
    culprit.of_ruleset(data)
    culprit.of_ruleset(message(GENERATION, data))


@pytest.mark.parametrize("length", [0, 15, 19])
def test_a_message_too_short_for_its_header_ends_it(length):
    data = struct.pack("=IHHII", length, GENERATION, 0, 0, 0) + bytes(4) + AUTHOR
    assert culprit.of_ruleset(data) is None
