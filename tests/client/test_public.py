"""What `import sacip_tun` offers, and what it costs."""

import json
import subprocess
import sys

import pytest

import sacip_tun

COUNT = "import sys, json; import sacip_tun{more}; print(json.dumps(sorted(sys.modules)))"


def modules(more: str = "") -> set[str]:
    said = subprocess.run(
        [sys.executable, "-c", COUNT.format(more=more)], capture_output=True, check=True
    )
    return set(json.loads(said.stdout))


def test_every_name_of_the_interface_is_there():
    assert [name for name in sacip_tun.__all__ if not hasattr(sacip_tun, name)] == []


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = sacip_tun.nothing


def test_the_import_itself_loads_nothing_of_it():
    ours = {name for name in modules() if name.startswith("sacip_tun")}
    assert ours == {"sacip_tun"}


def test_events_need_asyncio_and_nothing_from_outside_the_standard_library():
    loaded = modules("; sacip_tun.events")
    assert "asyncio" in loaded
    assert loaded & {"numpy", "cryptography", "pyroute2", "uvloop", "sacip_tun.daemon"} == set()
