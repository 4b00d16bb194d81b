"""MOVES: batches of packets are segmented, sealed, opened and coalesced.

Pure functions over buffers. This room knows keys and counters; it does not know peers or sockets.
One Python call handles one 64 KB super-packet, never one packet.
"""

import os
from importlib import import_module

_THREADS = "OPENBLAS_NUM_THREADS"


def _load_numpy() -> None:
    """Load numpy without the threads, one for each processor, that its linear algebra starts.

    Nothing here uses that. What the user's commands find in their environment stays as it is.
    """
    if _THREADS in os.environ:
        return
    os.environ[_THREADS] = "1"
    import_module("numpy")
    del os.environ[_THREADS]


_load_numpy()
