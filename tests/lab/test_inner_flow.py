import asyncio
import hashlib
import json
import socket
import struct

import pytest

from sacip_tun.lab.flow import (
    BLOCK,
    TICK,
    Direction,
    Flow,
    Plan,
    chunks,
    connect,
    digest,
    generated,
    serve,
    total_retransmissions,
)
from sacip_tun.lab.part import STOPPED

HOST = "127.0.0.1"


@pytest.mark.parametrize("total", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 7])
def test_the_generator_gives_what_was_asked_for_and_always_the_same(total) -> None:
    data = b"".join(generated(1, total))
    assert len(data) == total
    assert data == b"".join(generated(1, total))
    assert digest(1, total) == hashlib.sha256(data).hexdigest()


def test_another_seed_gives_other_bytes() -> None:
    assert digest(1, 1000) != digest(2, 1000)


@pytest.mark.parametrize("size", [1, 999, BLOCK, 2 * BLOCK])
def test_chunks_put_together_are_the_stream(size) -> None:
    total = 2 * BLOCK + 5
    cut = list(chunks(3, total, size))
    assert b"".join(cut) == b"".join(generated(3, total))
    assert all(len(chunk) == size for chunk in cut[:-1])


def test_a_rate_becomes_chunks() -> None:
    plan = Plan.of_rate(Direction.UPLOAD, 20.0, 2.0, seed=1)
    assert plan.chunk == 20e6 / 8 * TICK
    assert plan.total == pytest.approx(20e6 / 8 * 2.0)


def test_both_ends_agree_on_who_sends() -> None:
    plan = Plan.of_chunks(Direction.UPLOAD, 10, 0.1, 1.0, seed=1)
    assert (plan.bytes_to_send, plan.bytes_to_receive) == (100, 0)
    other = plan.reversed()
    assert (other.bytes_to_send, other.bytes_to_receive) == (0, 100)
    assert other.reversed() == plan


@pytest.mark.asyncio
async def test_an_end_that_is_done_first_leaves_nothing_in_its_buffer(capsys) -> None:
    """Its process ends with it, and with that what asyncio has not given to the kernel."""
    plan = Plan(Direction.UPLOAD, total=1 << 18, chunk=1 << 18, interval=0.0, seed=1)
    with socket.create_server((HOST, 0)) as listener:
        theirs = socket.socket()
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4608)
        theirs.connect(listener.getsockname())
        ours, _ = listener.accept()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4608)
    theirs.shutdown(socket.SHUT_WR)
    theirs.settimeout(5.0)
    reader, writer = await asyncio.open_connection(sock=ours)
    flow = Flow(reader, writer, plan, last=True)
    with theirs:
        received = asyncio.to_thread(lambda: sum(map(len, iter(lambda: theirs.recv(99), b""))))
        length, _ = await asyncio.gather(received, _left_nothing(flow, writer))
    assert length == plan.total
    capsys.readouterr()


async def _left_nothing(flow: Flow, writer: asyncio.StreamWriter) -> None:
    await flow.run(5.0)
    assert writer.transport.get_write_buffer_size() == 0


def free_port() -> int:
    with socket.create_server((HOST, 0)) as listener:
        return listener.getsockname()[1]


@pytest.mark.asyncio
@pytest.mark.parametrize("direction", Direction)
async def test_a_connection_is_checked_at_both_ends(direction, capsys) -> None:
    port, plan = free_port(), Plan.of_rate(direction, 100.0, 0.1, seed=7)
    server, client = await asyncio.gather(
        serve(HOST, port, patience=5.0), connect(HOST, port, plan, patience=5.0)
    )
    assert client.intact
    assert server.intact
    assert (client.sent, client.received) == (plan.bytes_to_send, plan.bytes_to_receive)
    assert (server.sent, server.received) == (client.received, client.sent)
    assert (client.local, client.remote) == (server.remote, server.local)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["event"] for line in lines] == ["established"] * 2


@pytest.mark.asyncio
async def test_a_stream_that_ends_early_is_not_intact() -> None:
    async def cut_short(reader, writer):
        await reader.readline()
        writer.write(b"".join(generated(7, 1000)))
        writer.close()

    port = free_port()
    plan = Plan.of_chunks(Direction.DOWNLOAD, 1000, 0.01, 0.02, seed=7)
    async with await asyncio.start_server(cut_short, HOST, port):
        result = await connect(HOST, port, plan, patience=5.0)
    assert result.received == 1000
    assert not result.intact


@pytest.mark.asyncio
async def test_changed_bytes_are_not_intact() -> None:
    async def another_seed(reader, writer):
        await reader.readline()
        writer.write(b"".join(generated(8, 1000)))
        writer.close()

    port = free_port()
    plan = Plan.of_chunks(Direction.DOWNLOAD, 1000, 0.01, 0.01, seed=7)
    async with await asyncio.start_server(another_seed, HOST, port):
        result = await connect(HOST, port, plan, patience=5.0)
    assert result.received == plan.total
    assert not result.intact


@pytest.mark.asyncio
async def test_a_connection_that_is_silent_for_too_long_is_an_error() -> None:
    # Nobody accepts: the kernel alone answers for a listener with room in its backlog.
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]
        plan = Plan.of_chunks(Direction.DOWNLOAD, 1000, 0.01, 0.01, seed=7)
        result = await connect(HOST, port, plan, patience=0.05)
    assert "TimeoutError" in (result.error or "")
    assert not result.intact


@pytest.mark.asyncio
async def test_a_connection_that_dies_still_has_its_result() -> None:
    """The kernel's counters outlive asyncio's own socket, which is gone at once."""

    async def reset(reader, writer):
        await reader.readline()
        writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        writer.transport.abort()

    port = free_port()
    plan = Plan.of_chunks(Direction.BOTH, 1000, 0.01, 10.0, seed=7)
    async with await asyncio.start_server(reset, HOST, port):
        result = await connect(HOST, port, plan, patience=5.0)
    assert "ConnectionResetError" in (result.error or "")
    assert result.retransmissions == 0


@pytest.mark.asyncio
async def test_a_connection_that_is_stopped_tells_what_it_saw() -> None:
    with socket.create_server((HOST, 0)) as listener:
        plan = Plan.of_chunks(Direction.BOTH, 1000, 0.01, 10.0, seed=7)
        task = asyncio.create_task(connect(HOST, listener.getsockname()[1], plan, patience=9.0))
        await asyncio.sleep(0.1)
        task.cancel()
        result = await task
    assert result.error == STOPPED
    assert result.sent > 0
    assert not result.intact


def test_nothing_is_retransmitted_on_the_loopback() -> None:
    with (
        socket.create_server((HOST, 0)) as listener,
        socket.create_connection(listener.getsockname()) as connection,
    ):
        assert total_retransmissions(connection) == 0
