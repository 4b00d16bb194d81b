"""The UAPI server: what is answered to whom, and what bad clients can do."""

import asyncio
import errno
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sacip_tun.daemon import uapi
from sacip_tun.daemon.changes import Change
from sacip_tun.daemon.uapi import UapiServer
from sacip_tun.linux.errors import SocketError
from sacip_tun.linux.unix import Listener, is_live

pytestmark = pytest.mark.asyncio


class Desk:
    """An interface that notes what it is asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.changes: list[Change] = []
        self.refused: list[str] = []
        self.error: Exception | None = None
        self.lines = ["listen_port=1\n"]

    async def answer(self) -> Iterator[str]:
        return iter(self.lines)

    async def apply(self, change: Change) -> None:
        if self.error is not None:
            raise self.error
        self.changes.append(change)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        server = UapiServer(self.answer, self.apply, self.refused.append)
        await server.start(Listener.at(self.path).socket)
        try:
            yield
        finally:
            await server.stop()

    async def ask(self, *requests: str, end: bool = False) -> str:
        reader, writer = await asyncio.open_unix_connection(self.path)
        answer = b""
        for request in requests:
            writer.write(request.encode())
            if not end:
                answer += await reader.readuntil(b"\n\n")
        if end:
            writer.write_eof()
            answer = await reader.read()
        writer.close()
        return answer.decode()


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path / "wg0.sock")


async def test_many_requests_over_one_connection(desk):
    async with desk.serving():
        assert await desk.ask(*["get=1\n\n"] * 3) == "listen_port=1\nerrno=0\n\n" * 3
        assert await desk.ask("set=1\nlisten_port=5\n\n", "get=1\n\n", "set=1\n\n") == (
            "errno=0\n\nlisten_port=1\nerrno=0\n\nerrno=0\n\n"
        )
        # All at once, before anything is answered.
        both = await desk.ask("set=1\nfwmark=1\n\nset=1\nfwmark=x\n\nget=1\n\n", end=True)
        assert both == "errno=0\n\nerrno=-22\n\nlisten_port=1\nerrno=0\n\n"
    assert [change.listen_port for change in desk.changes] == [5, None, None]


async def test_signs_are_what_wg_expects(desk):
    async with desk.serving():
        assert await desk.ask("set=1\nfoo=1\n\n") == f"errno=-{errno.EINVAL}\n\n"
        assert await desk.ask("get=1\nfoo=1\n\n", end=True) == f"errno={errno.EINVAL}\n\n"
        assert await desk.ask("set=1\nfoo\n\n") == f"errno=-{errno.EPROTO}\n\n"
        assert await desk.ask("nonsense\n\n", end=True) == f"errno=-{errno.EINVAL}\n\n"


@pytest.mark.parametrize("request_", ["", "\n", "\n\nget=1\n\n", "get=1", "get=1\n", "g"])
async def test_probes_and_what_never_began_are_no_errors(desk, request_):
    async with desk.serving():
        answer = await desk.ask(request_, end=True)
        assert answer in {"", f"errno=-{errno.EINVAL}\n\n"}
        assert (await desk.ask("get=1\n\n")).endswith("errno=0\n\n")
    assert not desk.refused


@pytest.mark.parametrize("half", ["set=1\n", "set=1\nlisten_port=7\n", "set=1\nlisten_port=7"])
async def test_half_a_request_changes_nothing(desk, half):
    async with desk.serving():
        assert await desk.ask(half, end=True) == f"errno=-{errno.EPROTO}\n\n"
    assert not desk.changes


async def test_a_mistake_at_the_end_of_megabytes_changes_nothing_and_is_told(desk):
    lines = "".join(f"allowed_ip=10.{n >> 8}.{n & 255}.0/24\n" for n in range(65536))
    request = f"set=1\npublic_key={'00' * 32}\n{lines * 2}allowed_ip=none\n\n"
    async with desk.serving():
        assert await desk.ask(request) == f"errno=-{errno.EINVAL}\n\n"
        assert await desk.ask(request.replace("allowed_ip=none\n", "")) == "errno=0\n\n"
    assert [len(change.peers[0].allowed_ips) for change in desk.changes] == [131072]


async def test_others_have_their_turn_while_megabytes_come(desk):
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with desk.serving():
        counting = asyncio.ensure_future(count())
        lines = "allowed_ip=10.0.0.0/24\n" * 50_000
        await desk.ask(f"set=1\npublic_key={'00' * 32}\n{lines}\n")
        counting.cancel()
    assert turns > len(lines) / uapi.READ_A_TURN


async def test_a_line_without_an_end_is_not_kept(desk):
    async with desk.serving():
        answer = await desk.ask(f"set=1\n{'a' * (uapi.MAX_LINE + 1)}", end=True)
        assert answer == f"errno=-{errno.EMSGSIZE}\n\n"
    assert desk.refused == ["[Errno 90] the request is too long"]


async def test_a_request_has_an_end(desk, monkeypatch):
    monkeypatch.setattr(uapi, "MAX_REQUEST", 100_000)
    async with desk.serving():
        request = f"set=1\npublic_key={'00' * 32}\n" + "allowed_ip=10.0.0.0/8\n" * 10_000
        reader, writer = await asyncio.open_unix_connection(desk.path)
        writer.write(request.encode())
        assert await reader.readuntil(b"\n\n") == f"errno=-{errno.EMSGSIZE}\n\n".encode()
        writer.close()
    assert not desk.changes


async def test_who_stops_in_the_middle_is_let_go(desk, monkeypatch):
    monkeypatch.setattr(uapi, "PATIENCE", 0.05)
    async with desk.serving():
        assert await desk.ask("set=1\nlisten_port=1\n") == f"errno=-{errno.ETIMEDOUT}\n\n"
    assert not desk.changes


async def test_a_connection_may_be_idle_between_requests(desk, monkeypatch):
    monkeypatch.setattr(uapi, "PATIENCE", 0.02)
    async with desk.serving():
        reader, writer = await asyncio.open_unix_connection(desk.path)
        for _ in range(2):
            await asyncio.sleep(0.06)
            writer.write(b"get=1\n\n")
            assert (await reader.readuntil(b"\n\n")).endswith(b"errno=0\n\n")
        writer.close()


async def test_who_never_reads_holds_nobody_up_and_fills_no_memory(desk, monkeypatch):
    monkeypatch.setattr(uapi, "PATIENCE", 0.1)
    made = 0

    def endless() -> Iterator[str]:
        nonlocal made
        for _ in range(10_000):
            made += 1
            yield "x" * 10_000

    async with desk.serving():
        desk.lines = endless()
        reader, writer = await asyncio.open_unix_connection(desk.path)
        writer.write(b"get=1\n\n")
        reader._transport.pause_reading()
        await asyncio.sleep(0.05)
        desk.lines = ["listen_port=1\n"]
        assert await desk.ask("get=1\n\n") == "listen_port=1\nerrno=0\n\n"
        await asyncio.sleep(0.2)
        writer.transport.abort()
    assert 0 < made < 100


async def test_clients_beyond_the_bound_are_let_go(desk):
    async with desk.serving():
        held = [await asyncio.open_unix_connection(desk.path) for _ in range(uapi.MAX_CLIENTS)]
        await asyncio.sleep(0.05)
        reader, writer = await asyncio.open_unix_connection(desk.path)
        assert await reader.read() == b""
        writer.close()
        for _, other in held:
            other.close()
        await asyncio.sleep(0.05)
        assert (await desk.ask("get=1\n\n")).endswith("errno=0\n\n")


async def test_what_the_kernel_refuses_is_told_by_its_number(desk):
    async with desk.serving():
        desk.error = PermissionError(errno.EPERM, "Operation not permitted")
        assert await desk.ask("set=1\nfwmark=1\n\n") == f"errno=-{errno.EPERM}\n\n"
        desk.error = SocketError("UDP port 1 cannot be opened", "choose another")
        desk.error.__cause__ = OSError(errno.EACCES, "Permission denied")
        assert await desk.ask("set=1\nlisten_port=1\n\n") == f"errno=-{errno.EACCES}\n\n"
        desk.error = SocketError("no UDP port is free in both", "set ListenPort")
        assert await desk.ask("set=1\nlisten_port=0\n\n") == f"errno=-{errno.EADDRINUSE}\n\n"


@pytest.mark.parametrize("size", [1, 2, 7, 64])
async def test_a_request_may_come_in_any_pieces(desk, size):
    request = f"set=1\npublic_key={'0a' * 32}\nallowed_ip=10.0.0.0/8\n\nget=1\n\n".encode()
    async with desk.serving():
        reader, writer = await asyncio.open_unix_connection(desk.path)
        for start in range(0, len(request), size):
            writer.write(request[start : start + size])
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        answer = await reader.readuntil(b"\n\n") + await reader.readuntil(b"\n\n")
        writer.close()
    assert answer == b"errno=0\n\nlisten_port=1\nerrno=0\n\n"
    assert len(desk.changes[0].peers[0].allowed_ips) == 1


async def test_a_bug_is_an_error_to_the_client_and_a_fault_to_the_loop(desk):
    faults = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: faults.append(context["exception"]))
    async with desk.serving():
        desk.error = ZeroDivisionError("a bug")
        assert await desk.ask("set=1\n\n") == f"errno=-{errno.EIO}\n\n"
        desk.error = None
        assert await desk.ask("set=1\n\n") == "errno=0\n\n"
    assert [str(fault) for fault in faults] == ["a bug"]


async def test_a_stale_socket_is_replaced_a_live_one_is_not(desk):
    Listener.at(desk.path).socket.close()
    assert desk.path.exists()
    async with desk.serving():
        assert stat.S_IMODE(desk.path.stat().st_mode) == 0o700
        with pytest.raises(FileExistsError):
            Listener.at(desk.path)
        assert is_live(desk.path)


async def test_a_file_that_is_another_one_by_now_is_left_alone(desk):
    first = Listener.at(desk.path)
    first.socket.close()
    second = Listener.at(desk.path)
    first.remove()
    assert is_live(desk.path)
    second.remove()
    second.socket.close()
    assert not desk.path.exists()
