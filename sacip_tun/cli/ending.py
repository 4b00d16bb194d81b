"""The end of a program: at once."""

import os
import sys
from contextlib import suppress
from typing import NoReturn


def end(code: int) -> NoReturn:
    """End this process with an exit code.

    To take the interpreter apart, as sys.exit does, is 8 ms in which nothing is done for anybody;
    whoever looks for bugs of ours (PYTHONDEVMODE) has it done.
    """
    if sys.flags.dev_mode:
        sys.exit(code)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # said before, where it matters to anybody
            stream.flush()
    os._exit(code)
