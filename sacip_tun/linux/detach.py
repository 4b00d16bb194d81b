"""A daemon left behind by the program that starts it, which waits for what it says first."""

import os
from collections.abc import Callable


def detached(run: Callable[[int], int]) -> bytes:
    """Run `run` in a daemon of nobody's session, and return what it said: b"" where it died.

    `run` is given a descriptor to say it by, and returns the daemon's exit code; nobody is told
    before it closes that. No terminal can stop a process that left its session, and none that does
    not lead one gets another.
    """
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.close(reader)
        os.setsid()
        if os.fork() != 0:
            os._exit(0)
        os.chdir("/")
        os._exit(run(writer))
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read()
    os.wait()
    return said


def let_go(*descriptors: int) -> None:
    """Let these lead to nothing: the terminal shall not wait for us."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in descriptors:
        os.dup2(nothing, descriptor)
    os.close(nothing)
