import asyncio
import socket

import pytest

from sacip_tun.lab.keystrokes import KEY, connect, serve
from sacip_tun.lab.part import STOPPED

HOST = "127.0.0.1"


def free_port() -> int:
    with socket.create_server((HOST, 0)) as listener:
        return listener.getsockname()[1]


@pytest.mark.asyncio
async def test_what_is_typed_comes_back(capsys) -> None:
    port = free_port()
    server, client = await asyncio.gather(serve(HOST, port), connect(HOST, port, 0.2))
    assert (client.sent, client.received) == (4 * KEY, 4 * KEY)
    assert client.intact
    assert server.intact
    assert client.error is None
    assert client.longest_wait_ms >= client.median_wait_ms > 0
    assert '"established"' in capsys.readouterr().out


@pytest.mark.asyncio
async def test_another_echo_is_not_intact() -> None:
    async def shout(reader, writer):
        writer.write(b"x" * len(await reader.readexactly(KEY)))
        writer.close()

    port = free_port()
    async with await asyncio.start_server(shout, HOST, port):
        client = await connect(HOST, port, 0.05)
    assert (client.received, client.intact) == (KEY, False)


@pytest.mark.asyncio
async def test_a_connection_that_is_closed_is_an_error() -> None:
    async def hang_up(_reader, writer):
        writer.close()

    port = free_port()
    async with await asyncio.start_server(hang_up, HOST, port):
        client = await connect(HOST, port, 0.1)
    assert client.error
    assert not client.intact


@pytest.mark.asyncio
async def test_a_key_without_an_echo_waits_until_it_is_stopped() -> None:
    # The kernel alone answers for a listener with room in its backlog.
    with socket.create_server((HOST, 0)) as listener:
        task = asyncio.create_task(connect(HOST, listener.getsockname()[1], 0.05))
        await asyncio.sleep(0.15)
        task.cancel()
        client = await task
    assert client.error == STOPPED
    assert client.received == 0
    assert client.longest_wait_ms >= 100
    assert len(client.waits) == 1
