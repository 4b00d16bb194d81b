"""The client's end of the control socket.

`sacip_tun` itself is this room's door for programs: `events`, `status`, `Event` and the failures.
The command line imports the modules, of which only `stream` needs asyncio.
"""
