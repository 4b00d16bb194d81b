"""Views and slices at regular distances, made once and handed out again."""

import pytest

from sacip_tun.datapath import views
from sacip_tun.datapath.views import Views, slices


@pytest.fixture
def buffer():
    return memoryview(bytearray(range(256)) * 64)


@pytest.mark.parametrize("count", [1, 2, 7, 255, 256, 257, 600])
def test_what_is_cut_is_what_lies_there_at_first_and_again(buffer, count):
    cut = Views(buffer)
    for _ in range(2):
        found = cut.cut(count, 24, 20, 9)
        wanted = [buffer[at : at + 20] for at in range(0, (count - 1) * 24, 24)]
        assert found == [*wanted, buffer[(count - 1) * 24 : (count - 1) * 24 + 9]]
        assert [buffer[part] for part in slices(count, 24, 20)] == [
            buffer[at : at + 20] for at in range(0, count * 24, 24)
        ]


def test_other_widths_at_the_same_distance_are_others(buffer):
    cut = Views(buffer)
    assert [len(view) for view in cut.cut(4, 32, 30, 5)] == [30, 30, 30, 5]
    assert [len(view) for view in cut.cut(4, 32, 17, 5)] == [17, 17, 17, 5]


def test_what_was_handed_out_can_be_changed_without_harm(buffer):
    cut = Views(buffer)
    cut.cut(5, 10, 10, 10).clear()
    assert len(cut.cut(5, 10, 10, 10)) == 5


def test_views_show_what_is_written_later(buffer):
    cut = Views(buffer)
    (first, _) = cut.cut(2, 8, 8, 8)
    buffer[0] = 77
    assert first[0] == cut.cut(2, 8, 8, 8)[0][0] == 77


def test_what_is_remembered_is_bounded(buffer):
    cut = Views(buffer)
    for width in range(1, 100):
        cut.cut(1, width, width, 1)
    assert not cut._places._made, "what comes alone pushes nothing out"
    for width in range(1, 100):
        cut.cut(500, 16, width, 1)
    made = cut._places._made
    assert 0 < len(made) <= views._PATTERNS
    assert max(map(len, made.values())) == views._PLACES
