"""The commands of a file: each once, whoever asks, and none that goes on after its end."""

import asyncio
from pathlib import Path

import pytest

from sacip_tun.config import parse
from sacip_tun.daemon.phases import Phases
from sacip_tun.protocol.keys import clamped, to_base64

KEY = to_base64(clamped(bytes([1]) * 32))


def phases(*lines: str) -> Phases:
    text = "\n".join(["[Interface]", f"PrivateKey = {KEY}", *lines])
    return Phases(parse(text, "wg0"), lambda _line: None)


def test_two_that_take_it_down_at_once_run_predown_once(tmp_path):
    log = tmp_path / "log"

    async def main():
        made = phases(f"PreDown = sleep 0.1; echo gone >> {log}")
        await made.after_up()
        await asyncio.gather(made.before_down(), made.before_down())

    asyncio.run(main())
    assert log.read_text() == "gone\n"


def test_a_key_that_postup_sets_is_set_again_after_a_crash_and_nothing_else_is_done(tmp_path):
    key, other = tmp_path / "key", tmp_path / "other"
    lines = ("[Interface]", f"PostUp = : wg set %i private-key x; echo %i > {key}")
    text = "\n".join((*lines, f"PostUp = touch {other}"))
    asyncio.run(Phases(parse(text, "wg0"), lambda _line: None).set_key())
    assert (key.read_text(), other.exists()) == ("wg0\n", False)
    asyncio.run(phases(f"PostUp = touch {other}; : private-key").set_key())
    assert not other.exists(), "the file has its key"


def test_a_line_that_is_cancelled_does_not_go_on(tmp_path):
    shell, never = tmp_path / "shell", tmp_path / "never"

    async def main():
        made = phases(f"PostUp = echo $$ > {shell}; while ! test -e {never}; do :; done")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(made.after_up(), 0.3)

    asyncio.run(main())
    assert not Path(f"/proc/{int(shell.read_text())}").exists()
