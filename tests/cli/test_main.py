"""The command line as a whole: help, mistakes, endings, and what is imported for what."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sacip_tun import __version__, cli
from sacip_tun.cli.parser import COMMANDS
from sacip_tun.outcome import MEANINGS, Exit

HEAVY = ["asyncio", "numpy", "cryptography", "pyroute2", "uvloop", "sacip_tun.config"]


# A daemon that is left behind at once, and says that it is up.
DETACHED = "from sacip_tun.daemon import launch; launch.detached = lambda _: b'[[], null]'; "
CONFIGURATION = "[Interface]\nPrivateKey = AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAEA=\n"


def loaded_after(*arguments, first=""):
    """Return which heavy modules a command line has imported, in a fresh interpreter."""
    code = first + (
        "import json, sys; from sacip_tun.cli import main; main(sys.argv[1:]); "
        f"print(json.dumps([name for name in {HEAVY} if name in sys.modules]))"
    )
    said = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        input="",
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(said.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    "line",
    [
        "status nope",
        "down nope",
        "monitor nope",
        "move nope --to 10.0.0.1",
        "wait nope --for peer",
        "--help",
    ],
)
def test_what_is_typed_often_imports_nothing_heavy(line):
    assert loaded_after(*line.split()) == []


def test_keys_need_cryptography_alone():
    assert loaded_after("genkey") == ["cryptography"]


def test_a_bad_configuration_is_told_before_the_event_loop_is_loaded():
    assert loaded_after("up", "./nope.conf") == ["cryptography", "sacip_tun.config"]


def test_a_daemon_is_left_behind_before_the_event_loop_is_loaded(tmp_path):
    """To fork with all of that takes longer, and nothing but the daemon needs it."""
    path = tmp_path / "early.conf"
    path.write_text(CONFIGURATION)
    path.chmod(0o600)
    loaded = loaded_after("up", str(path), first=DETACHED)
    assert loaded == ["cryptography", "sacip_tun.config"]


def test_help_lists_every_command_and_every_exit_code(run):
    code, out, _ = run("--help")
    assert code == 0
    for name, command in COMMANDS.items():
        assert f"    {name} " in out
        assert command.summary in out
    for number, meaning in MEANINGS.items():
        assert f"  {number:d}  {meaning}" in out
    assert "examples:" in out


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "lab"])
def test_help_of_a_command_teaches_by_example(run, name):
    code, out, _ = run(name, "--help")
    assert code == 0
    assert out.startswith(f"usage: sacip-tun {name}")
    assert "examples:\n" in out
    assert "exit codes:\n" in out


def test_every_exit_code_has_a_meaning():
    assert set(MEANINGS) == set(Exit)
    assert [int(code) for code in Exit] == list(range(8))


def test_version(run):
    assert run("--version") == (0, f"sacip-tun {__version__}\n", "")


def test_no_command_prints_the_help_and_ends_with_2(run):
    code, out, err = run()
    assert (code, out) == (2, "")
    assert err.startswith("usage: sacip-tun")


@pytest.mark.parametrize(
    ("line", "cause", "fix"),
    [
        ("stauts", "invalid choice: 'stauts'", "did you mean status? Otherwise see 'sacip-tun --h"),
        ("zzz", "invalid choice: 'zzz'", "see 'sacip-tun --help'"),
        ("status --jsn", "unrecognized arguments: --jsn", "did you mean --json? Otherwise see"),
        ("status a b", "unrecognized arguments: b", "see 'sacip-tun status --help'"),
        ("status --js", "unrecognized arguments: --js", "did you mean --json?"),
        ("--nope", "unrecognized arguments: --nope", "see 'sacip-tun --help'"),
    ],
)
def test_a_mistyped_line_ends_with_2_and_the_nearest_word(run, line, cause, fix):
    code, out, err = run(*line.split())
    assert (code, out) == (2, "")
    assert cause in err
    assert f"fix: {fix}" in err


def test_a_module_that_is_missing_is_told(run, monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name="sacip_tun.lab.demo")

    monkeypatch.setattr("sacip_tun.cli.parser.import_module", missing)
    code, _, err = run("lab")
    assert code == 1
    assert "lacks the module sacip_tun.lab.demo" in err


def test_control_c_is_no_traceback(run, monkeypatch):
    def interrupted(_path):
        raise KeyboardInterrupt

    monkeypatch.setattr("sacip_tun.cli.control.running", interrupted)
    assert run("status") == (1, "", "sacip-tun: error: interrupted\n")


def test_a_reader_that_has_seen_enough_is_no_error():
    reader, writer = os.pipe()
    os.close(reader)
    ended = subprocess.run(
        [sys.executable, "-m", "sacip_tun", "--help"],
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (0, b"")


@pytest.mark.parametrize("line", ["--version", "--help"])
def test_what_cannot_be_printed_is_told_and_no_success(line):
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "sacip_tun", line],
            stdout=full,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": ""},
            check=False,
        )
    assert ended.returncode == Exit.FAILED
    assert b"No space left on device" in ended.stderr


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("sacip_tun --version", 0),
        ("sacip_tun genkey", 0),
        ("sacip_tun status nope", Exit.NOT_RUNNING),
        ("sacip_tun.cli.wg --version", 0),
    ],
)
def test_a_caller_that_closed_what_we_print_to_gets_the_same_exit_code(line, code, closed):
    ended = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m {line} {closed}"], capture_output=True, check=False
    )
    assert ended.returncode == code, ended
    assert b"bug" not in ended.stdout + ended.stderr


@pytest.mark.parametrize("module", ["sacip_tun", "sacip_tun.cli.wg"])
def test_what_is_printed_into_a_pipe_arrives_whole(module):
    ended = subprocess.run(
        [sys.executable, "-m", module, "--version"],
        capture_output=True,
        env={**os.environ, "PYTHONUNBUFFERED": ""},
        check=True,
    )
    assert __version__.encode() in ended.stdout


@pytest.mark.parametrize(("options", "taken_apart"), [((), b""), (("-X", "dev"), b"taken apart\n")])
def test_a_program_ends_at_once_but_for_those_who_look_for_bugs(options, taken_apart):
    code = (
        "import atexit; from sacip_tun.cli import program; "
        "atexit.register(print, 'taken apart'); program()"
    )
    ended = subprocess.run(
        [sys.executable, *options, "-c", code, "down", "nope"], capture_output=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (Exit.NOT_RUNNING, taken_apart)


def test_a_bug_is_reported_without_a_traceback(capsys):
    error = ValueError("boom\x1b")
    cli._report(ValueError, error, None)
    assert capsys.readouterr().err == (
        "sacip-tun: error: this is a bug in sacip-tun: ValueError: boom?\n"
        "sacip-tun: fix: please report it, with what 'PYTHONDEVMODE=1' before the same command "
        "prints\n"
    )


def test_a_terminal_of_another_encoding_gets_a_question_mark(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    cli._prepare_process()
    print("→", end="", flush=True)
    assert raw.getvalue() == b"?"


def test_the_module_runs():
    said = subprocess.run(
        [sys.executable, "-m", "sacip_tun", "--version"], capture_output=True, text=True, check=True
    )
    assert said.stdout == f"sacip-tun {__version__}\n"
