"""Hooks: commands of the user that are told of events.

1. The event is one line of JSON on stdin. In the environment there are its kind and the interface,
   and nothing that a peer sent; no shell is between us and the program.
2. One command of a hook runs at a time, in the order of the events. What waits is bounded.
3. A command that fails, hangs or is too slow is a note in the journal, and never a reason to stop.
"""

import asyncio
import contextlib
import json
import os
import signal
from asyncio.subprocess import Process
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from sacip_tun.agreement import EVENT_SCHEMA, kind_of
from sacip_tun.config import EventHook
from sacip_tun.daemon import clock
from sacip_tun.daemon.journal import Journal, Record

# Seconds that a command may take; then it is killed, with all that it started.
PATIENCE = 10.0
# Events that wait for one hook; then the oldest is dropped.
MAX_WAITING = 32
# One note in so many seconds for each hook: a broken program must not fill the log.
NOTE_PAUSE = 60.0
# The environment holds nothing of whoever typed `up`: only where programs are, as for cron.
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Where a hook's own output goes: what the daemon writes, in the foreground, goes there too.
STDERR = 2

Note = Callable[..., None]


class Hooks:
    """All hooks of one interface."""

    def __init__(self, hooks: Sequence[EventHook], interface: str, journal: Journal) -> None:
        self._journal = journal
        self._hooks = [Hook(hook, interface, journal.note) for hook in hooks]
        self._tasks: list[asyncio.Task[None]] = []

    def listen(self) -> None:
        """Let events wait from here on."""
        for hook in self._hooks:
            self._journal.feed(hook)

    def start(self) -> None:
        """Begin to run commands, in the next turn of the loop.

        Not before the interface is up: until then a daemon has the terminal of whoever typed `up`,
        and so has what a command leaves behind, for ever.
        """
        self._tasks = [asyncio.ensure_future(hook.run()) for hook in self._hooks]

    async def stop(self) -> None:
        """Listen no more, kill what runs and wait until it is gone."""
        for hook in self._hooks:
            self._journal.unsubscribe(hook)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class Hook:
    """One command, what waits for it, and how often it went wrong."""

    def __init__(self, hook: EventHook, interface: str, note: Note) -> None:
        self._kinds = frozenset(hook.kinds)
        self._command = [word.replace("%i", interface) for word in hook.command]
        self._interface = interface
        self._note = note
        self._waiting: deque[Record] = deque(maxlen=MAX_WAITING)
        self._ready = asyncio.Event()
        self._noted = float("-inf")
        self.failures = 0
        self.dropped = 0

    def put(self, record: Record) -> None:
        """Take a record, where it is of a kind that is wanted."""
        if kind_of(record) in self._kinds:
            self.dropped += len(self._waiting) == MAX_WAITING
            self._waiting.append(record)
            self._ready.set()

    async def run(self) -> None:
        """Run the command for one event after the other, for ever."""
        while True:
            await self._ready.wait()
            record = self._waiting.popleft()
            if not self._waiting:
                self._ready.clear()
            dropped = self.dropped
            why = await self._tell(record)
            self.failures += why is not None
            if why is None and self.dropped > dropped:
                why = "it is too slow: events are dropped"
            if why is not None:
                self._complain(why)

    async def _tell(self, record: Record) -> str | None:
        """Run the command once; returns why it failed."""
        try:
            with _readable(record) as line:
                process = await asyncio.create_subprocess_exec(
                    *self._command,
                    stdin=line,
                    stdout=STDERR,
                    env=self._environment(record),
                    cwd="/",
                    start_new_session=True,
                )
        except OSError as error:
            return f"it cannot be started: {error.strerror or error}"
        try:
            async with asyncio.timeout(PATIENCE):
                return _outcome(await process.wait())
        except TimeoutError:
            return f"it took longer than {PATIENCE:g} s and was killed"
        finally:
            await _end(process)

    def _environment(self, record: Record) -> dict[str, str]:
        return {
            "PATH": SEARCH_PATH,
            "SACIP_EVENT": kind_of(record),
            "SACIP_INTERFACE": self._interface,
        }

    def _complain(self, why: str) -> None:
        """Note it, without the arguments: a secret may be among them."""
        now = clock.now()
        if now - self._noted >= NOTE_PAUSE:
            self._noted = now
            counts = {"failures": self.failures, "dropped": self.dropped}
            self._note("hook-failed", command=self._command[0], why=why, **counts)


@contextlib.contextmanager
def _readable(record: Record) -> Iterator[int]:
    """Give a file that holds the event: unlike a pipe it never makes anybody wait."""
    descriptor = os.memfd_create("sacip-tun event")
    try:
        os.write(descriptor, json.dumps({"schema": EVENT_SCHEMA, **record}).encode() + b"\n")
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)


def _outcome(code: int) -> str | None:
    if code < 0:
        return f"it was ended by signal {-code}"
    return f"it ended with exit status {code}" if code else None


async def _end(process: Process) -> None:
    """Kill what still runs, and all of its session, and reap it."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
