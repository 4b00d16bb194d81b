"""The reconciler: what another program takes away of a full tunnel is put back, and it is named.

systemd-networkd deletes rules that it does not know when it starts (systemd#19106), and so do other
VPNs and firewall managers. Everything that was laid is compared with what is there whenever the
kernel tells of a change; nothing is polled. What cannot be put back is tried again, ever more
slowly. Two programs that both insist would do so for ever: after ten times in a minute the next one
is a minute away, and that is said.
"""

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial

from sacip_tun.daemon import clock
from sacip_tun.daemon.surroundings import Surroundings
from sacip_tun.daemon.watcher import Watcher
from sacip_tun.daemon.worker import Worker
from sacip_tun.linux import culprit, firewall, policy
from sacip_tun.linux.errors import InterfaceError
from sacip_tun.linux.messages import Message
from sacip_tun.linux.rtnetlink import RTM_DELRULE
from sacip_tun.linux.snapshot import Snapshot

# From a change to the comparison, in seconds: whoever deletes rules deletes several.
SETTLE = 0.05
NAMES_SETTLE = 2.0
# From a repair that failed to the next try, in seconds, doubled from the first to the last.
FIRST_PAUSE, LAST_PAUSE = 0.5, 60.0
# So many repairs in so many seconds are no fight.
MAX_REPAIRS, WINDOW = 10, 60.0
# The longest datagram that tells of a change of the ruleset, in bytes.
CAPACITY = 1 << 16

Note = Callable[..., None]


class Reconciler:
    """That of one interface. `index` is its number, `note` writes into the journal."""

    def __init__(
        self, surroundings: Surroundings, watcher: Watcher, index: int, note: Note
    ) -> None:
        self._surroundings = surroundings
        self._watcher = watcher
        self._monitor = watcher.monitor
        self._index = index
        self._note = note
        self._handle: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._repairs: deque[float] = deque(maxlen=MAX_REPAIRS)
        self._suspects: dict[str, str] = {}
        self._firewall: str | None = ""
        """What is listed when it is as it should be; None where it is known not to be."""
        self._pause = FIRST_PAUSE
        self._watch: socket.socket | None = None
        self._stopped = False
        self.last: dict[str, object] | None = None
        """What was put back last, or could not be; for the status."""
        self._times = 0
        self._worker: Worker

    async def start(self, stack: AsyncExitStack, worker: Worker) -> None:
        """Compare from here on."""
        self._worker = worker
        stack.push_async_callback(self._stop)
        self._monitor.deleted = self._deleted
        self.attend()
        await worker.do(self.renew)
        self._watcher.looked = self.look

    async def _stop(self) -> None:
        # First of all: what is undone next must not come back.
        self._stopped = True
        self._watcher.looked = lambda _snapshot: None
        self._monitor.deleted = None
        if self._watch is not None:
            asyncio.get_running_loop().remove_reader(self._watch.fileno())
            self._watch.close()
        if self._handle is not None:
            self._handle.cancel()
        if self._task is not None:
            with contextlib.suppress(Exception):
                await self._task

    def look(self, snapshot: Snapshot) -> None:
        """Compare with a state of this host; what is missing is put back in a moment."""
        if self._missing(snapshot):
            self._soon()
        if self._surroundings.resolver is not None:
            # Another network often brings its own name servers, a moment after its address.
            self._soon(NAMES_SETTLE)

    def renew(self) -> None:
        """Take the firewall as it is for what it is to be: the worker has changed it."""
        self._firewall = self._listed()

    def distrust(self) -> None:
        """The worker could not change the firewall: it is to be laid, whatever it is like now."""
        self._firewall = None

    def attend(self) -> None:
        """Hear of changes of the firewall, where there is one now."""
        if self._surroundings.firewall is not None and self._watch is None and not self._stopped:
            with contextlib.suppress(OSError):
                self._watch = firewall.watch()
                asyncio.get_running_loop().add_reader(self._watch.fileno(), self._ruleset_changed)
        if self._watch is not None:
            self._soon()  # of what came before that nobody was told

    def _listed(self) -> str:
        known = self._surroundings.firewall
        return firewall.listed(known.interface) if known else ""

    def _missing(self, snapshot: Snapshot) -> bool:
        wanted = self._surroundings.policy
        if wanted is None:
            return False
        rules = policy.missing(wanted.rules, snapshot.rules)
        return bool(rules or self._surroundings.missing_routes(snapshot, self._index))

    def _deleted(self, message: Message) -> None:
        """Remember who deleted what, while that process may still be there to be asked."""
        what = "rules" if message["header"]["type"] == RTM_DELRULE else "routes"
        self._suspects[what] = culprit.named(message["header"]["pid"])

    def _ruleset_changed(self) -> None:
        assert self._watch is not None  # noqa: S101 - it is its reader
        try:
            while True:
                author = culprit.of_ruleset(self._watch.recv(CAPACITY))
                if author is not None:
                    self._suspects["firewall"] = author
        except BlockingIOError:
            pass
        except OSError:  # more than the kernel keeps for us: some change, by somebody
            self._suspects.pop("firewall", None)
        self._soon()

    def _soon(self, pause: float = SETTLE) -> None:
        if self._stopped:
            return
        loop = asyncio.get_running_loop()
        if len(self._repairs) == MAX_REPAIRS:
            pause = max(pause, self._repairs[0] + WINDOW - clock.now())
        if self._handle is not None:
            if self._handle.when() <= loop.time() + pause:
                return
            self._handle.cancel()
        self._handle = loop.call_later(pause, self._begin)

    def _begin(self) -> None:
        self._handle = None
        if self._task is not None and not self._task.done():
            self._soon()
            return
        self._task = asyncio.ensure_future(self._repair())

    async def _repair(self) -> None:
        lacking = self._missing(self._monitor.snapshot())
        done, failed = await self._worker.do(partial(self._put_back, lacking=lacking))
        if done:
            self._told(done)
        if failed:
            self._tell(what=", ".join(failed), why="; ".join(failed.values()), owed=True)
            self._soon(self._pause)
            self._pause = min(2 * self._pause, LAST_PAUSE)
        else:
            self._pause = FIRST_PAUSE

    def _put_back(self, *, lacking: bool) -> tuple[list[str], dict[str, str]]:
        """Return what was put back, and what could not be and why.

        This is done by the worker: a change of our own is not half way any more. Each part is there
        or not whatever becomes of the others.
        """
        done, failed = list[str](), dict[str, str]()
        parts = {"firewall": self._lay_firewall, "name servers": self._tell_names}
        if lacking:
            parts = {"rules and routes": self._lay_rules, **parts}
        for what, lay in parts.items():
            try:
                done += lay()
            except (InterfaceError, OSError) as error:
                failed[what] = str(error)
        return done, failed

    def _lay_rules(self) -> list[str]:
        return self._surroundings.put_back(Snapshot.taken(), self._index)

    def _lay_firewall(self) -> list[str]:
        if self._firewall == "" or self._listed() == self._firewall:
            return []
        self._surroundings.lay_firewall()
        if self._firewall is None:
            self.renew()
        return ["firewall"]

    def _tell_names(self) -> list[str]:
        if not self._surroundings.names_are_gone():
            return []
        self._surroundings.tell_again()
        return ["name servers"]

    def _told(self, done: list[str]) -> None:
        self._repairs.append(clock.now())
        fight = len(self._repairs) == MAX_REPAIRS and clock.now() - self._repairs[0] < WINDOW
        names = {self._suspects.pop(what) for what in done if what in self._suspects}
        self._tell(
            what=", ".join(done),
            culprit=", ".join(sorted(names)) or None,
            why=f"taken away {MAX_REPAIRS} times in a minute: resting" if fight else None,
        )

    def _tell(
        self,
        what: str,
        culprit: str | None = None,
        why: str | None = None,
        *,
        owed: bool = False,
    ) -> None:
        told = {"what": what, "culprit": culprit, "why": why, "owed": owed}
        self._times += not owed
        self.last = {"times": self._times, "time_unix": clock.unix_time(clock.now()), **told}
        self._note("put-back", **told)
