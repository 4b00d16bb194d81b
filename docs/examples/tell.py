"""Tell of each move of a tunnel, on either end: `python tell.py [INTERFACE]`, as root.

It ends with the tunnel, and with what to do where there is none.
"""

import asyncio
import sys

import sacip_tun


async def tell(name: str | None) -> None:
    """Print how the tunnel stands, and then each event."""
    # Entered before the status is asked for: what happens in between is not missed.
    async with sacip_tun.events(name) as stream:
        document = await sacip_tun.status(name)
        for peer in document["peers"]:
            print(
                f"{document['interface']}: {peer['public_key'][:8]} is {peer['state']}", flush=True
            )
        async for event in stream:
            print(in_words(event), flush=True)


def in_words(event: sacip_tun.Event) -> str:
    """Say an event in a line."""
    if event.kind in {"moved", "peer moved"}:
        seen = "" if event.observed == event.new else f", seen as {event.observed}"
        return f"{event.kind}: {event.old} -> {event.new}{seen} ({event.reason})"
    if event.kind == "recovered":
        return f"recovered after {event.milliseconds:.0f} ms: {event.lost} packets lost"
    return f"{event.kind}: {event.reason or event.new or ''}"


try:
    asyncio.run(tell(sys.argv[1] if len(sys.argv) > 1 else None))
except sacip_tun.TunnelDown as ended:
    print(ended)
except sacip_tun.Failure as failure:
    sys.exit(str(failure))
