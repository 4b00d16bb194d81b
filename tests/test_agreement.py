"""The kinds of events: complete, and spelled as people spell them."""

import inspect
import re
from pathlib import Path

import pytest

import sacip_tun.daemon
from sacip_tun.agreement import KINDS, kind_of, known_kind
from sacip_tun.daemon.journal import _name
from sacip_tun.protocol import events

# The daemon's own cue to send what waits: no record is made of it.
NEVER_TOLD = {"session-ready"}
DOCUMENT = Path(__file__).parents[1] / "docs" / "events.md"


def test_every_event_of_the_protocol_is_a_known_kind():
    found = [
        kind
        for _, kind in inspect.getmembers(events, inspect.isclass)
        if issubclass(kind, events.Event) and kind is not events.Event
    ]
    names = {_name(object.__new__(kind)) for kind in found}
    assert names - NEVER_TOLD <= KINDS


def test_every_note_of_the_daemon_is_a_known_kind():
    sources = Path(sacip_tun.daemon.__file__).parent.glob("*.py")
    text = "\n".join(path.read_text() for path in sources)
    noted = set(re.findall(r'note\(\s*"([a-z-]+)"', text))
    assert len(noted) >= 5
    assert noted <= KINDS


def test_every_kind_is_documented():
    text = DOCUMENT.read_text()
    assert [kind for kind in sorted(KINDS) if f"| `{kind}` |" not in text] == []


@pytest.mark.parametrize(
    ("record", "kind"),
    [
        ({"event": "moved", "side": "local"}, "moved"),
        ({"event": "moved", "side": "remote"}, "peer moved"),
        ({"event": "prepared", "side": "remote"}, "prepared"),
        ({"event": "of-a-newer-version"}, "of-a-newer-version"),
        ({}, "?"),
    ],
)
def test_the_kind_of_a_record(record, kind):
    assert kind_of(record) == kind


@pytest.mark.parametrize("text", ["peer moved", "peer-moved", "Peer  Moved"])
def test_a_kind_may_be_spelled_with_spaces_or_hyphens(text):
    assert known_kind(text) == "peer moved"
