"""A daemon left behind by the program that starts it, which waits for what it says first."""

import os
import socket
from collections.abc import Callable

CHUNK = 1 << 16


def detached(run: Callable[[socket.socket], int]) -> bytes:
    """Run `run` in a daemon of nobody's session, and return what it said: b"" where it died.

    `run` is given a socket to say it by, and returns the daemon's exit code; nobody is told before
    it closes that. The end of what it could read there tells that nobody wants it any more: ^C at
    this end, which then waits for the other one's. No terminal can stop a process that left its
    session, and none that does not lead one gets another.
    """
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        ours.close()
        os.setsid()
        if os.fork() != 0:
            os._exit(0)
        os.chdir("/")
        os._exit(run(theirs))
    theirs.close()
    os.wait()
    with ours:
        try:
            return _all(ours)
        except KeyboardInterrupt:
            ours.shutdown(socket.SHUT_WR)
            _all(ours)
            raise


def _all(ours: socket.socket) -> bytes:
    said = bytearray()
    while chunk := ours.recv(CHUNK):
        said += chunk
    return bytes(said)


def let_go(*descriptors: int) -> None:
    """Let these lead to nothing: the terminal shall not wait for us."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in descriptors:
        os.dup2(nothing, descriptor)
    os.close(nothing)
