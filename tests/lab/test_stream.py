import asyncio
import socket

import pytest

from sacip_tun.lab.stream import PACE, Loss, receive, send

HOST = "127.0.0.1"


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind((HOST, 0))
        return bound.getsockname()[1]


@pytest.mark.asyncio
async def test_it_runs_until_both_are_stopped_and_every_packet_is_accounted_for(capsys) -> None:
    port = free_port()
    server = asyncio.create_task(send(HOST, port))
    await asyncio.sleep(0)
    client = asyncio.create_task(receive(HOST, port))
    await asyncio.sleep(20 * PACE)
    server.cancel()
    sent = await server
    await asyncio.sleep(2 * PACE)
    client.cancel()
    received = await client
    assert sent.sent == len(sent.sent_unix) > 5
    assert received.numbers == list(range(sent.sent))
    assert sum(received.bins) == received.received * 160
    assert '"arriving"' in capsys.readouterr().out


@pytest.mark.parametrize(
    ("sent", "numbers", "lost", "duplicated"),
    [
        (0, [], (), 0),
        (3, [0, 1, 2], (), 0),
        (4, [0, 3], (1, 2), 0),
        (3, [0, 2, 2, 1, 0], (), 2),
        (3, [0, 0], (1, 2), 1),
        (2, [], (0, 1), 0),
    ],
)
def test_what_is_missing_and_what_is_there_twice(sent, numbers, lost, duplicated) -> None:
    assert Loss.between(sent, numbers) == Loss(lost, duplicated)
