"""The end of a program: at once."""

import os
import sys
from collections.abc import Iterable
from typing import NoReturn, TextIO


def flush() -> None:
    """Let out what was printed. Raises OSError; a stream that the caller closed is none at all."""
    streams: Iterable[TextIO | None] = (sys.stdout, sys.stderr)
    for stream in streams:
        if stream is not None:
            stream.flush()


def end(code: int) -> NoReturn:
    """End this process with an exit code, 1 instead of 0 where its output cannot be written.

    To take the interpreter apart, as sys.exit does, is 8 ms in which nothing is done for anybody;
    whoever looks for bugs of ours (PYTHONDEVMODE) has it done.
    """
    if sys.flags.dev_mode:
        sys.exit(code)
    try:
        flush()
    except OSError:
        code = code or 1
    os._exit(code)
