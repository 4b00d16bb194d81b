"""The memory of where peers were: whatever the process before left, what is whole is read."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sacip_tun.daemon import memory as memory_module
from sacip_tun.daemon.memory import Memory
from sacip_tun.protocol.address import Endpoint

A, B = bytes([1] * 32), bytes([2] * 32)
HOME, AWAY = Endpoint.parse("192.0.2.1:51820"), Endpoint.parse("[2001:db8::1]:4000")


def opened(content: bytes = b"") -> int:
    descriptor = os.memfd_create("test")
    os.write(descriptor, content)
    return descriptor


def content(memory: Memory) -> bytes:
    return os.pread(memory.fileno(), 1 << 20, 0)


def written() -> bytes:
    memory = Memory(opened())
    memory.seen(A, HOME, now=10.0)
    memory.seen(B, AWAY, now=20.0)
    memory.seen(A, AWAY, now=30.0)
    found = content(memory)
    memory.close()
    return found


def test_the_next_process_knows_the_last_place_of_each():
    memory = Memory(opened(written()))
    assert dict(memory.since(0)) == {A: AWAY, B: AWAY}
    assert list(memory.since(25)) == [(A, AWAY)]
    assert memory.is_at(A, AWAY)
    assert not memory.is_at(A, HOME)
    assert content(memory).count(b"\n") == 2, "one line for each when it begins"
    memory.close()


@given(st.integers(0, len(written())))
def test_a_line_that_was_cut_off_loses_no_other(length):
    whole = written()[:length].count(b"\n")
    memory = Memory(opened(written()[:length]))
    wanted = [{}, {A: HOME}, {A: HOME, B: AWAY}, {A: AWAY, B: AWAY}][whole]
    assert dict(memory.since(0)) == wanted
    memory.close()


@given(st.binary(max_size=300))
def test_nothing_that_it_finds_stops_it(found):
    memory = Memory(opened(found))
    memory.seen(A, HOME, now=1.0)
    assert memory.is_at(A, HOME)
    memory.close()


def test_it_does_not_grow_without_end(monkeypatch):
    monkeypatch.setattr(memory_module, "LONGEST", 1000)
    memory = Memory(opened())
    for moment in range(200):
        memory.seen(A, (HOME, AWAY)[moment % 2], now=float(moment))
    assert len(content(memory)) < 1200
    assert list(memory.since(199)) == [(A, AWAY)]
    memory.close()


def test_without_memory_the_rest_goes_on(monkeypatch):
    memory = Memory(opened())

    def refuse(*_):
        raise OSError(28, "no space")

    with monkeypatch.context() as patch:
        patch.setattr(memory_module.os, "write", refuse)
        memory.seen(A, HOME, now=1.0)
    assert memory.is_at(A, HOME)
    with pytest.raises(OSError, match="Bad file"):
        memory.close() or os.fstat(memory.fileno())
