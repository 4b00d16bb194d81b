"""Hooks: real commands, and what becomes of those that do not behave."""

import asyncio
import json
import os
from pathlib import Path

import pytest
from simulation import endpoint

from sacip_tun.agreement import TOLD
from sacip_tun.config import EventHook
from sacip_tun.daemon import hooks as room
from sacip_tun.daemon.hooks import MAX_WAITING, Hooks
from sacip_tun.daemon.journal import Journal
from sacip_tun.protocol.events import Held, Kind, Moved, Side, SpeaksSacip
from sacip_tun.protocol.frames import Reason

pytestmark = pytest.mark.asyncio

PEER = bytes(range(32))


def moved(side: Side) -> Moved:
    old, new = endpoint("192.0.2.1"), endpoint("192.0.2.2")
    return Moved(
        PEER, side, 1, old, new, new, Reason.ROUTE_CHANGED, Kind.MAKE_BEFORE_BREAK, 1.0
    )  # fmt: skip


class Bench:
    """A journal, hooks on it, and what they note."""

    def __init__(self, directory: Path, script: str, *words: str, kinds=TOLD) -> None:
        self.directory = directory
        self.journal = Journal("sacip0")
        self.notes: list[dict] = []
        self.journal.log = self._take
        self.noted = asyncio.Event()
        path = directory / "hook"
        path.write_text(f"#!/bin/sh\ncd {directory}\n{script}\n")
        path.chmod(0o700)
        hook = EventHook(kinds, (str(path), *words))
        self.hooks = Hooks([hook], "sacip0", self.journal)

    def _take(self, record) -> None:
        if record["event"] == "hook-failed":
            self.notes.append(record)
            self.noted.set()

    async def __aenter__(self):
        self.hooks.listen()
        self.hooks.start()
        return self

    async def __aexit__(self, *_):
        await self.hooks.stop()

    async def lines(self, name: str, count: int) -> list[str]:
        """Wait for so many lines in a file that the hook writes."""
        path = self.directory / name
        await until(lambda: path.exists() and path.read_text().count("\n") >= count)
        return path.read_text().splitlines()


async def test_the_event_is_a_line_on_stdin_and_its_kind_is_in_the_environment(tmp_path) -> None:
    script = 'cat >> in; echo "$SACIP_EVENT $SACIP_INTERFACE $1 $2" >> said'
    async with Bench(tmp_path, script, "%i", "a;touch b $(touch c)") as bench:
        bench.journal.publish(moved(Side.REMOTE), 1.5)
        assert await bench.lines("said", 1) == ["peer moved sacip0 sacip0 a;touch b $(touch c)"]
        (line,) = await bench.lines("in", 1)
    record = json.loads(line)
    assert record["schema"] == "sacip-tun/event/1"
    assert (record["event"], record["side"], record["new"]) == (
        "moved", "remote", "192.0.2.2:51820",
    )  # fmt: skip
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hook", "in", "said"]


async def test_the_environment_holds_nothing_else(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("SECRET", "x")
    async with Bench(
        tmp_path, "cat /proc/self/environ | tr '\\0' '\\n' > raw; mv raw env"
    ) as bench:
        bench.journal.publish(Held(PEER, "no address"), 1.0)
        found = {line.partition("=")[0] for line in await bench.lines("env", 3)}
    # PWD and its like are the shell's own.
    assert found - {"PWD", "OLDPWD", "SHLVL", "_"} == {"PATH", "SACIP_EVENT", "SACIP_INTERFACE"}


async def test_only_its_kinds_and_one_at_a_time_in_order(tmp_path) -> None:
    script = 'echo "begin $SACIP_EVENT" >> said; sleep 0.05; echo "end $SACIP_EVENT" >> said'
    async with Bench(tmp_path, script, kinds=("moved", "held")) as bench:
        for event in (moved(Side.LOCAL), SpeaksSacip(PEER), moved(Side.REMOTE), Held(PEER, "x")):
            bench.journal.publish(event, 1.0)
        said = await bench.lines("said", 4)
    assert said == ["begin moved", "end moved", "begin held", "end held"]


@pytest.mark.parametrize(
    ("script", "why"),
    [("exit 3", "it ended with exit status 3"), ("kill -9 $$", "it was ended by signal 9")],
)
async def test_a_failure_is_noted_once_a_minute_and_counted(tmp_path, script, why) -> None:
    async with Bench(tmp_path, f"echo >> runs; {script}", "secret") as bench:
        for _ in range(3):
            bench.journal.publish(Held(PEER, "x"), 1.0)
        await bench.lines("runs", 3)
        await until(lambda: bench.hooks._hooks[0].failures == 3)
    (note,) = bench.notes
    assert (note["why"], note["failures"], note["dropped"]) == (why, 1, 0)
    assert "secret" not in json.dumps(note)


async def test_a_program_that_is_not_there_is_noted(tmp_path) -> None:
    async with Bench(tmp_path, "") as bench:
        (tmp_path / "hook").unlink()
        bench.journal.publish(Held(PEER, "x"), 1.0)
        async with asyncio.timeout(10):
            await bench.noted.wait()
    assert "cannot be started: No such file" in bench.notes[0]["why"]


async def test_a_program_that_hangs_is_killed_with_what_it_started(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(room, "PATIENCE", 0.3)
    async with Bench(tmp_path, "sleep 600 & echo $! > child; wait") as bench:
        bench.journal.publish(Held(PEER, "x"), 1.0)
        child = int((await bench.lines("child", 1))[0])
        async with asyncio.timeout(10):
            await bench.noted.wait()
        assert "took longer than 0.3 s and was killed" in bench.notes[0]["why"]
        await until(lambda: is_gone(child))


async def test_what_waits_is_bounded_and_what_was_dropped_is_counted(tmp_path) -> None:
    script = "[ -e begun ] || { mkfifo gate; echo > begun; cat gate; }; echo >> runs"
    async with Bench(tmp_path, script) as bench:
        bench.journal.publish(Held(PEER, "first"), 1.0)
        await bench.lines("begun", 1)
        for number in range(MAX_WAITING + 5):
            bench.journal.publish(Held(PEER, str(number)), 1.0)
        (tmp_path / "gate").write_text("go\n")
        await bench.lines("runs", 1 + MAX_WAITING)
        assert bench.hooks._hooks[0].dropped == 5
    assert bench.notes[0]["why"] == "it is too slow: events are dropped"
    assert bench.notes[0]["dropped"] == 5


async def test_stopping_kills_and_reaps_what_runs(tmp_path) -> None:
    bench = Bench(tmp_path, "echo $$ > child; exec sleep 600")
    async with bench:
        bench.journal.publish(Held(PEER, "x"), 1.0)
        child = int((await bench.lines("child", 1))[0])
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
    assert bench.journal._readers == set()


async def test_a_program_that_does_not_read_is_no_failure(tmp_path) -> None:
    async with Bench(tmp_path, "exec 0<&-; echo >> runs") as bench:
        for _ in range(2):
            bench.journal.publish(moved(Side.LOCAL), 1.0)
        await bench.lines("runs", 2)
    assert bench.notes == []


async def until(is_so) -> None:
    async with asyncio.timeout(10):
        while not is_so():  # noqa: ASYNC110 - the other side is a process, which has no event
            await asyncio.sleep(0.01)


def is_gone(process_id: int) -> bool:
    """Ended; nobody may be there yet to reap what lost its parent."""
    try:
        return ") Z " in Path(f"/proc/{process_id}/stat").read_text()
    except OSError:
        return True


async def test_what_happens_before_the_start_is_told_after_it(tmp_path) -> None:
    bench = Bench(tmp_path, "cat >> in")
    bench.hooks.listen()
    bench.journal.publish(moved(Side.REMOTE), 1.5)
    await asyncio.sleep(0)
    assert [path.name for path in tmp_path.iterdir()] == ["hook"]
    bench.hooks.start()
    assert len(await bench.lines("in", 1)) == 1
    await bench.hooks.stop()
