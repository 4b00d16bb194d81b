"""Names to endpoints, without blocking and without giving up."""

import asyncio
import socket

import pytest

from sacip_tun.daemon import resolver
from sacip_tun.protocol.address import Endpoint

pytestmark = pytest.mark.asyncio


async def test_literal_addresses_need_no_lookup() -> None:
    assert resolver.literal("192.0.2.1:5") == Endpoint.parse("192.0.2.1:5")
    assert resolver.literal("[2001:db8::1]:5") == Endpoint.parse("[2001:db8::1]:5")
    assert resolver.literal("[fe80::1%lo]:5") == Endpoint.parse("[fe80::1%1]:5")
    assert resolver.literal("[fe80::1%no-such]:5") is None
    assert resolver.literal("hub.example:5") is None


async def test_localhost_resolves_from_the_hosts_file() -> None:
    found = await resolver.resolve("localhost:7")
    assert all(endpoint.host.is_loopback and endpoint.port == 7 for endpoint in found)
    assert found


async def test_a_failing_name_is_tried_again_and_each_failure_told(monkeypatch) -> None:
    answers = [socket.gaierror(-3, "Temporary failure in name resolution")] * 2

    async def resolve(_text):
        if answers:
            raise answers.pop()
        return [Endpoint.parse("192.0.2.1:5")]

    monkeypatch.setattr(resolver, "resolve", resolve)
    monkeypatch.setattr(resolver, "FIRST_PAUSE", 0.0)
    found, failures = asyncio.Event(), []
    resolving = resolver.Resolver(
        "hub.example:5", found=lambda _endpoints: found.set(), failed=failures.append
    )
    resolving.start()
    resolving.start()
    await asyncio.wait_for(found.wait(), 5)
    assert failures == ["hub.example:5: Temporary failure in name resolution"] * 2
    assert resolving.resolved
