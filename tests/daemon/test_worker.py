"""The worker: one thing after the other, beside the loop, and nothing that was given is lost."""

import asyncio
import threading
from types import SimpleNamespace

import pytest

from sacip_tun.config import parse
from sacip_tun.daemon.journal import Journal
from sacip_tun.daemon.quick import Quick
from sacip_tun.daemon.worker import Worker
from sacip_tun.linux.errors import InterfaceError
from sacip_tun.protocol.keys import clamped, to_base64

KEY = to_base64(clamped(bytes([1]) * 32))


def test_all_is_done_in_its_order_also_where_who_asked_has_gone():
    done, gate = [], threading.Event()

    def wait():
        assert gate.wait(5), "the loop is not free meanwhile"
        done.append("first")

    async def main():
        worker = Worker()
        asked = [asyncio.ensure_future(worker.do(wait))]
        asked += [asyncio.ensure_future(worker.do(lambda: done.append("second")))]
        await asyncio.sleep(0)
        for task in asked:
            task.cancel()
        gate.set()
        assert await worker.do(lambda: list(done)) == ["first", "second"]
        with pytest.raises(ZeroDivisionError):
            await worker.do(lambda: 1 / 0)

    asyncio.run(main())


def quick(tmp_path, lines=""):
    config = parse(f"[Interface]\nPrivateKey = {KEY}\n{lines}", "wg0")
    return Quick(config, tmp_path, Journal("wg0"), lambda: None)


def test_a_move_waits_for_a_change_and_the_end_for_both(tmp_path, monkeypatch):
    """Each sees what the one before it made; what comes after the end changes nothing."""
    done, gate = [], threading.Event()

    async def main():
        made = quick(tmp_path)
        new = parse(f"[Interface]\nPrivateKey = {KEY}\nMTU = 1300\n", "wg0")
        host = made.surroundings
        monkeypatch.setattr(
            made, "_go", lambda *_what: done.append(("change", gate.wait(5), made.config is new))
        )
        monkeypatch.setattr(host, "plan", lambda _config: None)
        monkeypatch.setattr(host, "follow", lambda *what: done.append(("follow", *what)))
        monkeypatch.setattr(host, "take_down", lambda _keep: done.append(("undo",)) or [])
        monkeypatch.setattr(made, "_kept", frozenset)
        guard = SimpleNamespace(listens_on=lambda _port: None)
        outlets = SimpleNamespace(port=2, mark=3)
        change = asyncio.ensure_future(made.change(new, 1))
        move = asyncio.ensure_future(made.rebound(guard, outlets))
        end = asyncio.ensure_future(made._take_down())
        await asyncio.sleep(0)
        change.cancel()
        gate.set()
        await asyncio.gather(move, end)
        with pytest.raises(InterfaceError, match="about to end"):
            await made.change(new, 4)
        assert done == [("change", True, False), ("follow", new, 2, 3), ("undo",)]

    asyncio.run(main())
