"""Records of any daemon, also of a newer or a broken one, as events."""

from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sacip_tun import Event
from sacip_tun.client.events import event_of

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
FIELDS = st.sampled_from([*Event.__slots__, "event", "why", "kind"])


@given(st.dictionaries(FIELDS | st.text(), JSON))
def test_any_record_is_an_event_whose_fields_have_their_types(record):
    event = event_of(record, "sacip0")
    assert isinstance(event.kind, str)
    assert isinstance(event.interface, str)
    assert isinstance(event.time_unix, int | float)
    for value in (event.peer, event.side, event.old, event.new, event.observed, event.reason):
        assert value is None or isinstance(value, str)
    for count in (event.released, event.resent, event.lost):
        assert count is None or isinstance(count, int)
    assert dict(event.raw) == record


def test_an_event_cannot_be_changed():
    event = event_of({"event": "held", "why": "no address"}, "sacip0")
    assert (event.interface, event.reason) == ("sacip0", "no address")
    with pytest.raises(FrozenInstanceError):
        event.kind = "moved"  # type: ignore[misc]  # it is what is tried
    with pytest.raises(TypeError):
        event.raw["event"] = "moved"  # type: ignore[index]  # as above
