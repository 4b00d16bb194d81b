"""The scale benchmark: its figures hold what docs/decisions/0053 says, and its crowd is one."""

import pytest
import scale
from crowd import crowd


def test_memory_of_a_peer_is_what_is_stated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scale, "ENGAGED", 200)
    configured, whole, active, idle = scale.memory().values()
    assert configured < 2000
    assert whole < 3000
    assert active < 16_000
    assert idle < 2000


def test_a_crowd_has_a_key_and_an_address_each() -> None:
    members = crowd(10_000, endpoints=True)
    assert len({member.public for member in members}) == 10_000
    assert len({member.allowed for member in members}) == 10_000
    assert len({member.endpoint for member in members}) == 10_000
    assert crowd(3) == crowd(5)[:3]
