"""The signals by which a user ends a lab, and that they do not leave half of it behind."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

# What ends a program beside Ctrl-C.
ENDINGS = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Take things down in here: a second signal must not leave half of them behind."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, *ENDINGS})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
