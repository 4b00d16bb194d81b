"""The Python interface, against a real control socket in this process."""

import asyncio
from pathlib import Path

import pytest
from simulation import endpoint

import sacip_tun
from sacip_tun.daemon.control import ControlServer
from sacip_tun.daemon.journal import MAX_BACKLOG, Journal
from sacip_tun.protocol.events import (
    Degraded,
    Held,
    Kind,
    Moved,
    Prepared,
    Recovered,
    Side,
    SpeaksSacip,
)
from sacip_tun.protocol.frames import Reason
from sacip_tun.protocol.keys import to_base64

pytestmark = pytest.mark.asyncio

PEER = bytes(range(32))
OLD, NEW, SEEN = endpoint("192.0.2.1"), endpoint("192.0.2.2"), endpoint("203.0.113.9", 1024)


def moved(side: Side) -> Moved:
    return Moved(
        PEER, side, 7, OLD, NEW, SEEN, Reason.CARRIER_LOST, Kind.BREAK_BEFORE_MAKE, 41.5
    )  # fmt: skip


class Tunnel:
    """What a client sees of a running tunnel: its control socket, with a real journal behind."""

    def __init__(self, directory: Path, name: str = "sacip0") -> None:
        self.directory = directory
        self.journal = Journal(name)
        self.document = {"schema": "sacip-tun/status/1", "interface": name, "peers": []}
        path = directory / f"{name}.sock"
        self.server = ControlServer(path, {"status": self._status}, self.journal)

    async def _status(self, _request):
        return self.document

    async def __aenter__(self):
        await self.server.start()
        return self

    async def __aexit__(self, *_):
        await self.server.stop()

    def events(self, name: str | None = "sacip0", **options):
        return sacip_tun.events(name, run_directory=self.directory, **options)


async def test_a_move_is_told_with_old_new_observed_reason_and_milliseconds(tmp_path) -> None:
    async with Tunnel(tmp_path) as tunnel, tunnel.events() as stream:
        tunnel.journal.publish(moved(Side.LOCAL), 1.5)
        event = await anext(stream)
    raw = dict(event.raw)
    assert raw == {
        "event": "moved", "time_unix": 1.5, "interface": "sacip0", "peer": to_base64(PEER),
        "side": "local", "number": 7, "old": "192.0.2.1:51820", "new": "192.0.2.2:51820",
        "observed": "203.0.113.9:1024", "reason": "carrier lost", "kind": "break before make",
        "milliseconds": 41.5,
    }  # fmt: skip
    assert event == sacip_tun.Event(
        kind="moved",
        interface="sacip0",
        time_unix=1.5,
        peer=to_base64(PEER),
        side="local",
        old="192.0.2.1:51820",
        new="192.0.2.2:51820",
        observed="203.0.113.9:1024",
        reason="carrier lost",
        milliseconds=41.5,
        make_before_break=False,
        raw=raw,
    )


async def test_what_an_application_is_told_comes_in_order_and_the_rest_does_not(tmp_path) -> None:
    happened = (
        Prepared(PEER, Side.REMOTE, 7, OLD, NEW, None, 0.0),
        SpeaksSacip(PEER),
        moved(Side.LOCAL),
        moved(Side.REMOTE),
        Held(PEER, "no address"),
        Degraded(PEER, OLD, NEW, 312.0),
        Recovered(PEER, 20.5, released=3, resent=12, lost=1),
    )
    async with Tunnel(tmp_path) as tunnel, tunnel.events() as stream:
        for event in happened:
            tunnel.journal.publish(event, 1.0)
        told = [await anext(stream) for _ in range(6)]
    assert tuple(event.kind for event in told) == (
        "prepared", "moved", "peer moved", "held", "degraded", "recovered",
    )  # fmt: skip
    assert told[3].reason == "no address"
    assert told[4].milliseconds == 312.0
    last = told[5]
    assert (last.milliseconds, last.released, last.resent, last.lost) == (20.5, 3, 12, 1)


async def test_kinds_choose_in_either_spelling_and_none_takes_all(tmp_path) -> None:
    async with Tunnel(tmp_path) as tunnel:
        some, everything = tunnel.events(kinds=["Peer-Moved"]), tunnel.events(kinds=None)
        async with some, everything:
            for event in (SpeaksSacip(PEER), moved(Side.LOCAL), moved(Side.REMOTE)):
                tunnel.journal.publish(event, 1.0)
            assert (await anext(some)).kind == "peer moved"
            kinds = [(await anext(everything)).kind for _ in range(3)]
    assert kinds == ["speaks-sacip", "moved", "peer moved"]


async def test_a_kind_that_does_not_exist_is_told_at_once() -> None:
    with pytest.raises(ValueError, match="did you mean moved"):
        sacip_tun.events("sacip0", kinds=["mooved"])
    with pytest.raises(ValueError, match="known are prepared, moved"):
        sacip_tun.events("sacip0", kinds=["zzz"])


async def test_a_tunnel_that_goes_ends_the_loop_with_its_exception(tmp_path) -> None:
    async with Tunnel(tmp_path) as tunnel:
        stream = tunnel.events()
        async with stream:
            await tunnel.server.stop()
            with pytest.raises(sacip_tun.TunnelDown) as caught:
                await anext(stream)
    assert str(caught.value) == "sacip0 is down; bring it up with 'sacip-tun up sacip0'"
    with pytest.raises(sacip_tun.NotRunning):
        await anext(stream)


async def test_a_connection_that_ends_though_the_tunnel_runs_is_no_tunnel_down(tmp_path) -> None:
    async with Tunnel(tmp_path) as tunnel, tunnel.events() as stream:
        for client in tunnel.server._clients:
            client.cancel()
        with pytest.raises(sacip_tun.FellBehind, match="sacip0 runs"):
            await anext(stream)


async def test_a_tunnel_that_is_not_up_is_told_with_the_fix(tmp_path) -> None:
    with pytest.raises(sacip_tun.NotRunning, match="start it with 'sacip-tun up sacip0'"):
        await anext(sacip_tun.events("sacip0", run_directory=tmp_path))
    with pytest.raises(sacip_tun.NotRunning, match="no tunnel is running"):
        await sacip_tun.status(run_directory=str(tmp_path))
    (tmp_path / "dead.sock").touch()
    with pytest.raises(sacip_tun.NotRunning, match="takes its place"):
        await sacip_tun.status("dead", run_directory=tmp_path)


async def test_a_socket_that_this_user_may_not_use_is_told_with_the_fix(
    tmp_path, monkeypatch
) -> None:
    async def refused(_socket, _address):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", refused)
    with pytest.raises(sacip_tun.NotAllowed, match="run it as root") as caught:
        await sacip_tun.status("sacip0", run_directory=tmp_path)
    assert caught.value.code == 4


async def test_without_a_name_the_only_tunnel_is_meant(tmp_path) -> None:
    async with Tunnel(tmp_path) as tunnel:
        assert (await sacip_tun.status(run_directory=tmp_path))["interface"] == "sacip0"
        async with tunnel.events(None) as stream:
            tunnel.journal.publish(Held(PEER, "x"), 1.0)
            assert (await anext(stream)).interface == "sacip0"
        async with Tunnel(tmp_path, "sacip1"):
            with pytest.raises(sacip_tun.Failure, match="several tunnels are running"):
                await sacip_tun.status(run_directory=tmp_path)


async def test_a_long_status_comes_whole_and_one_of_another_version_does_not(tmp_path) -> None:
    async with Tunnel(tmp_path) as tunnel:
        tunnel.document["peers"] = ["x" * 1_000_000]
        assert await sacip_tun.status("sacip0", run_directory=tmp_path) == tunnel.document
        tunnel.document["schema"] = "sacip-tun/status/9"
        with pytest.raises(sacip_tun.Failure, match="status/9"):
            await sacip_tun.status("sacip0", run_directory=tmp_path)


async def test_waiting_for_an_event_can_be_given_up_and_goes_on_later(tmp_path) -> None:
    async with Tunnel(tmp_path) as tunnel, tunnel.events() as stream:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await anext(stream)
        tunnel.journal.publish(moved(Side.REMOTE), 1.0)
        assert (await anext(stream)).kind == "peer moved"


async def test_a_reader_that_was_too_slow_is_told_how_much_it_missed(tmp_path) -> None:
    async with Tunnel(tmp_path) as tunnel, tunnel.events(kinds=None) as stream:
        for number in range(MAX_BACKLOG + 5):
            tunnel.journal.note("up", number=number)
        event = await anext(stream)
    assert (event.kind, event.raw["records"]) == ("lost", 5)


async def test_a_loop_that_is_left_lets_go_of_its_connection(tmp_path) -> None:
    async with Tunnel(tmp_path) as tunnel:

        async def first() -> str:
            async for event in tunnel.events():
                return event.kind
            raise AssertionError

        task = asyncio.ensure_future(first())
        await until(lambda: tunnel.journal._readers)
        tunnel.journal.publish(moved(Side.LOCAL), 1.0)
        assert await task == "moved"
        await until(lambda: not tunnel.journal._readers)


async def until(is_so) -> None:
    async with asyncio.timeout(10):
        while not is_so():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.001)
