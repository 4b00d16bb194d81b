"""THINKS: the WireGuard transport and the SACIP exchange, without input or output.

Rules of this room:
1. Bytes and `now` come in; datagrams and events go out. `now` is keyword-only, in seconds of a
   clock that also runs in suspend.
2. No socket, clock, randomness, event loop or logging. Randomness is an argument, so that a seeded
   test replays a whole handover byte for byte. The import contract in pyproject.toml holds this.
3. Hostile bytes never raise out of the room: they are counted under a `Drop` reason.
4. Nothing changes state before it is authenticated.
"""
