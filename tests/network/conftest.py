import pytest
from full_tunnel import World, world

from sacip_tun.lab import rootless
from sacip_tun.lab.namespaces import Network


@pytest.fixture(scope="session", autouse=True)
def _able_to_build_networks():
    """These tests prove what no other can: where they cannot run they fail, and say why."""
    if rootless.is_needed():
        pytest.fail(
            "network tests need root: sudo, or unshare --user --map-root-user --net --mount"
        )
    rootless.require_tun()


_FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    report = yield
    item.stash[_FAILED] = item.stash.get(_FAILED, False) or report.failed
    return report


@pytest.fixture
def network(request):
    """An empty network; what is built in it is gone after the test.

    Where the test failed, its report has what every process in it printed.
    """
    with Network() as network:
        yield network
        if request.node.stash[_FAILED]:
            for log in sorted(network.directory.glob("*.log")):
                print(f"--- {log.name}\n{log.read_text(errors='replace')}")


@pytest.fixture
def there(network) -> World:
    """What a full tunnel goes through."""
    return world(network)
