"""Man pages and completion: made of the same tree as `--help`, so that nothing is missing."""

import argparse
import subprocess

import pytest
from completion import SHELLS, completion
from manual import escaped, manual
from manual_conf import MEANINGS, manual_conf

from sacip_tun.cli.parser import COMMANDS, whole
from sacip_tun.config.grammar import KEYS
from sacip_tun.outcome import MEANINGS as CODES


def options(parser):
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from options(child)
        else:
            yield from action.option_strings


def test_the_manual_has_every_command_option_and_exit_code():
    text = manual()
    _, children = whole()
    assert list(children) == list(COMMANDS)
    for name, child in children.items():
        assert f".SS {escaped(f'sacip-tun {name}')}\n" in text
        missing = [option for option in options(child) if escaped(option) not in text]
        assert set(missing) <= {"-h", "--help"}
    assert all(escaped(meaning) in text for meaning in CODES.values())
    assert escaped("sacip-tun peer add") in text


def test_the_manual_of_files_has_every_key():
    text = manual_conf()
    for section, rows in KEYS.items():
        assert f".SH [{section.value.upper()}]" in text
        for row in rows.values():
            assert f".B {row.name}\n{escaped(MEANINGS[section][row.name])}" in text


@pytest.mark.parametrize("page", [manual, manual_conf])
def test_man_has_nothing_to_complain_of(page):
    done = subprocess.run(
        ["man", "--warnings", "--local-file", "-P", "cat", "-"],
        input=page(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    assert "NAME" in done.stdout


def test_lines_that_begin_like_a_macro_are_shown_as_they_are():
    assert escaped(".x\n'y\na-b \\z") == "\\&.x\n\\&'y\na\\-b \\ez"


def completed(*words):
    script = (
        f"{completion('bash')}\nCOMP_WORDS=({' '.join(words)} '')\n"
        "COMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n"
        "_shtab_sacip_tun sacip-tun '' ''\nprintf '%s\\n' \"${COMPREPLY[@]}\""
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_bash_completes_commands_actions_and_options():
    assert set(COMMANDS) <= set(completed("sacip-tun"))
    assert {"add", "list", "remove"} <= set(completed("sacip-tun", "peer"))
    assert {"up", "peer", "handover"} <= set(completed("sacip-tun", "wait", "--for"))


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_has_every_command(shell):
    text = completion(shell)
    assert all(name in text for name in COMMANDS)
