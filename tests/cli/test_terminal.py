"""Colours where they are wanted, and no control characters."""

import io

import pytest

from sacip_tun.cli.terminal import Palette, complain, printable, warn


class Terminal(io.StringIO):
    def isatty(self):
        return True


def is_coloured(stream):
    return Palette.of(stream).good("x") != "x"


def test_a_terminal_is_coloured_and_a_pipe_is_not():
    assert is_coloured(Terminal())
    assert not is_coloured(io.StringIO())


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_who_wants_no_colour_gets_none(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    assert not is_coloured(Terminal())


def test_an_empty_no_color_means_nothing(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "")
    assert is_coloured(Terminal())


def test_nothing_is_painted_where_there_is_nothing():
    assert Palette(coloured=True).peer("") == ""


@pytest.mark.parametrize(
    ("value", "text"), [("a → b", "a → b"), ("\x1b[2J\n", "?[2J?"), (7, "7"), (None, "None")]
)
def test_control_characters_never_reach_a_terminal(value, text):
    assert printable(value) == text


def test_messages_go_to_stderr_with_their_fix(capsys):
    warn("watch\x07out")
    complain("broken", "mend it")
    complain("broken")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == (
        "sacip-tun: warning: watch?out\n"
        "sacip-tun: error: broken\n"
        "sacip-tun: fix: mend it\n"
        "sacip-tun: error: broken\n"
    )
