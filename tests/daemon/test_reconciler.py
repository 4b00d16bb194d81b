"""The reconciler: nothing comes back once it was stopped, whatever the kernel tells."""

import asyncio
from contextlib import AsyncExitStack
from types import SimpleNamespace

from sacip_tun.daemon import reconciler
from sacip_tun.daemon.reconciler import Reconciler
from sacip_tun.daemon.worker import Worker
from sacip_tun.linux.policy import Policy
from sacip_tun.linux.snapshot import Snapshot


class Host:
    """Surroundings whose rules are all gone."""

    def __init__(self):
        self.policy = Policy(frozenset({4}), 51820, 51820)
        self.firewall = None
        self.resolver = "/etc/resolv.conf"
        self.put = 0

    def missing_routes(self, _snapshot, _index):
        return []

    def put_back(self, _snapshot, _index):
        self.put += 1
        return ["rules"]

    def names_are_gone(self):
        return False


def test_what_is_taken_away_after_the_stop_stays_away(monkeypatch):
    monkeypatch.setattr(reconciler, "SETTLE", 0.0)
    monkeypatch.setattr(reconciler, "NAMES_SETTLE", 0.0)
    host = Host()
    watcher = SimpleNamespace(monitor=SimpleNamespace(snapshot=Snapshot, deleted=None), looked=None)

    async def main():
        told = asyncio.Event()
        async with AsyncExitStack() as stack:
            made = Reconciler(host, watcher, 7, lambda *_told, **_more: told.set())
            await made.start(stack, Worker())
            watcher.looked(Snapshot())
            await asyncio.wait_for(told.wait(), 5)
            assert host.put == 1
            assert (made.last["times"], made.last["what"]) == (1, "rules")
        watcher.looked(Snapshot())
        made.look(Snapshot())
        await asyncio.sleep(0.05)

    asyncio.run(main())
    assert (host.put, watcher.monitor.deleted) == (1, None)
