"""What systemd is doing with our unit: SIGTERM alone does not tell a restart from a stop.

While a unit is stopped in order to be started again, its job is of type `restart`
(org.freedesktop.systemd1(5), Job.JobType). Asked with busctl, as in resolved.py.
"""

import os
import re
import subprocess
from contextlib import suppress

SERVICE, ROOT = "org.freedesktop.systemd1", "/org/freedesktop/systemd1"
# Seconds: at the end of a service nothing waits for an answer that does not come.
PATIENCE = 2.0


def is_restart() -> bool:
    """Tell whether another process comes after this one; False where nobody knows."""
    with suppress(OSError, subprocess.SubprocessError, LookupError):
        unit = _asked("call", ROOT, f"{SERVICE}.Manager", "GetUnitByPID", "u", str(os.getpid()))
        job = _asked("get-property", unit, f"{SERVICE}.Unit", "Job")
        return _asked("get-property", job, f"{SERVICE}.Job", "JobType") == "restart"
    return False


def _asked(verb: str, *words: str) -> str:
    """Return the last text of an answer: `o "/path"`, `(uo) 7 "/path"`, `s "restart"`."""
    done = subprocess.run(
        ["busctl", "--system", verb, SERVICE, *words],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    found: list[str] = re.findall(r'"([^"]*)"', done.stdout)
    return found[-1]
