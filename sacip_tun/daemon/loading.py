"""The loading of what runs a tunnel, before there is one."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading() -> Iterator[None]:
    """Import inside of this: no garbage is looked for, since modules stay.

    Else a hundred collections take a tenth of the time. What was loaded is never looked at again.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
