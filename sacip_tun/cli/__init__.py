"""The command line: reads what the user wants, asks or starts the daemon, prints what it learns.

Every failure ends as a message with its cause and its fix, and a documented exit code.
"""

import errno
import io
import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from types import TracebackType
from typing import NoReturn

from sacip_tun.cli.directories import Directories
from sacip_tun.cli.ending import end, flush
from sacip_tun.cli.parser import build
from sacip_tun.cli.terminal import complain
from sacip_tun.outcome import Exit, Failure

DIRECTORIES = Directories()


def program() -> NoReturn:
    """Be the program `sacip-tun`: run the command that was typed, and end with its exit code."""
    end(main())


def main(arguments: Sequence[str] | None = None, directories: Directories = DIRECTORIES) -> int:
    """Run one command and return its exit code."""
    line = list(sys.argv[1:] if arguments is None else arguments)
    if arguments is None:
        _prepare_process()
    try:
        return _run(line, directories)
    except Failure as failure:
        complain(failure.cause, failure.fix)
        return failure.code
    except BrokenPipeError:
        # The reader (head, less) has seen enough; nothing may be flushed into the pipe at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.OK
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EIO, errno.EBADF}:
            raise
        complain(f"the output cannot be written: {error.strerror or error}", "see where it goes to")
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.FAILED
    except KeyboardInterrupt:
        complain("interrupted")
        return Exit.FAILED


def _parsed(line: list[str]) -> Namespace:
    parser, chosen = build(line[0] if line else "")
    options, rest = parser.parse_known_args(line)
    if rest:
        chosen.error(f"unrecognized arguments: {' '.join(rest)}")
    if "run" not in options:
        parser.print_help(sys.stderr)
        sys.exit(Exit.USAGE)
    return options


def _run(line: list[str], directories: Directories) -> int:
    try:
        options = _parsed(line)
        options.directories = directories
        code: int = options.run(options)
    except SystemExit as ending:
        code = ending.code if isinstance(ending.code, int) else Exit.OK
    flush()
    return code


def _prepare_process() -> None:
    """Let no character of the output and no bug of ours end in a traceback."""
    for descriptor in range(3):
        # A descriptor that the caller closed would be given to a socket, and printed into.
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r+"))  # noqa: SIM115, PTH123 - as long as we live
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    if not sys.flags.dev_mode:
        sys.excepthook = _report


def _report(kind: type[BaseException], error: BaseException, _: TracebackType | None) -> None:
    complain(
        f"this is a bug in sacip-tun: {kind.__name__}: {error}",
        "please report it, with what 'PYTHONDEVMODE=1' before the same command prints",
    )
