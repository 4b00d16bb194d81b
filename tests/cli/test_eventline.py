"""One event, one aligned line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sacip_tun.cli.eventline import event_line
from sacip_tun.cli.terminal import Palette

from .documents import KEY_B

PLAIN = Palette(coloured=False)
OLD, NEW, FAR = "192.168.1.22:51820", "192.168.1.2:51820", "192.168.1.1:51820"
HEAD = "22:13:20.123  sacip0    o4uPbVJ9  "


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        (
            {
                "event": "moved",
                "side": "local",
                "number": 3,
                "old": OLD,
                "new": NEW,
                "observed": NEW,
                "reason": "address removed",
                "kind": "break before make",
                "milliseconds": 41.345,
            },
            (
                f"moved                {OLD} → {NEW}  address removed, break before make, 41.3 ms, "
                "move 3"
            ),
        ),
        (
            {"event": "moved", "side": "remote", "old": None, "new": FAR, "observed": NEW},
            f"peer moved           (none) → {FAR} seen as {NEW}",
        ),
        (
            {"event": "move-refused", "number": 4, "claimed": FAR, "observed": NEW, "why": "stale"},
            f"move refused         claimed {FAR} seen as {NEW}  stale, move 4",
        ),
        (
            {"event": "frame-sent", "code": "CHANGE", "number": 3, "local": NEW, "remote": FAR},
            f"frame sent           CHANGE {NEW} → {FAR}  move 3",
        ),
        (
            {"event": "frame-received", "code": "CHANGE", "number": 3, "local": FAR, "remote": NEW},
            f"frame received       CHANGE {NEW} → {FAR}  move 3",
        ),
        (
            {"event": "handshake-completed", "initiator": False, "remote": FAR},
            f"handshake completed  {FAR}  as responder",
        ),
        (
            {"event": "detached", "old": OLD, "reason": "carrier lost"},
            f"detached             {OLD} → (none)  carrier lost",
        ),
        ({"event": "hunting", "number": 5, "tries": 3}, "hunting              move 5, tries=3"),
        (
            {"event": "prepared", "side": "remote", "old": OLD, "new": NEW, "milliseconds": 0.0},
            f"peer prepared        {OLD} → {NEW}  0.0 ms",
        ),
        ({"event": "held", "why": "no address"}, "held                 no address"),
        (
            {"event": "degraded", "local": NEW, "remote": FAR, "milliseconds": 312.4},
            f"degraded             {NEW} → {FAR}  312 ms",
        ),
        (
            {"event": "recovered", "milliseconds": 20.5, "released": 3, "resent": 12, "lost": 0},
            "recovered            20.5 ms, 3 held packets sent, 12 sent again",
        ),
        (
            {"event": "hook-failed", "why": "it ended with exit status 3", "command": "/bin/x"},
            "hook failed          it ended with exit status 3, command=/bin/x",
        ),
        ({"event": "speaks-sacip"}, "speaks sacip"),
        ({"event": "x\x1b[2J", "new-key": "\x07"}, "x?[2J                new-key=?"),
    ],
)
def test_an_event_reads_like_this(fields, line):
    record = {"time_unix": 1_700_000_000.1234, "interface": "sacip0", "peer": KEY_B, **fields}
    assert event_line(record, PLAIN, "sacip0") == HEAD + line


def test_an_event_of_the_daemon_itself_has_no_peer():
    record = {"event": "address-added", "time_unix": 0, "address": "192.168.1.2/24"}
    assert event_line(record, PLAIN, "wg0") == (
        "00:00:00.000  wg0       -         address added        address=192.168.1.2/24"
    )


def test_milliseconds_round_into_the_next_second():
    assert event_line({"event": "x", "time_unix": 59.9996}, PLAIN, "a").startswith("00:01:00.000 ")


def test_good_and_bad_events_are_coloured():
    palette = Palette(coloured=True)
    assert "\x1b[32mmoved" in event_line({"event": "moved"}, palette, "a")
    assert "\x1b[31mdetached" in event_line({"event": "detached"}, palette, "a")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(-1e9, 1e9) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
FIELDS = st.sampled_from(
    ["event", "interface", "peer", "old", "new", "local", "remote", "reason", "number", "side"]
)


@given(st.dictionaries(FIELDS | st.text(), JSON))
def test_any_record_is_one_printable_line(record):
    record.pop("time_unix", None)
    assert event_line(record, PLAIN, "sacip0").isprintable()
