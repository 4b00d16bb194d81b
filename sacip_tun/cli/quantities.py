"""Quantities in words: bytes, ages, durations, times of day."""

import time

_UNITS = ("KiB", "MiB", "GiB", "TiB")
_AGES = (
    ("year", 365 * 86400),
    ("day", 86400),
    ("hour", 3600),
    ("minute", 60),
    ("second", 1),
)


def size(count: int) -> tuple[str, str]:
    """Return a number and its unit as `wg show` prints bytes: ("1.21", "MiB")."""
    if count < 1024:
        return str(count), "B"
    # 1024**4 bytes and more stay TiB.
    power = min((count.bit_length() - 1) // 10, len(_UNITS))
    return f"{count / 1024**power:.2f}", _UNITS[power - 1]


def age(seconds: float) -> str:
    """Return an age in the two largest units that count: `2 minutes, 5 seconds ago`."""
    left = int(seconds)
    if left < 1:
        return "now"
    parts = []
    for name, length in _AGES:
        count, left = divmod(left, length)
        if count:
            parts.append(f"{count} {name}{'s' if count > 1 else ''}")
    return ", ".join(parts[:2]) + " ago"


def milliseconds(value: float) -> str:
    """Return a duration with the precision that its size deserves."""
    if value >= 10_000:
        return f"{value / 1000:.1f} s"
    return f"{value:.1f} ms" if value < 100 else f"{value:.0f} ms"


def clock(unix: float) -> str:
    """Return the local time of day to the millisecond."""
    # Rounded once and whole: 59.9996 s must not become "59.1000".
    seconds, rest = divmod(round(unix * 1000), 1000)
    return f"{time.strftime('%H:%M:%S', time.localtime(seconds))}.{rest:03d}"
