"""A command that a lab runs and waits for."""

import subprocess
from collections.abc import Mapping, Sequence
from subprocess import DEVNULL, CompletedProcess
from typing import IO, Any

# A command that takes longer than that, in seconds, hangs.
PATIENCE = 60.0
# Of what a command that failed had printed, so much is told of either stream.
TOLD = 4000


def run(
    command: Sequence[str],
    *,
    check: bool = True,
    timeout: float = PATIENCE,
    environment: Mapping[str, str] | None = None,
    stdin: int | IO[Any] | None = DEVNULL,
    apart: bool = False,
) -> CompletedProcess[str]:
    """Run a command, `apart` from this terminal's Ctrl-C where that is for us alone.

    `environment` replaces ours. Raises CalledProcessError, with what it said as a note, and
    TimeoutExpired.
    """
    done = subprocess.run(
        command,
        check=False,
        env=environment,
        stdin=stdin,
        capture_output=True,
        text=True,
        timeout=timeout,
        start_new_session=apart,
    )
    if check and done.returncode:
        error = subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
        error.add_note(f"{done.stdout[-TOLD:]}{done.stderr[-TOLD:]}".strip())
        raise error
    return done
