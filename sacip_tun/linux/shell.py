"""A line of the user's own, begun in a shell as wg-quick has it."""

import os
import shutil
import subprocess
from collections.abc import Mapping

# As linux.bash of wg-quick sets it.
SHELL = ("bash", "-e", "-o", "pipefail", "-O", "extglob", "-c")


def begun(
    line: str, environment: Mapping[str, str], output: int | None = None
) -> subprocess.Popen[bytes]:
    """Begin a line, with `environment` beside ours; it prints to `output`, else where we do.

    Raises OSError.
    """
    shell = SHELL if shutil.which(SHELL[0]) else ("sh", "-e", "-c")
    return subprocess.Popen(
        [*shell, line],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env={**os.environ, **environment},
    )


def environment_of(interface: str, source: str) -> dict[str, str]:
    """Return what wg-quick lets its commands know; `source` is the file, empty for none."""
    file = {"CONFIG_FILE": source} if source else {}
    return {"LC_ALL": "C", "INTERFACE": interface, **file}
