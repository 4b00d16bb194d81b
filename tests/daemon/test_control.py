"""The control socket: its mode, its manners, and clients that have none."""

import asyncio
import json
import stat
from pathlib import Path
from typing import Self

import pytest

from sacip_tun.daemon.control import MAX_REQUEST, CommandError, ControlServer, encoded
from sacip_tun.daemon.journal import Journal
from sacip_tun.linux.unix import is_live

pytestmark = pytest.mark.asyncio


async def _echo(request):
    return {"echo": request.get("text")}


async def _refuse(_request):
    raise CommandError("not today", "come tomorrow", 6)


class Served:
    """A server in a directory, as a context."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "run" / "sacip0.sock"
        self.journal = Journal("sacip0")
        self.commands = {"echo": _echo, "refuse": _refuse}
        self.server = ControlServer(self.path, self.commands, self.journal)

    async def __aenter__(self) -> Self:
        await self.server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.server.stop()

    async def ask(self, *lines: bytes) -> list[dict]:
        reader, writer = await asyncio.open_unix_connection(self.path)
        answers = []
        for line in lines:
            writer.write(line + b"\n")
            answers.append(json.loads(await reader.readline()))
        writer.close()
        return answers


async def test_only_its_owner_may_use_the_socket(tmp_path: Path) -> None:
    async with Served(tmp_path) as served:
        assert stat.S_IMODE(served.path.stat().st_mode) == 0o600
        assert stat.S_IMODE(served.path.parent.stat().st_mode) == 0o755
    assert not served.path.exists()


async def test_many_requests_a_connection_each_get_one_answer(tmp_path: Path) -> None:
    async with Served(tmp_path) as served:
        request = json.dumps({"command": "echo", "text": "hi"}).encode()
        assert await served.ask(request, request) == [{"ok": True, "echo": "hi"}] * 2


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"", 2),
        (b"not json", 2),
        (b"[1]", 2),
        (b"[" * 5000, 2),
        (b"\xff\xfe", 2),
        (b'{"command": "nothing"}', 2),
        (b'{"command": ["echo"]}', 2),
        (b'{"command": "refuse"}', 6),
    ],
)
async def test_what_cannot_be_done_is_answered_with_a_reason_and_a_code(
    tmp_path: Path, line: bytes, code: int
) -> None:
    async with Served(tmp_path) as served:
        (answer,) = await served.ask(line)
        assert (answer["ok"], answer["exit"]) == (False, code)
        assert answer["error"]
        assert answer["fix"]


async def test_before_it_is_up_only_down_is_answered(tmp_path: Path) -> None:
    async with Served(tmp_path) as served:
        served.commands["down"] = _echo
        served.server.is_ready = False
        answers = await served.ask(b'{"command": "echo"}', b'{"command": "down"}')
        assert (answers[0]["error"], answers[0]["exit"]) == ("it is still coming up", 3)
        assert "sacip-tun wait sacip0" in answers[0]["fix"]
        assert answers[1]["ok"]
        served.server.is_ready = True
        assert (await served.ask(b'{"command": "echo"}'))[0]["ok"]


async def test_a_request_without_end_is_hung_up_on(tmp_path: Path) -> None:
    async with Served(tmp_path) as served:
        reader, writer = await asyncio.open_unix_connection(served.path)
        writer.write(b"x" * (MAX_REQUEST + 2))
        assert await reader.read() == b""
        writer.close()
        assert (await served.ask(b'{"command": "echo"}'))[0]["ok"]


async def test_monitor_streams_what_is_noted_and_ends_with_the_client(tmp_path: Path) -> None:
    async with Served(tmp_path) as served:
        reader, writer = await asyncio.open_unix_connection(served.path)
        writer.write(b'{"command": "monitor"}\n')
        answer = json.loads(await reader.readline())
        assert answer == {"ok": True, "schema": "sacip-tun/event/1"}
        served.journal.note("address-added", address="192.0.2.1/24")
        record = json.loads(await reader.readline())
        assert (record["event"], record["address"]) == ("address-added", "192.0.2.1/24")
        writer.close()


async def test_stopping_ends_open_connections(tmp_path: Path) -> None:
    async with Served(tmp_path) as served:
        reader, writer = await asyncio.open_unix_connection(served.path)
        writer.write(b'{"command": "monitor"}\n')
        await reader.readline()
    assert await reader.read() == b""
    writer.close()


async def test_a_live_socket_is_not_taken_and_a_dead_one_is(tmp_path: Path) -> None:
    async with Served(tmp_path) as served:
        assert is_live(served.path)
        with pytest.raises(FileExistsError):
            await Served(tmp_path).server.start()
        assert is_live(served.path)
    served.path.touch()
    async with Served(tmp_path) as again:
        assert is_live(again.path)


async def test_who_is_about_to_end_is_waited_for(tmp_path: Path) -> None:
    successor = Served(tmp_path)
    async with Served(tmp_path):
        starting = asyncio.ensure_future(successor.server.start(patient=True))
        await asyncio.sleep(0.05)
        assert not starting.done()
    await starting
    assert is_live(successor.path)
    await successor.server.stop()


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 100])
async def test_a_long_list_is_sent_in_parts_of_one_line(count: int) -> None:
    parts = list(encoded({"ok": True, "items": iter(range(count)), "name": "sacip0"}))
    assert len(parts) == 1 + -(-count // 8)
    line = b"".join(parts)
    assert line.endswith(b"}\n")
    assert json.loads(line) == {"ok": True, "items": list(range(count)), "name": "sacip0"}


async def test_other_callbacks_run_while_a_long_answer_is_sent(tmp_path: Path) -> None:
    turns = []

    async def long(_request):
        return {"items": (len(turns) for _ in range(100))}

    async with Served(tmp_path) as served:
        served.commands["long"] = long

        async def others() -> None:
            while True:
                turns.append(None)
                await asyncio.sleep(0)

        beside = asyncio.ensure_future(others())
        (answer,) = await served.ask(b'{"command": "long"}')
        beside.cancel()
        assert len(set(answer["items"])) == 13
