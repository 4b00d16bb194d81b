"""The way down: every step is done, whatever failed before it, and all that failed is told."""

import asyncio
from contextlib import AsyncExitStack
from types import SimpleNamespace

import pytest

from sacip_tun.config import ConfigError, parse
from sacip_tun.daemon.control import CommandError
from sacip_tun.daemon.journal import Journal
from sacip_tun.daemon.quick import Quick
from sacip_tun.protocol.keys import clamped, to_base64

KEY = to_base64(clamped(bytes([1]) * 32))


class Steps:
    """Each of them fails with its own name, and all are remembered."""

    def __init__(self):
        self.done = []

    def fails(self, name, error=OSError):
        def step(*_what, **_more):
            self.done.append(name)
            raise error(name)

        return step

    def fails_later(self, name, error=OSError):
        async def step():
            self.fails(name, error)()

        return step


def test_every_step_of_it_is_done_and_down_is_told_what_failed(tmp_path, monkeypatch):
    steps = Steps()
    noted = []

    async def main():
        config = parse(f"[Interface]\nPrivateKey = {KEY}\n", "wg0")
        quick = Quick(config, tmp_path, Journal("wg0"), lambda: None)
        quick.journal.log = lambda record: noted.append(record["why"])
        keeper = SimpleNamespace(final=True, has_tun=lambda _name: False)
        async with AsyncExitStack() as stack:
            quick.begin(stack, keeper)
            asked = asyncio.ensure_future(quick.down({}))
            await asyncio.sleep(0)
            monkeypatch.setattr(quick.phases, "before_down", steps.fails_later("PreDown"))
            monkeypatch.setattr(quick.surroundings, "commands_over", steps.fails("log"))
            quick.save = steps.fails_later("save", ConfigError)
            monkeypatch.setattr(quick.surroundings, "take_down", steps.fails("undo"))
            monkeypatch.setattr(quick.phases, "after_down", steps.fails_later("PostDown"))
            await quick.leave()
        with pytest.raises(CommandError, match="PreDown; log; it is not saved: save;") as error:
            await asyncio.wait_for(asked, 5)
        return error.value.fix

    fix = asyncio.run(main())
    assert steps.done == ["PreDown", "log", "save", "undo", "PostDown"]
    assert noted == ["PreDown", "log", "it is not saved: save", "undo", "PostDown"]
    assert fix == "mend it before the next time; all else is undone"
