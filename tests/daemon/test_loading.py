import gc
import json
import os
import subprocess
import sys

import pytest

from sacip_tun.daemon.loading import loading


def test_no_garbage_is_looked_for_while_modules_are_loaded():
    with loading():
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0
    gc.unfreeze()


def test_after_a_failure_it_is_looked_for_again():
    with pytest.raises(ImportError), loading():
        raise ImportError
    assert gc.isenabled()
    gc.unfreeze()


# What is there when a tunnel is loaded: threads, and the environment that its commands get.
LOADED = """
import json, os
before = dict(os.environ)
import sacip_tun.daemon.run
print(json.dumps([len(os.listdir("/proc/self/task")), dict(os.environ) == before]))
"""


@pytest.mark.parametrize("given", [{}, {"OPENBLAS_NUM_THREADS": "1"}])
def test_nothing_is_started_and_the_environment_is_as_it_was(given):
    said = subprocess.run(
        [sys.executable, "-c", LOADED],
        env={**os.environ, **given},
        capture_output=True,
        check=True,
    )
    assert json.loads(said.stdout) == [1, True]
