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


_NETWORK = pytest.StashKey[Network]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    """Show what every process in the network of a failed test printed."""
    report = yield
    if report.failed and _NETWORK in item.stash:
        logs = sorted(item.stash[_NETWORK].directory.glob("*.log"))
        report.sections += [(log.name, log.read_text(errors="replace")) for log in logs]
    return report


@pytest.fixture
def network(request):
    """An empty network; what is built in it is gone after the test."""
    with Network() as network:
        request.node.stash[_NETWORK] = network
        yield network


@pytest.fixture
def there(network) -> World:
    """What a full tunnel goes through."""
    return world(network)
